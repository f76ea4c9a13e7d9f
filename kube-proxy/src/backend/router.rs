//! The nginxes of DNS objects and Ingresses: a function from a [`RouterPlan`] to [`InstanceSpec`]s.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use api_machinery::host_routes::{ANY_HOST, Kind, ROUTER};

use crate::{
    instance::InstanceSpec,
    nginx::{
        Configuration, DRAINING_CONNECTIONS,
        http::{Http, Location, Path, Seen, Server},
    },
    router::{HostPath, HostPlan, Onward, RouterPlan},
};

/// Whose nginx it is.
pub const KIND: &str = "DNS";
/// Names the Service of the router on its container.
const LABEL: &str = "io.minik8s.dns";
/// Where web clients come.
const PORT: u16 = 80;
/// The same with TLS.
const TLS_PORT: u16 = 443;
/// Connections that one worker can hold: two for a request, and every thousand costs 0.43 MB.
const CONNECTIONS: usize = 16_384;
/// Tells who answers what its paths are below.
const PREFIX_HEADER: &str = "X-Forwarded-Prefix";
/// What the uid of the one at this host's own addresses ends with.
pub const AT_HOST: &str = "-host";

/// The nginx that serves all hosts at the router's addresses, and, by itself so that an address or a port that is taken does
/// nothing to that one, the nginx that serves those of Ingresses at this host's own.
pub fn specs(plan: &RouterPlan) -> Vec<InstanceSpec> {
    let owner = format!("{}/{}", ROUTER.0, ROUTER.1);
    let spec = |suffix: &str, title: &str, held: BTreeSet<IpAddr>, http: Http| InstanceSpec {
        kind: KIND.to_owned(),
        uid: format!("{}{suffix}", plan.uid),
        name: format!("dns_{}_{}_{}{suffix}", ROUTER.1, ROUTER.0, plan.uid),
        labels: [(LABEL.to_owned(), owner.clone())].into(),
        addresses: held,
        configuration: Configuration {
            title: format!("{title} Service {owner}"),
            connections: CONNECTIONS,
            stream: String::new(),
            http,
            affinity: None,
            draining_connections: DRAINING_CONNECTIONS,
        },
        owner: owner.clone(),
    };
    let all = "The hosts of DNS objects and Ingresses, at";
    let mut specs = vec![spec("", all, plan.ips.clone(), http(plan, &plan.ips, |_| true))];
    if !plan.host_addresses.is_empty() {
        let is_ingress = |onward: &Onward| onward.kind == Kind::Ingress;
        let http = http(plan, &plan.host_addresses, is_ingress);
        let ours = "The hosts of Ingresses, at this host's own addresses, for";
        // The addresses are not held by anybody but the host.
        specs.push(spec(AT_HOST, ours, BTreeSet::new(), http));
    }
    specs
}

fn http(plan: &RouterPlan, at: &BTreeSet<IpAddr>, which: impl Fn(&Onward) -> bool) -> Http {
    let upstreams = plan.backends.iter().map(|(target, all)| (target.to_string(), all.clone()));
    let none = HostPlan::default();
    let others = plan.hosts.get(ANY_HOST).unwrap_or(&none);
    let named = plan.hosts.iter().filter(|(host, _)| *host != ANY_HOST);
    let named = named.map(|(host, paths)| (host.as_str(), paths));
    // Whatever host is not named by any object comes first.
    let all: Vec<_> = [(ANY_HOST, others)].into_iter().chain(named).collect();
    let server = |host: &str, port, tls, paths: &HostPlan| Server {
        addresses: at.iter().map(|ip| SocketAddr::new(*ip, port)).collect(),
        names: (host != ANY_HOST).then(|| host.to_owned()).into_iter().collect(),
        tls,
        locations: locations(paths, &which),
    };
    let plain = all.iter().map(|(host, paths)| server(host, PORT, None, paths));
    let mut servers: Vec<_> = plain.collect();
    if plan.hosts.values().any(|host| host.tls.is_some()) {
        let of_others = if others.tls.is_some() { others } else { &none };
        servers.push(server(ANY_HOST, TLS_PORT, Some(plan.certificate.clone()), of_others));
        let secure = |(host, paths): &(&str, &HostPlan)| {
            Some(server(host, TLS_PORT, Some(paths.tls.clone()?), paths))
        };
        servers.extend(all.iter().skip(1).filter_map(secure));
    }
    Http { upstreams: upstreams.collect(), servers, ..Http::default() }
}

fn locations(host: &HostPlan, which: impl Fn(&Onward) -> bool) -> Vec<Location> {
    let paths = host.paths.iter().filter(|(_, onward)| which(onward));
    let has_tls = host.tls.is_some();
    paths.map(|(path, onward)| location(path, onward, has_tls)).collect()
}

fn location(path: &HostPath, onward: &Onward, has_tls: bool) -> Location {
    let mut headers = BTreeMap::new();
    let (path, seen) = match path {
        HostPath::Exact(path) => (Path::Exact(path.clone()), Seen::Whole),
        HostPath::Prefix(prefix) if onward.kind == Kind::Dns => {
            if !prefix.is_empty() {
                headers.insert(PREFIX_HEADER.to_owned(), prefix.clone());
            }
            (Path::Prefix(format!("{prefix}/")), Seen::Below)
        }
        HostPath::Prefix(prefix) => (Path::Prefix(format!("{prefix}/")), Seen::Whole),
    };
    let upstream = onward.target.as_ref().map(ToString::to_string).unwrap_or_default();
    Location { path, upstream, seen, secure: onward.secure && has_tls, headers }
}
