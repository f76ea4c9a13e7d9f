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

/// The addresses of one node.
#[derive(Clone, Debug)]
pub struct Ipam {
    cidr: DualStack,
    used: BTreeMap<String, Ipv4Addr>,
    /// The last address given: a fresh one comes after it, so that an address rests before it is given
    /// to another pod.
    last: u32,
}

impl Ipam {
    /// The pods of `running` keep their addresses.
    pub fn new(cidr: DualStack, running: &[(String, Ipv4Addr)]) -> Self {
        let used: BTreeMap<_, _> = running.iter().cloned().collect();
        let inside = used.values().filter(|address| cidr.v4.contains(*address));
        let last = inside.map(|address| u32::from(*address)).max().unwrap_or_default();
        Self { cidr, used, last }
    }

    /// The networks the addresses are from.
    pub fn cidr(&self) -> DualStack {
        self.cidr
    }

    /// The pod's address; the next free one if it has none.
    pub fn reserve(&mut self, pod: &str) -> Option<Ipv4Addr> {
        if let Some(known) = self.used.get(pod).filter(|known| self.cidr.v4.contains(*known)) {
            return Some(*known);
        }
        let taken: BTreeSet<u32> = self.used.values().map(|address| u32::from(*address)).collect();
        let hosts = pods(self.cidr.v4);
        let after = (self.last + 1).max(hosts.start)..hosts.end;
        let free = after.chain(hosts).find(|address| !taken.contains(address))?;
        self.last = free;
        self.used.insert(pod.to_owned(), free.into());
        Some(free.into())
    }

    /// The pod's address, if it has one.
    pub fn get(&self, pod: &str) -> Option<Ipv4Addr> {
        self.used.get(pod).copied()
    }

    /// The pods that have an address.
    pub fn pods(&self) -> Vec<String> {
        self.used.keys().cloned().collect()
    }

    /// Gives the pod's address back.
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

/// The address of IPv6 of a pod that has this one of IPv4: of both families it has the same number among those of the node. So
/// none is given twice, and it is known wherever the other one is.
pub(super) fn second(cidr: &DualStack, address: Ipv4Addr) -> Option<Ipv6Addr> {
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
        let running: Vec<_> =
            running.iter().map(|(pod, ip)| ((*pod).to_owned(), Ipv4Addr::from(*ip))).collect();
        Ipam::new("10.244.1.0/29".parse().unwrap(), &running)
    }

    #[test]
    fn every_address_is_given_once_and_then_no_more() {
        let mut ipam = ipam(&[]);
        let given: Vec<_> = (0..6).map(|i| ipam.reserve(&format!("p{i}"))).collect();
        let last: Vec<_> = given.iter().map(|a| a.map(|a| a.octets()[3])).collect();
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
        assert_eq!(ipam.reserve("a"), Some([10, 244, 1, 2].into()));
        assert_eq!(ipam.reserve("c"), Some([10, 244, 1, 3].into()));
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
        assert_eq!(ipam.reserve("a"), Some([10, 244, 1, 2].into()));
    }
}
