//! What is told of a DNS object: who holds its paths, and whether there is what they lead to. As the Gateway API tells of
//! its routes.

use std::sync::Arc;

use api_machinery::host_routes::{Claim, Holder, Path, Taken, hosts, is_router, prefix};
use api_types::api::core::v1::Service;
use api_types::jiff::Timestamp;
use api_types::meta::{Condition, Time};
use api_types::minik8s::{Dns, DnsPath, DnsStatus};
use component::events::EventType;

/// What is amiss: a reason, and a message for people.
type Problem = (&'static str, String);

const SOMEBODYS: &str =
    "the Service kube-system/dns-router is not the hosts' router, which needs that name";

/// `sharing`: of the objects that name the same host. `service`: those of the namespace, by name. `router`: the Service of
/// its name, be it somebody's.
pub(super) fn status<'a>(
    dns: &Dns,
    sharing: impl IntoIterator<Item = Claim<'a>>,
    service: impl Fn(&str) -> Option<Arc<Service>>,
    router: Option<&Service>,
    now: Timestamp,
) -> DnsStatus {
    let is_somebodys = router.is_some_and(|router| !is_router(router));
    let router = router.filter(|router| is_router(router));
    let address = router.and_then(|router| router.spec.as_ref()?.cluster_ip.clone());
    let address = address.filter(|address| !address.is_empty());
    let (is_others, taken) = taken(dns, sharing);
    let unresolved = dns.spec.paths.iter().filter_map(|path| unresolved(path, &service)).collect();
    let (taken, unresolved) = (joined(taken), joined(unresolved));
    let pending = || match is_somebodys {
        false => ("AddressPending", "the hosts' router has no address yet".to_owned()),
        true => ("AddressPending", SOMEBODYS.to_owned()),
    };
    let amiss = joined(taken.iter().chain(&unresolved).cloned().collect());
    let amiss = amiss.or_else(|| address.is_none().then(pending));
    let conditions = [
        ("Accepted", "Accepted", taken),
        ("ResolvedRefs", "ResolvedRefs", unresolved),
        ("Ready", "Ready", amiss),
    ];
    let condition = |(type_, well, problem)| condition(dns, type_, well, problem, now);
    DnsStatus {
        address: address.filter(|_| !is_others),
        observed_generation: dns.metadata.generation,
        conditions: conditions.map(condition).to_vec(),
    }
}

/// Whether the host is another namespace's, and of what others have.
fn taken<'a>(dns: &Dns, sharing: impl IntoIterator<Item = Claim<'a>>) -> (bool, Vec<Problem>) {
    let host = dns.spec.host.as_str();
    let (hosts, holder) = (hosts(sharing), Claim::of_dns(dns).holder);
    let Some(routes) = hosts.get(host) else { return (false, Vec::new()) };
    let taken = dns.spec.paths.iter().filter_map(|entry| {
        let path = &entry.path;
        Some(match routes.taken(holder, Path::Prefix(prefix(path)))? {
            Taken::Host => {
                let others =
                    format!("host {host:?} belongs to an older object of another namespace");
                ("HostConflict", others)
            }
            Taken::Path(Holder { name, kind, .. }) => {
                ("PathConflict", format!("path {path:?} is that of the older {kind} {name:?}"))
            }
        })
    });
    let mut taken: Vec<_> = taken.collect();
    // The same for all paths.
    taken.dedup();
    (taken.iter().any(|(reason, _)| *reason == "HostConflict"), taken)
}

/// Why a path leads nowhere.
fn unresolved(
    DnsPath { path, service: to }: &DnsPath,
    service: impl Fn(&str) -> Option<Arc<Service>>,
) -> Option<Problem> {
    let (name, port) = (&to.name, to.port);
    let service = service(name);
    let Some(spec) = service.as_ref().and_then(|service| service.spec.as_ref()) else {
        return Some(("ServiceNotFound", format!("path {path:?}: service {name:?} not found")));
    };
    if spec.type_.as_deref() == Some("ExternalName") {
        let external =
            format!("path {path:?}: service {name:?} is an external name, without endpoints");
        return Some(("UnsupportedService", external));
    }
    let is_tcp = |protocol: &Option<String>| protocol.as_deref().is_none_or(|it| it == "TCP");
    let mut ports = spec.ports.iter().flatten();
    match ports.any(|it| it.port == port && is_tcp(&it.protocol)) {
        true => None,
        false => {
            let none = format!("path {path:?}: service {name:?} has no TCP port {port}");
            Some(("PortNotFound", none))
        }
    }
}

/// One of all, with the first one's reason.
fn joined(problems: Vec<Problem>) -> Option<Problem> {
    let reason = problems.first()?.0;
    let messages: Vec<_> = problems.into_iter().map(|(_, message)| message).collect();
    Some((reason, messages.join("; ")))
}

fn condition(
    dns: &Dns,
    type_: &str,
    well: &str,
    problem: Option<Problem>,
    now: Timestamp,
) -> Condition {
    let status = if problem.is_none() { "True" } else { "False" };
    let (reason, message) = problem.unwrap_or((well, String::new()));
    let since = before(dns, type_).filter(|before| before.status == status);
    Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        observed_generation: dns.metadata.generation,
        last_transition_time: since.map_or(Time(now), |it| it.last_transition_time.clone()),
    }
}

/// What people are to hear: of each fault, when it is new or another, and that all is well again.
pub(super) fn news(dns: &Dns, after: &DnsStatus) -> Vec<(EventType, String, String)> {
    let is_new = |condition: &&Condition| {
        before(dns, &condition.type_).is_none_or(|before| {
            (&before.reason, &before.message) != (&condition.reason, &condition.message)
        })
    };
    let news = after.conditions.iter().filter(is_new).filter_map(|condition| {
        let Condition { type_, status, reason, message, .. } = condition;
        match (type_.as_str(), status.as_str()) {
            ("Ready", "True") => {
                let host = format!("{} leads to the services of its paths", dns.spec.host);
                Some((EventType::Normal, reason.clone(), host))
            }
            // What it is made of is told by the others.
            ("Ready", _) | (_, "True") => None,
            _ => Some((EventType::Warning, reason.clone(), message.clone())),
        }
    });
    news.collect()
}

fn before<'a>(dns: &'a Dns, type_: &str) -> Option<&'a Condition> {
    let conditions = &dns.status.as_ref()?.conditions;
    conditions.iter().find(|condition| condition.type_ == type_)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn dns(name: &str, second: u8, paths: &[(&str, &str, i32)]) -> Dns {
        let path = |(path, name, port): &(&str, &str, i32)| json!({"path": path, "service": {"name": name, "port": port}});
        let paths: Vec<_> = paths.iter().map(path).collect();
        let created = format!("2026-01-01T00:00:{second:02}Z");
        let metadata =
            json!({"namespace": "ns", "name": name, "generation": 2, "creationTimestamp": created});
        let spec = json!({"host": "shop.test", "paths": paths});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap()
    }

    fn service(spec: Value) -> Arc<Service> {
        Arc::new(serde_json::from_value(json!({"spec": spec})).unwrap())
    }

    fn found(name: &str) -> Option<Arc<Service>> {
        match name {
            "web" => Some(service(json!({"ports": [{"port": 80}]}))),
            "names" => Some(service(json!({"ports": [{"port": 53, "protocol": "UDP"}]}))),
            "far" => Some(service(json!({"type": "ExternalName", "ports": [{"port": 80}]}))),
            _ => None,
        }
    }

    fn told(dns: &Dns, sharing: &[&Dns], router: Option<&str>) -> DnsStatus {
        let sharing = sharing.iter().map(|dns| Claim::of_dns(dns));
        let router = router.map(|address| Service {
            metadata: serde_json::from_value(json!({
                "namespace": "kube-system", "name": "dns-router",
                "labels": {"app.kubernetes.io/managed-by": "minik8s"},
            }))
            .unwrap(),
            ..(*service(json!({"clusterIP": address}))).clone()
        });
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        status(dns, sharing, found, router.as_ref(), now)
    }

    /// As `type status reason: message`.
    fn short(status: &DnsStatus) -> Vec<String> {
        let short = |c: &Condition| format!("{} {} {}: {}", c.type_, c.status, c.reason, c.message);
        status.conditions.iter().map(short).collect()
    }

    const ROUTER: Option<&str> = Some("10.96.0.7");

    #[test]
    fn all_is_well_once_the_router_has_an_address() {
        let dns = dns("a", 1, &[("/", "web", 80)]);
        let well = ["Accepted True Accepted: ", "ResolvedRefs True ResolvedRefs: "];
        let pending = "Ready False AddressPending: the hosts' router has no address yet";
        let early = told(&dns, &[&dns], None);
        assert_eq!(short(&early), [well[0], well[1], pending]);
        assert_eq!((early.address.as_deref(), early.observed_generation), (None, Some(2)));
        let ready = told(&dns, &[&dns], ROUTER);
        assert_eq!(short(&ready), [well[0], well[1], "Ready True Ready: "]);
        assert_eq!(ready.address.as_deref(), ROUTER);
        let events = news(&Dns { status: Some(early), ..dns }, &ready);
        let text = "shop.test leads to the services of its paths".to_owned();
        assert_eq!(events, [(EventType::Normal, "Ready".to_owned(), text)]);
    }

    #[test]
    fn a_service_of_somebodys_in_the_place_of_the_router_is_told_of() {
        let dns = dns("a", 1, &[("/", "web", 80)]);
        let metadata = json!({"namespace": "kube-system", "name": "dns-router"});
        let metadata = serde_json::from_value(metadata).unwrap();
        let other = Service { metadata, ..(*service(json!({"clusterIP": "10.96.0.7"}))).clone() };
        let now = "2026-01-02T00:00:00Z".parse().unwrap();
        let status = status(&dns, [Claim::of_dns(&dns)], found, Some(&other), now);
        assert_eq!(short(&status)[2], format!("Ready False AddressPending: {SOMEBODYS}"));
        assert_eq!(status.address, None);
    }

    #[test]
    fn each_path_that_leads_nowhere_is_told_of() {
        let paths = [
            ("/a", "web", 81),
            ("/b", "none", 80),
            ("/c", "far", 80),
            ("/d", "names", 53),
            ("/e", "web", 80),
        ];
        let dns = dns("a", 1, &paths);
        let message = "path \"/a\": service \"web\" has no TCP port 81; \
                       path \"/b\": service \"none\" not found; \
                       path \"/c\": service \"far\" is an external name, without endpoints; \
                       path \"/d\": service \"names\" has no TCP port 53";
        let status = told(&dns, &[&dns], ROUTER);
        let expected = [
            "Accepted True Accepted: ".to_owned(),
            format!("ResolvedRefs False PortNotFound: {message}"),
            format!("Ready False PortNotFound: {message}"),
        ];
        assert_eq!(short(&status), expected);
        // The other path is served.
        assert_eq!(status.address.as_deref(), ROUTER);
        let warning = (EventType::Warning, "PortNotFound".to_owned(), message.to_owned());
        assert_eq!(news(&dns, &status), [warning]);
        let again = Dns { status: Some(status.clone()), ..dns };
        assert_eq!(news(&again, &status), []);
    }

    #[test]
    fn the_younger_object_is_told_who_has_its_path_and_since_when() {
        let older = dns("older", 1, &[("/a/", "web", 80)]);
        let mut younger = dns("younger", 2, &[("/a", "web", 80), ("/b", "web", 80)]);
        let message = "path \"/a\" is that of the older DNS object \"older\"";
        let first = told(&younger, &[&older, &younger], ROUTER);
        assert_eq!(short(&first)[0], format!("Accepted False PathConflict: {message}"));
        assert_eq!(
            short(&told(&older, &[&older, &younger], ROUTER))[0],
            "Accepted True Accepted: "
        );
        assert_eq!(news(&younger, &first)[0].1, "PathConflict");
        younger.status = Some(first.clone());
        let free = told(&younger, &[&younger], ROUTER);
        assert_eq!(short(&free)[0], "Accepted True Accepted: ");
    }

    #[test]
    fn a_host_of_another_namespace_leads_to_none_of_an_objects_paths() {
        let older = dns("older", 1, &[]);
        let mut other = dns("other", 2, &[("/a", "web", 80), ("/b", "web", 80)]);
        other.metadata.namespace = Some("elsewhere".to_owned());
        let status = told(&other, &[&older, &other], ROUTER);
        let message = "host \"shop.test\" belongs to an older object of another namespace";
        assert_eq!(short(&status)[0], format!("Accepted False HostConflict: {message}"));
        assert_eq!(status.address, None);
    }
}
