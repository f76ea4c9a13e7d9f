//! The networks of what needs one of IPv4, and on a cluster of two stacks has one of IPv6 beside it.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::network::{NetworkFault, Networks};

/// A network of IPv4 and, on a cluster of two stacks, one of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DualStack {
    /// That of IPv4.
    pub v4: Ipv4Net,
    /// That of IPv6.
    pub v6: Option<Ipv6Net>,
}

/// Why networks can't be used here.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DualStackFault {
    /// The text says none.
    #[error(transparent)]
    Network(#[from] NetworkFault),
    /// None of IPv4.
    #[error("{0}: an IPv4 network is needed, too")]
    NoIpv4(Networks),
}

impl DualStack {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = IpNet> + use<> {
        [IpNet::V4(self.v4)].into_iter().chain(self.v6.map(IpNet::V6))
    }

    /// Whether the address is in one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.of(address).is_some_and(|network| network.contains(&address))
    }

    /// Whether the network is in one of them.
    pub fn encloses(&self, network: &IpNet) -> bool {
        self.of(network.addr()).is_some_and(|range| range.contains(network))
    }

    /// Without that of IPv6, unless it is in the other one's.
    pub fn within(self, other: &DualStack) -> DualStack {
        DualStack { v6: self.v6.filter(|v6| other.encloses(&IpNet::V6(*v6))), ..self }
    }

    /// That of the family of an address.
    pub fn of(&self, address: IpAddr) -> Option<IpNet> {
        match address {
            IpAddr::V4(_) => Some(IpNet::V4(self.v4)),
            IpAddr::V6(_) => self.v6.map(IpNet::V6),
        }
    }

    /// Whether there is one of this family.
    pub fn has_family_of(&self, address: IpAddr) -> bool {
        self.of(address).is_some()
    }
}

impl From<Ipv4Net> for DualStack {
    fn from(v4: Ipv4Net) -> Self {
        DualStack { v4, v6: None }
    }
}

impl TryFrom<Networks> for DualStack {
    type Error = DualStackFault;

    fn try_from(networks: Networks) -> Result<Self, DualStackFault> {
        let v4 = networks.v4().ok_or(DualStackFault::NoIpv4(networks))?;
        Ok(DualStack { v4, v6: networks.v6() })
    }
}

impl FromStr for DualStack {
    type Err = DualStackFault;

    fn from_str(text: &str) -> Result<Self, DualStackFault> {
        text.parse::<Networks>()?.try_into()
    }
}

impl fmt::Display for DualStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.v4.fmt(f)?;
        self.v6.iter().try_for_each(|v6| write!(f, ",{v6}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_each_family_in_any_order() {
        let both: DualStack = "fd00:10:96::/112,10.96.0.0/16".parse().unwrap();
        assert_eq!(both.to_string(), "10.96.0.0/16,fd00:10:96::/112");
        let alone: DualStack = "10.96.0.0/16".parse().unwrap();
        assert_eq!(alone, DualStack::from(both.v4));
        let ip = |text: &str| -> IpAddr { text.parse().unwrap() };
        assert!(both.contains(ip("fd00:10:96::7")) && both.contains(ip("10.96.0.7")));
        assert!(!both.contains(ip("fd00:10:97::7")) && !alone.contains(ip("fd00:10:96::7")));
        assert!(alone.has_family_of(ip("192.0.2.1")) && !alone.has_family_of(ip("2001:db8::1")));
    }

    #[test]
    fn what_is_within_another_has_no_ipv6_where_that_has_none() {
        let check = |outer: &str, expected: &str| {
            let own: DualStack = "10.244.1.0/24,fd00:10:244:1::/64".parse().unwrap();
            assert_eq!(own.within(&outer.parse().unwrap()), expected.parse().unwrap(), "{outer}");
        };
        check("10.244.0.0/16,fd00:10:244::/56", "10.244.1.0/24,fd00:10:244:1::/64");
        check("10.244.0.0/16", "10.244.1.0/24");
        check("10.244.0.0/16,fd00:10:245::/56", "10.244.1.0/24");
    }

    #[test]
    fn without_one_of_ipv4_they_are_refused() {
        let fault = |text: &str| text.parse::<DualStack>().unwrap_err().to_string();
        assert_eq!(fault("fd00::/64"), "fd00::/64: an IPv4 network is needed, too");
        assert!(fault("10.96.0.1/16").contains("host bits set"));
    }
}
