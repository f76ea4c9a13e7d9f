//! The nginx of DNS objects: a function from a [`RouterPlan`] to an [`InstanceSpec`].

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddrV4,
};

use api_machinery::host_routes::ROUTER;

use crate::{
    instance::InstanceSpec,
    nginx::{
        Configuration,
        http::{Http, Location, Path, Seen, Server},
    },
    router::{RouterPlan, Target},
};

/// Whose nginx it is.
pub const KIND: &str = "DNS";
/// Names the Service of the router on its container.
const LABEL: &str = "io.minik8s.dns";
/// Where web clients come.
const PORT: u16 = 80;
/// Connections that one worker can hold: two for a request, and every thousand costs 0.43 MB.
const CONNECTIONS: usize = 16_384;
/// Tells who answers what its paths are below.
const PREFIX_HEADER: &str = "X-Forwarded-Prefix";

/// The nginx that serves all hosts of DNS objects at one address.
pub fn spec(plan: &RouterPlan) -> InstanceSpec {
    let owner = format!("{}/{}", ROUTER.0, ROUTER.1);
    let hosts = plan.hosts.iter().map(|(host, paths)| {
        server(plan, [host.clone()].into(), paths.iter().map(|(path, to)| location(path, to)))
    });
    // Whatever host is not named by any object.
    let servers = [server(plan, BTreeSet::new(), [])].into_iter().chain(hosts).collect();
    let upstreams = plan.backends.iter().map(|(target, all)| (target.to_string(), all.clone()));
    InstanceSpec {
        kind: KIND.to_owned(),
        uid: plan.uid.clone(),
        name: format!("dns_{}_{}_{}", ROUTER.1, ROUTER.0, plan.uid),
        labels: [(LABEL.to_owned(), owner.clone())].into(),
        addresses: [plan.ip].into(),
        configuration: Configuration {
            title: format!("The hosts of DNS objects, at Service {owner}"),
            connections: CONNECTIONS,
            stream: String::new(),
            http: Http { upstreams: upstreams.collect(), servers },
            affinity: None,
        },
        owner,
    }
}

fn server(
    plan: &RouterPlan,
    names: BTreeSet<String>,
    locations: impl IntoIterator<Item = Location>,
) -> Server {
    Server {
        address: SocketAddrV4::new(plan.ip, PORT),
        names,
        tls: None,
        locations: locations.into_iter().collect(),
    }
}

fn location(prefix: &str, target: &Target) -> Location {
    let mut headers = BTreeMap::new();
    if !prefix.is_empty() {
        headers.insert(PREFIX_HEADER.to_owned(), prefix.to_owned());
    }
    Location {
        path: Path::Prefix(format!("{prefix}/")),
        upstream: target.to_string(),
        seen: Seen::Below,
        headers,
    }
}
