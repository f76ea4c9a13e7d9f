//! The nginx of all Services: a function from their plans to an [`InstanceSpec`]; and what one like it listens at.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{common::Common, sockets::name};
use crate::{
    backend::service::{self, KIND, Part},
    containers::SERVICE_LABEL,
    instance::InstanceSpec,
    nginx::{Configuration, Socket, http::Http, listening},
    plan::ServicePlan,
};

/// Its uid: no Service has it.
pub const UID: &str = "all-services";
/// Whose it is, for people. It has no event, being no object.
pub(super) const OWNER: &str = "all Services";

/// Connections that one worker can hold beside the sockets that it listens at: two for each that is led on, and every
/// thousand costs 0.43 MB, in use or not. One Service may have all of them: `limit_conn` would count in memory that
/// outlives reloads, and never take off those of a worker that is ended.
const CONNECTIONS: usize = 32_768;
/// The change of any Service makes an old worker; these are 32 of them, about 450 MB.
const OLD_CONNECTIONS: usize = 32 * CONNECTIONS;

/// Whether a Service is carried by the nginx of all. That tells how many connections it has had, and nothing of
/// whose: so a Service whose clients are to be forgotten has one of its own.
pub(super) fn shares(plan: &ServicePlan) -> bool {
    plan.affinity.is_none()
}

/// The nginx of all these Services, each of which may listen where it is said.
pub(super) fn spec<'a>(
    plans: impl IntoIterator<Item = &'a ServicePlan>,
    may_listen: impl Fn(&ServicePlan, &Socket) -> bool,
) -> InstanceSpec {
    let mut plans: Vec<_> = plans.into_iter().collect();
    plans.sort_by_key(|plan| (&plan.namespace, &plan.name, &plan.uid));
    let (mut stream, mut common) = (String::new(), Common::default());
    for plan in plans {
        let own = common.add(plan, Part::of(plan, |socket| may_listen(plan, socket)));
        if !own.is_empty() {
            stream.push_str(&format!("    # {plan}\n{own}"));
        }
    }
    common.write(&mut stream).expect("writing to a String does not fail");
    let listening = listening::count(&stream);
    InstanceSpec {
        kind: KIND.to_owned(),
        uid: UID.to_owned(),
        owner: OWNER.to_owned(),
        name: "services".to_owned(),
        labels: [(SERVICE_LABEL.to_owned(), "*".to_owned())].into(),
        // They come and go while it runs.
        addresses: BTreeSet::new(),
        configuration: Configuration {
            title: "All Services without session affinity".to_owned(),
            connections: CONNECTIONS + listening,
            stream,
            http: Http::default(),
            affinity: None,
            draining_connections: OLD_CONNECTIONS,
        },
    }
}

/// The nginxes that there should be, if the one of all listens there, and what it leaves out, by Service.
pub fn specs(
    plans: &[ServicePlan],
    listening: &BTreeSet<Socket>,
) -> (Vec<InstanceSpec>, BTreeMap<String, String>) {
    let (shared, own): (Vec<_>, Vec<_>) = plans.iter().partition(|plan| shares(plan));
    let left_out = shared.iter().filter_map(|plan| {
        let missing = service::sockets(plan).difference(listening).map(name).collect::<Vec<_>>();
        (!missing.is_empty()).then(|| (plan.to_string(), missing.join(", ")))
    });
    let left_out = left_out.collect();
    let all = (!shared.is_empty()).then(|| spec(shared, |_, socket| listening.contains(socket)));
    (all.into_iter().chain(own.into_iter().flat_map(service::specs)).collect(), left_out)
}

const SERVER: &str = "    server {\n";
const END: &str = "    }\n";
/// What nginx says begins with it.
const ANSWER: &str = "return \"";

/// A configuration without these sockets, and without servers that have no other. It says of itself that it is another one.
pub(super) fn without(text: &str, sockets: &BTreeSet<Socket>) -> String {
    let is_kept =
        |line: &&str| listening::socket(line.trim_end()).is_none_or(|it| !sockets.contains(&it));
    let mut parts = text.split(SERVER);
    let mut kept = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (server, rest) = part.split_once(END).unwrap_or((part, ""));
        let server: String = server.split_inclusive('\n').filter(is_kept).collect();
        if listening::count(&server) > 0 {
            kept.extend([SERVER, server.as_str(), END]);
        }
        kept.push_str(rest);
    }
    kept.replacen(ANSWER, &format!("{ANSWER}part-of-"), 1)
}

/// The addresses of sockets.
pub(super) fn addresses(sockets: &BTreeSet<Socket>) -> BTreeSet<IpAddr> {
    sockets.iter().map(|(_, socket)| socket.ip()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{nginx::listened, plan::Protocol};

    #[test]
    fn without_some_sockets_the_others_stay_and_servers_that_have_none() {
        let text = include_str!("../../../tests/golden/shared/services.conf");
        let socket = |protocol, text: &str| (protocol, text.parse().unwrap());
        let gone = BTreeSet::from([
            socket(Protocol::Udp, "10.96.0.13:7000"),
            socket(Protocol::Tcp, "192.0.2.7:30080"),
        ]);
        let rest = without(text, &gone);
        assert_eq!(listened(&rest), &listened(text) - &gone);
        assert!(rest.contains("return \"part-of-") && rest.contains("listen unix:"));
        assert!(!rest.contains("proxy_pass $udp;"), "{rest}");
        let servers = |text: &str| text.matches(SERVER).count();
        assert_eq!(servers(&rest), servers(text) - 1);
        assert_eq!(rest.lines().count(), text.lines().count() - 6);
        assert_eq!(rest.matches('{').count(), rest.matches('}').count());
    }
}
