//! The two families of addresses: what comes to an address of one is led on within it.

use std::{collections::BTreeSet, net::IpAddr};

use ipnet::IpNet;

/// Of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// In the order in which Services have them here.
    pub(crate) const BOTH: [Family; 2] = [Family::Ipv4, Family::Ipv6];

    /// That of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Family::Ipv4 } else { Family::Ipv6 }
    }

    pub(crate) fn has(self, address: IpAddr) -> bool {
        Family::of(address) == self
    }

    pub(crate) fn has_network(self, network: &IpNet) -> bool {
        self.has(network.addr())
    }

    /// Those that are of it.
    pub(crate) fn among<T: Clone + Ord>(
        self,
        all: &BTreeSet<T>,
        address: impl Fn(&T) -> IpAddr,
    ) -> BTreeSet<T> {
        all.iter().filter(|one| self.has(address(one))).cloned().collect()
    }

    /// In the words of nftables: of tables and headers.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Family::Ipv4 => "ip",
            Family::Ipv6 => "ip6",
        }
    }

    /// The same: of addresses in sets.
    pub(crate) fn type_of_addresses(self) -> &'static str {
        match self {
            Family::Ipv4 => "ipv4_addr",
            Family::Ipv6 => "ipv6_addr",
        }
    }
}
