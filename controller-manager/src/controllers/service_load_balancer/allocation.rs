//! Which addresses a Service gets, one of each family that it has: a function of the pool, of what it has and wants, and of
//! what others have.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use api_machinery::IpFamily;
use api_machinery::ip_family::families;
use api_machinery::load_balancer::{ADDRESS_ANNOTATION, addresses, is_without_class};
use api_types::api::core::v1::{Node, Service};

use crate::frame::Fault;
use crate::load_balancer_pool::Pool;

/// What a Service gets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Choice {
    /// At most one address of each family, its primary one first.
    pub(super) given: Vec<IpAddr>,
    /// Why there are not more.
    pub(super) refused: Refusals,
}

/// Why a Service has no address of a family.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum Refusal {
    /// There are none of any family that the Service has.
    #[error("the pool {1} has no {0} addresses")]
    NoFamily(IpFamily, String),
    /// All are given away.
    #[error("no address of the pool {0} is free")]
    Exhausted(String),
    /// What is asked for is no address.
    #[error("{0:?} is not an IP address")]
    NoAddress(String),
    /// What is asked for is of no use to it.
    #[error("{0} is of a family that the Service does not have")]
    ForeignFamily(IpAddr),
    /// More is asked for than it gets.
    #[error("{0} is asked for beside another address of its family")]
    Second(IpAddr),
    /// What is asked for is not to be given.
    #[error("{0} is not in the pool {1}")]
    NotInPool(IpAddr, String),
    /// What is asked for is somebody's.
    #[error("{0} is taken")]
    Taken(IpAddr),
}

/// One of each family at most.
#[derive(Clone, Debug, Default, thiserror::Error, PartialEq, Eq)]
pub(super) struct Refusals(pub(super) Vec<Refusal>);

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join("; "))
    }
}

impl Fault for Refusals {
    /// What may help is another Service's, a node's or its own change.
    fn may_pass(&self) -> bool {
        false
    }
}

/// What others have.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// Whoever has one of them too has to let it go.
    firm: BTreeSet<IpAddr>,
    /// Not to be given, but who has one of them keeps it: these others will let it go.
    weak: BTreeSet<IpAddr>,
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
    pub(super) fn and(mut self, promised: impl IntoIterator<Item = IpAddr>) -> Self {
        self.firm.extend(promised);
        self
    }

    fn is_held(&self, address: IpAddr) -> bool {
        self.firm.contains(&address)
    }

    fn has(&self, address: IpAddr) -> bool {
        self.is_held(address) || self.weak.contains(&address)
    }

    fn all(&self) -> BTreeSet<IpAddr> {
        self.firm.union(&self.weak).copied().collect()
    }
}

/// What a Service is to have, which has `current` so far.
pub(super) fn choose(pool: &Pool, service: &Service, current: &[IpAddr], taken: &Taken) -> Choice {
    let families = families(service);
    let asked = match asked(service) {
        Ok(asked) => asked,
        Err(refusal) => return Choice { refused: Refusals(vec![refusal]), ..Choice::default() },
    };
    let mut choice = Choice::default();
    // What the pool has none of is not missed beside another.
    let served = families.iter().filter(|it| pool.has(**it) || asked.contains_key(it));
    for family in served {
        let current = current.iter().copied().find(|ip| IpFamily::of(*ip) == *family);
        match choose_one(pool, *family, asked.get(family).copied(), current, taken) {
            Ok(address) => choice.given.push(address),
            Err(refusal) => choice.refused.0.push(refusal),
        }
    }
    let is_served = !choice.given.is_empty() || !choice.refused.0.is_empty();
    let missing = families.first().filter(|_| !is_served);
    let foreign = asked.iter().filter(|(family, _)| !families.contains(family));
    let refused = &mut choice.refused.0;
    refused.extend(missing.map(|family| Refusal::NoFamily(*family, pool.to_string())));
    refused.extend(foreign.map(|(_, address)| Refusal::ForeignFamily(*address)));
    choice
}

fn choose_one(
    pool: &Pool,
    family: IpFamily,
    asked: Option<IpAddr>,
    current: Option<IpAddr>,
    taken: &Taken,
) -> Result<IpAddr, Refusal> {
    let may_keep = |address: IpAddr| current == Some(address) && !taken.is_held(address);
    if let Some(address) = asked {
        if pool.range_of(address).is_none() {
            return Err(Refusal::NotInPool(address, pool.to_string()));
        }
        let is_ours = may_keep(address) || !taken.has(address);
        return is_ours.then_some(address).ok_or(Refusal::Taken(address));
    }
    let kept = current.filter(|it| may_keep(*it) && pool.range_of(*it).is_some());
    let given = kept.or_else(|| pool.free(family, &taken.all()));
    given.ok_or_else(|| Refusal::Exhausted(pool.text_of(family)))
}

/// What it asks for, by the annotation or else by the field that Kubernetes deprecates.
fn asked(service: &Service) -> Result<BTreeMap<IpFamily, IpAddr>, Refusal> {
    let annotations = service.metadata.annotations.as_ref();
    let annotation = annotations.and_then(|all| all.get(ADDRESS_ANNOTATION));
    let field = service.spec.as_ref().and_then(|spec| spec.load_balancer_ip.as_ref());
    let mut texts = [annotation, field].into_iter().flatten().map(|text| text.trim());
    let Some(text) = texts.find(|text| !text.is_empty()) else { return Ok(BTreeMap::new()) };
    let mut asked = BTreeMap::new();
    for text in text.split(',').map(str::trim) {
        let address: IpAddr = text.parse().map_err(|_| Refusal::NoAddress(text.to_owned()))?;
        if asked.insert(IpFamily::of(address), address).is_some() {
            return Err(Refusal::Second(address));
        }
    }
    Ok(asked)
}

fn seniority(service: &Service) -> impl Ord {
    let metadata = &service.metadata;
    (metadata.creation_timestamp.clone(), metadata.namespace.clone(), metadata.name.clone())
}

fn external_ips(service: &Service) -> impl Iterator<Item = IpAddr> {
    let spec = service.spec.as_ref();
    let ips = spec.and_then(|spec| spec.external_ips.as_ref()).into_iter().flatten();
    ips.filter_map(|ip| ip.parse().ok())
}

/// All that a node says it has.
pub(super) fn of_node(node: &Node) -> impl Iterator<Item = IpAddr> {
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

    /// What is given, and why there is not more.
    fn chosen(of: &str, service: &Service, taken: &Taken) -> (String, String) {
        let current: Vec<_> = addresses(service).collect();
        let Choice { given, refused } = choose(&pool(of), service, &current, taken);
        let given: Vec<_> = given.iter().map(ToString::to_string).collect();
        (given.join(" "), refused.to_string())
    }

    fn check(service: &Service, others: &[Service], expected: Result<&str, &str>) {
        let node =
            json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.3"}]}});
        let nodes = [Arc::new(serde_json::from_value(node).unwrap())];
        let all: Vec<_> = others.iter().chain([service]).cloned().map(Arc::new).collect();
        let taken = Taken::for_one(service, &all, &nodes);
        let (given, refused) = chosen("192.0.2.1-192.0.2.4", service, &taken);
        let chosen = match (given.as_str(), refused.as_str()) {
            (given, "") => Ok(given),
            ("", why) => Err(why),
            both => panic!("{both:?}"),
        };
        assert_eq!(chosen, expected);
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
        check(&asking("x"), &[], Err("\"x\" is not an IP address"));
        let mut annotated = asking("192.0.2.1");
        let annotation = (ADDRESS_ANNOTATION.to_owned(), "192.0.2.2".to_owned());
        annotated.metadata.annotations = Some([annotation].into());
        check(&annotated, &[], Ok("192.0.2.2"));
    }

    #[test]
    fn a_service_gets_an_address_of_each_family_that_it_and_the_pool_have() {
        const BOTH: &str = "192.0.2.1/32,fd00::1-fd00::2";
        let of =
            |families: &[&str], ips: &[&str]| service(9, &json!({"ipFamilies": families}), ips);
        let asking = |text: &str, mut service: Service| {
            let annotation = (ADDRESS_ANNOTATION.to_owned(), text.to_owned());
            service.metadata.annotations = Some([annotation].into());
            service
        };
        let check_with =
            |pool: &str, service: &Service, others: &[Service], given: &str, refused: &str| {
                let all: Vec<_> = others.iter().cloned().map(Arc::new).collect();
                let taken = Taken::for_one(service, &all, &[]);
                let (found, why) = chosen(pool, service, &taken);
                assert_eq!((found.as_str(), why.as_str()), (given, refused), "{service:?}");
            };
        let check = |service: &Service, given: &str, refused: &str| {
            check_with(BOTH, service, &[], given, refused);
        };
        let dual = |ips: &[&str]| of(&["IPv4", "IPv6"], ips);
        check(&of(&["IPv6"], &[]), "fd00::1", "");
        check(&of(&["IPv6", "IPv4"], &[]), "fd00::1 192.0.2.1", "");
        check(&dual(&[]), "192.0.2.1 fd00::1", "");
        // Each is kept by itself.
        check(&dual(&["fd00::2"]), "192.0.2.1 fd00::2", "");
        check(&of(&["IPv4"], &["192.0.2.1", "fd00::2"]), "192.0.2.1", "");
        check(&asking("fd00::2", dual(&["192.0.2.1", "fd00::1"])), "192.0.2.1 fd00::2", "");
        check(&asking(" fd00::2, 192.0.2.1", dual(&[])), "192.0.2.1 fd00::2", "");
        let why = "fd00::3 is not in the pool 192.0.2.1/32,fd00::1-fd00::2";
        check(&asking("192.0.2.1,fd00::3", dual(&[])), "192.0.2.1", why);
        let why = "fd00::2 is asked for beside another address of its family";
        check(&asking("fd00::1,fd00::2", dual(&[])), "", why);
        let why = "fd00::1 is of a family that the Service does not have";
        check(&asking("192.0.2.1,fd00::1", of(&["IPv4"], &[])), "192.0.2.1", why);
        let other = service(1, &json!({"ipFamilies": ["IPv4"]}), &["192.0.2.1"]);
        let why = "no address of the pool 192.0.2.1/32 is free";
        check_with(BOTH, &dual(&[]), &[other], "fd00::1", why);
        // What the pool does not have.
        check_with("192.0.2.1/32", &dual(&[]), &[], "192.0.2.1", "");
        let why = "the pool 192.0.2.1/32 has no IPv6 addresses";
        check_with("192.0.2.1/32", &of(&["IPv6"], &[]), &[], "", why);
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
        /// It becomes one of these families.
        Become(&'static [&'static str]),
        Delete,
        /// Somebody writes its status.
        Scribble(u8),
    }

    const FAMILIES: [&[&str]; 3] = [&["IPv4"], &["IPv6"], &["IPv6", "IPv4"]];

    fn events() -> impl Strategy<Value = Vec<(u8, Event)>> {
        let event = prop_oneof![
            6 => Just(Event::Look),
            1 => prop::option::of(0..8u8).prop_map(Event::Ask),
            1 => prop::sample::select(FAMILIES.to_vec()).prop_map(Event::Become),
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
            let pool = pool("192.0.2.1-192.0.2.4,fd00::1-fd00::4");
            let mut all: Vec<Service> = Vec::new();
            let look = |all: &mut Vec<Service>, of: usize| {
                let shown: Vec<_> = all.iter().cloned().map(Arc::new).collect();
                let taken = Taken::for_one(&all[of], &shown, &[]);
                let before: Vec<_> = addresses(&all[of]).collect();
                let Choice { given, .. } = choose(&pool, &all[of], &before, &taken);
                let others = shown.iter().filter(|it| it.metadata.uid != all[of].metadata.uid);
                let theirs: BTreeSet<_> = others.flat_map(|it| addresses(it)).collect();
                for given in &given {
                    assert!(pool.range_of(*given).is_some());
                    assert!(!theirs.contains(given) || before.contains(given), "{given} is another's");
                }
                let families: Vec<_> = given.iter().map(|it| IpFamily::of(*it)).collect();
                let of_service = super::families(&all[of]);
                assert!(families.iter().all(|it| of_service.contains(it)));
                let texts: Vec<_> = given.iter().map(ToString::to_string).collect();
                let ips: Vec<_> = texts.iter().map(String::as_str).collect();
                all[of].status = service(0, &json!({}), &ips).status;
                (before, given)
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
                    Event::Become(families) => {
                        let families = families.iter().map(|it| (*it).to_owned()).collect();
                        all[of].spec.as_mut().unwrap().ip_families = Some(families);
                    }
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
