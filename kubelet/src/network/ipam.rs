//! Which pod has which address. Pure: what survives a restart is the label on each sandbox, made from
//! an address that was reserved here first, so that none is given twice and none is leaked.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use component::dual_stack::DualStack;
use ipnet::{Ipv4Net, Ipv6Net};
use netlink::Mac;

use super::PodAddresses;

/// The addresses of one node.
#[derive(Clone, Debug)]
pub struct Ipam {
    cidr: DualStack,
    used: BTreeMap<String, PodAddresses>,
    /// The last address given: a fresh one comes after it, so that an address rests before it is given
    /// to another pod.
    last: u32,
}

impl Ipam {
    /// The pods of `running` keep their addresses.
    pub fn new(cidr: DualStack, running: &[(String, PodAddresses)]) -> Self {
        let used: BTreeMap<_, PodAddresses> = running.iter().cloned().collect();
        let inside = used.values().map(|held| held.v4).filter(|v4| cidr.v4.contains(v4));
        let last = inside.map(u32::from).max().unwrap_or_default();
        Self { cidr, used, last }
    }

    /// The networks the addresses are from.
    pub fn cidr(&self) -> DualStack {
        self.cidr
    }

    /// The addresses for a sandbox of the pod: those that it has, with the second one if it has none; the next free ones
    /// if it has none at all.
    pub fn reserve(&mut self, pod: &str) -> Option<PodAddresses> {
        let known = self.used.get(pod).map(|held| held.v4).filter(|v4| self.cidr.v4.contains(v4));
        let v4 = known.or_else(|| self.free())?;
        let addresses = PodAddresses { v4, v6: second(&self.cidr, v4) };
        self.used.insert(pod.to_owned(), addresses);
        Some(addresses)
    }

    fn free(&mut self) -> Option<Ipv4Addr> {
        let taken: BTreeSet<u32> = self.used.values().map(|held| held.v4.into()).collect();
        let hosts = pods(self.cidr.v4);
        let after = (self.last + 1).max(hosts.start)..hosts.end;
        let free = after.chain(hosts).find(|address| !taken.contains(address))?;
        self.last = free;
        Some(free.into())
    }

    /// The pod's addresses, if it has some.
    pub fn get(&self, pod: &str) -> Option<PodAddresses> {
        self.used.get(pod).copied()
    }

    /// The pods that have some.
    pub fn pods(&self) -> Vec<String> {
        self.used.keys().cloned().collect()
    }

    /// Gives the pod's addresses back.
    pub fn release(&mut self, pod: &str) {
        self.used.remove(pod);
    }
}

/// The first address of a node's network: the bridge's.
pub(super) fn gateway(network: Ipv4Net) -> Ipv4Addr {
    Ipv4Addr::from_bits(network.network().to_bits().saturating_add(1))
}

/// The same of IPv6.
pub(super) fn gateway_v6(network: Ipv6Net) -> Ipv6Addr {
    Ipv6Addr::from_bits(network.network().to_bits().saturating_add(1))
}

/// The address of IPv6 that is given with this one of IPv4: of both families it has the same number among those of the node, so
/// that none is given twice.
fn second(cidr: &DualStack, address: Ipv4Addr) -> Option<Ipv6Addr> {
    let network = cidr.v6.filter(|_| cidr.v4.contains(&address))?;
    let number = address.to_bits() - cidr.v4.network().to_bits();
    let second = Ipv6Addr::from_bits(network.network().to_bits().checked_add(number.into())?);
    network.contains(&second).then_some(second)
}

/// That of the link which has the address, so that neighbours who know it are never wrong: not when a pod has another sandbox,
/// or the bridge is made anew.
pub(super) fn mac(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    // A local address, by its second bit.
    Mac([0x02, 0x8b, a, b, c, d])
}

/// The addresses for pods: those between the gateway and the broadcast address.
fn pods(network: Ipv4Net) -> Range<u32> {
    gateway(network).to_bits().saturating_add(1)..network.broadcast().to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ipam(running: &[(&str, [u8; 4])]) -> Ipam {
        let held = |ip: [u8; 4]| PodAddresses::from(Ipv4Addr::from(ip));
        let running: Vec<_> =
            running.iter().map(|(pod, ip)| ((*pod).to_owned(), held(*ip))).collect();
        Ipam::new("10.244.1.0/29".parse().unwrap(), &running)
    }

    #[test]
    fn every_address_is_given_once_and_then_no_more() {
        let mut ipam = ipam(&[]);
        let given: Vec<_> = (0..6).map(|i| ipam.reserve(&format!("p{i}"))).collect();
        let last: Vec<_> = given.iter().map(|a| a.map(|a| a.v4.octets()[3])).collect();
        assert_eq!(last, [Some(2), Some(3), Some(4), Some(5), Some(6), None]);
    }

    #[test]
    fn a_pod_keeps_its_address_and_a_freed_one_rests() {
        let mut ipam = ipam(&[]);
        let first = ipam.reserve("a");
        assert_eq!(ipam.reserve("a"), first);
        ipam.release("a");
        assert_ne!(ipam.reserve("b"), first);
    }

    #[test]
    fn addresses_of_running_pods_are_kept() {
        let mut ipam = ipam(&[("a", [10, 244, 1, 2]), ("b", [10, 244, 1, 6])]);
        assert_eq!(first(&mut ipam, "a"), Some([10, 244, 1, 2].into()));
        assert_eq!(first(&mut ipam, "c"), Some([10, 244, 1, 3].into()));
    }

    fn first(ipam: &mut Ipam, pod: &str) -> Option<Ipv4Addr> {
        ipam.reserve(pod).map(|addresses| addresses.v4)
    }

    #[test]
    fn a_pod_of_before_there_was_ipv6_gets_an_address_of_it_with_its_next_sandbox() {
        let running = [("a".to_owned(), PodAddresses::from(Ipv4Addr::new(10, 244, 1, 2)))];
        let mut ipam = Ipam::new("10.244.1.0/24,fd00:10:244:1::/64".parse().unwrap(), &running);
        assert_eq!(ipam.get("a"), Some(running[0].1));
        let v6 = Some("fd00:10:244:1::2".parse().unwrap());
        assert_eq!(ipam.reserve("a"), Some(PodAddresses { v6, ..running[0].1 }));
        assert_eq!(ipam.get("a").unwrap().v6, v6);
    }

    #[test]
    fn a_pod_has_the_same_number_in_both_families() {
        let check = |cidr: &str, address: [u8; 4], expected: Option<&str>| {
            let second = second(&cidr.parse().unwrap(), address.into());
            assert_eq!(second.map(|it| it.to_string()).as_deref(), expected, "{cidr}");
        };
        let both = "10.244.1.0/24,fd00:10:244:1::/64";
        check(both, [10, 244, 1, 5], Some("fd00:10:244:1::5"));
        check(both, [10, 244, 1, 254], Some("fd00:10:244:1::fe"));
        check(both, [10, 244, 2, 5], None);
        check("10.244.1.0/24", [10, 244, 1, 5], None);
        check("10.244.0.0/16,fd00:10:244:1::/64", [10, 244, 1, 2], Some("fd00:10:244:1::102"));
        check("10.244.1.0/24,fd00:10:244:1::/124", [10, 244, 1, 16], None);
    }

    #[test]
    fn an_address_of_another_network_is_replaced() {
        let mut ipam = ipam(&[("a", [10, 9, 0, 2])]);
        assert_eq!(first(&mut ipam, "a"), Some([10, 244, 1, 2].into()));
    }
}
