//! Which address a Service gets: a function of the pool, of what it has and wants, and of what others have.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use api_machinery::load_balancer::{ADDRESS_ANNOTATION, addresses, is_without_class};
use api_types::api::core::v1::{Node, Service};

use crate::frame::Fault;
use crate::load_balancer_pool::Pool;

/// Why a Service has no address.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The Service is of IPv6 alone.
    #[error("the pool {0} has no IPv6 addresses")]
    NoIpv6(String),
    /// All are given away.
    #[error("no address of the pool {0} is free")]
    Exhausted(String),
    /// What is asked for is no IPv4 address.
    #[error("{0:?} is not an IPv4 address")]
    NoAddress(String),
    /// What is asked for is not to be given.
    #[error("{0} is not in the pool {1}")]
    NotInPool(Ipv4Addr, String),
    /// What is asked for is somebody's.
    #[error("{0} is taken")]
    Taken(Ipv4Addr),
}

impl Fault for Refusal {
    /// What may help is another Service's, a node's or its own change.
    fn may_pass(&self) -> bool {
        false
    }
}

/// What others have.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Whoever has one of them too has to let it go.
    firm: BTreeSet<Ipv4Addr>,
    /// Not to be given, but who has one of them keeps it: these others will let it go.
    weak: BTreeSet<Ipv4Addr>,
}

impl Taken {
    /// By nodes and other Services. Of two Services with one address the older one keeps it; one whose addresses
    /// are another's matter keeps its own in any case.
    pub(super) fn for_one(service: &Service, all: &[Arc<Service>], nodes: &[Arc<Node>]) -> Self {
        let mut taken =
            Self { firm: nodes.iter().flat_map(|it| of_node(it)).collect(), ..Self::default() };
        let others = all.iter().filter(|other| other.metadata.uid != service.metadata.uid);
        for other in others {
            let gives_way = is_without_class(other) && seniority(service) < seniority(other);
            let set = if gives_way { &mut taken.weak } else { &mut taken.firm };
            set.extend(addresses(other));
            // Nobody loses an address because somebody writes it down.
            taken.weak.extend(external_ips(other));
        }
        taken
    }

    /// These too: they are on their way to others.
    pub(super) fn and(mut self, promised: impl IntoIterator<Item = Ipv4Addr>) -> Self {
        self.firm.extend(promised);
        self
    }

    fn is_held(&self, address: Ipv4Addr) -> bool {
        self.firm.contains(&address)
    }

    fn has(&self, address: Ipv4Addr) -> bool {
        self.is_held(address) || self.weak.contains(&address)
    }

    fn all(&self) -> BTreeSet<Ipv4Addr> {
        self.firm.union(&self.weak).copied().collect()
    }
}

/// The address that a Service is to have, which has `current` so far.
pub(super) fn choose(
    pool: &Pool,
    service: &Service,
    current: Option<Ipv4Addr>,
    taken: &Taken,
) -> Result<Ipv4Addr, Refusal> {
    if !has_ipv4(service) {
        return Err(Refusal::NoIpv6(pool.to_string()));
    }
    let may_keep = |address: Ipv4Addr| current == Some(address) && !taken.is_held(address);
    if let Some(asked) = asked(service) {
        let address = asked.parse().map_err(|_| Refusal::NoAddress(asked.to_owned()))?;
        if pool.range_of(address).is_none() {
            return Err(Refusal::NotInPool(address, pool.to_string()));
        }
        let is_ours = may_keep(address) || !taken.has(address);
        return is_ours.then_some(address).ok_or(Refusal::Taken(address));
    }
    let kept = current.filter(|it| may_keep(*it) && pool.range_of(*it).is_some());
    kept.or_else(|| pool.free(&taken.all())).ok_or_else(|| Refusal::Exhausted(pool.to_string()))
}

/// One that says nothing does.
fn has_ipv4(service: &Service) -> bool {
    let families = service.spec.as_ref().and_then(|spec| spec.ip_families.as_ref());
    families.is_none_or(|all| all.is_empty() || all.iter().any(|family| family == "IPv4"))
}

/// The annotation, or else the field that Kubernetes deprecates.
fn asked(service: &Service) -> Option<&str> {
    let annotations = service.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|all| all.get(ADDRESS_ANNOTATION));
    let field = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_ref());
    let mut texts = [annotation, field].into_iter().flatten().map(String::as_str);
    texts.find(|text| !text.is_empty())
}

fn seniority(service: &Service) -> impl Ord {
    let metadata = &service.metadata;
    (metadata.creation_timestamp.clone(), metadata.namespace.clone(), metadata.name.clone())
}

fn external_ips(service: &Service) -> impl Iterator<Item = Ipv4Addr> {
    let spec = service.spec.as_ref();
    let ips = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten();
    ips.filter_map(|ip| ip.parse().ok())
}

/// All that a node says it has.
pub(super) fn of_node(node: &Node) -> impl Iterator<Item = Ipv4Addr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses.filter_map(|address| address.address.parse().ok())
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::load_balancer_pool::tests::pool;

    /// The older the lower its number.
    pub(in super::super) fn service(number: u8, spec: &Value, ips: &[&str]) -> Service {
        let mut spec = spec.clone();
        spec["type"] = json!("LoadBalancer");
        let ingress: Vec<_> = ips.iter().map(|ip| json!({"ip": ip, "ipMode": "VIP"})).collect();
        serde_json::from_value(json!({
            "metadata": {
                "namespace": "default", "name": format!("s{number}"), "uid": format!("u{number}"),
                "creationTimestamp": format!("2026-01-01T00:{:02}:{:02}Z", number / 60, number % 60),
            },
            "spec": spec, "status": {"loadBalancer": {"ingress": ingress}},
        }))
        .unwrap()
    }

    fn check(service: &Service, others: &[Service], expected: Result<&str, &str>) {
        let node =
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.3"}]}});
        let nodes = [Arc::new(serde_json::from_value(node).unwrap())];
        let all: Vec<_> = others.iter().chain([service]).cloned().map(Arc::new).collect();
        let taken = Taken::for_one(service, &all, &nodes);
        let chosen =
            choose(&pool("192.0.2.1-192.0.2.4"), service, addresses(service).next(), &taken);
        let chosen = chosen.map(|ip| ip.to_string()).map_err(|why| why.to_string());
        assert_eq!(chosen.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn what_a_service_has_it_keeps_and_else_the_first_free_address_is_given() {
        let none = json!({});
        let new = service(9, &none, &[]);
        check(&new, &[], Ok("192.0.2.1"));
        check(&new, &[service(1, &none, &["192.0.2.1"])], Ok("192.0.2.2"));
        check(
            &new,
            &[service(1, &json!({"loadBalancerClass": "a/b"}), &["192.0.2.1"])],
            Ok("192.0.2.2"),
        );
        check(&new, &[service(1, &json!({"externalIPs": ["192.0.2.1"]}), &[])], Ok("192.0.2.2"));
        check(&service(9, &none, &["192.0.2.4"]), &[], Ok("192.0.2.4"));
        check(&service(9, &none, &["198.51.100.1"]), &[], Ok("192.0.2.1"));
        check(&service(9, &none, &["192.0.2.3"]), &[], Ok("192.0.2.1"));
        let two = [service(1, &none, &["192.0.2.1"]), service(2, &none, &["192.0.2.2"])];
        check(&new, &two, Ok("192.0.2.4"));
        let three = [&two[..], &[service(3, &none, &["192.0.2.4"])]].concat();
        check(&new, &three, Err("no address of the pool 192.0.2.1-192.0.2.4 is free"));
    }

    #[test]
    fn what_is_asked_for_is_given_or_nothing_is() {
        let asking = |ip: &str| service(9, &json!({"loadBalancerIP": ip}), &["192.0.2.1"]);
        check(&asking("192.0.2.4"), &[], Ok("192.0.2.4"));
        check(&asking("192.0.2.1"), &[], Ok("192.0.2.1"));
        check(&asking("192.0.2.3"), &[], Err("192.0.2.3 is taken"));
        let other = service(10, &json!({}), &["192.0.2.4"]);
        check(&asking("192.0.2.4"), &[other], Err("192.0.2.4 is taken"));
        check(&asking("192.0.2.9"), &[], Err("192.0.2.9 is not in the pool 192.0.2.1-192.0.2.4"));
        check(&asking("x"), &[], Err("\"x\" is not an IPv4 address"));
        let mut annotated = asking("192.0.2.1");
        let annotation = (ADDRESS_ANNOTATION.to_owned(), "192.0.2.2".to_owned());
        annotated.metadata.annotations = Some([annotation].into());
        check(&annotated, &[], Ok("192.0.2.2"));
    }

    #[test]
    fn a_service_of_ipv6_alone_gets_none() {
        let of = |families: &[&str]| service(9, &json!({"ipFamilies": families}), &[]);
        check(&of(&["IPv6"]), &[], Err("the pool 192.0.2.1-192.0.2.4 has no IPv6 addresses"));
        check(&of(&["IPv6", "IPv4"]), &[], Ok("192.0.2.1"));
    }

    #[test]
    fn of_two_with_one_address_the_younger_gets_another() {
        let none = json!({});
        let (old, young) = (service(1, &none, &["192.0.2.1"]), service(2, &none, &["192.0.2.1"]));
        check(&old, std::slice::from_ref(&young), Ok("192.0.2.1"));
        check(&young, std::slice::from_ref(&old), Ok("192.0.2.2"));
        // Who gives addresses to those of the class is not asked.
        let foreign = service(2, &json!({"loadBalancerClass": "a/b"}), &["192.0.2.1"]);
        check(&old, &[foreign], Ok("192.0.2.2"));
        check(&old, &[service(2, &json!({"externalIPs": ["192.0.2.1"]}), &[])], Ok("192.0.2.1"));
    }

    /// What happens to a Service of some number.
    #[derive(Clone, Debug)]
    enum Event {
        Look,
        Ask(Option<u8>),
        Delete,
        /// Somebody writes its status.
        Scribble(u8),
    }

    fn events() -> impl Strategy<Value = Vec<(u8, Event)>> {
        let event = prop_oneof![
            6 => Just(Event::Look),
            1 => prop::option::of(0..8u8).prop_map(Event::Ask),
            1 => Just(Event::Delete),
            1 => (0..8u8).prop_map(Event::Scribble),
        ];
        prop::collection::vec((0..6u8, event), 1..80)
    }

    fn ip(last: u8) -> String {
        format!("192.0.2.{last}")
    }

    proptest! {
        #[test]
        fn nobody_is_given_what_another_has_and_who_is_left_alone_keeps_his(events in events()) {
            let pool = pool("192.0.2.1-192.0.2.4");
            let mut all: Vec<Service> = Vec::new();
            let look = |all: &mut Vec<Service>, of: usize| {
                let shown: Vec<_> = all.iter().cloned().map(Arc::new).collect();
                let taken = Taken::for_one(&all[of], &shown, &[]);
                let before = addresses(&all[of]).next();
                let chosen = choose(&pool, &all[of], before, &taken);
                let others = shown.iter().filter(|it| it.metadata.uid != all[of].metadata.uid);
                let theirs: BTreeSet<_> = others.flat_map(|it| addresses(it)).collect();
                if let Ok(given) = chosen {
                    assert!(pool.range_of(given).is_some());
                    assert!(!theirs.contains(&given) || before == Some(given), "{given} is another's");
                }
                let text = chosen.map(|it| it.to_string());
                let ips: Vec<_> = text.iter().map(String::as_str).collect();
                all[of].status = service(0, &json!({}), &ips).status;
                (before, addresses(&all[of]).next())
            };
            for (number, event) in events {
                let found = all.iter().position(|it| it.metadata.name == Some(format!("s{number}")));
                let of = found.unwrap_or_else(|| {
                    all.push(service(number, &json!({}), &[]));
                    all.len() - 1
                });
                match event {
                    Event::Look => {
                        look(&mut all, of);
                    }
                    Event::Ask(last) => all[of].spec.as_mut().unwrap().load_balancer_ip = last.map(ip),
                    Event::Delete => drop(all.remove(of)),
                    Event::Scribble(last) => all[of].status = service(0, &json!({}), &[&ip(last)]).status,
                }
            }
            // Once everybody has been looked at, twice where one had to give way, all is as it should be.
            for _ in 0..2 {
                for of in 0..all.len() {
                    look(&mut all, of);
                }
            }
            let held: Vec<_> = all.iter().flat_map(addresses).collect();
            prop_assert_eq!(held.len(), held.iter().collect::<BTreeSet<_>>().len());
            for of in 0..all.len() {
                let (before, after) = look(&mut all, of);
                prop_assert_eq!(before, after, "restarted, it gave another");
            }
        }
    }
}
