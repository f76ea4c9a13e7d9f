//! The addresses of a pod, and of the node.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The addresses of a pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddresses {
    /// That of IPv4, the first in its status.
    pub v4: Ipv4Addr,
    /// That of IPv6, if it was given one.
    pub v6: Option<Ipv6Addr>,
}

impl PodAddresses {
    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> + use<> {
        [IpAddr::V4(self.v4)].into_iter().chain(self.v6.map(IpAddr::V6))
    }
}

impl From<Ipv4Addr> for PodAddresses {
    fn from(v4: Ipv4Addr) -> Self {
        Self { v4, v6: None }
    }
}

/// Addresses as the status of a pod tells them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ips {
    /// The first.
    pub first: String,
    /// That of the other family, if there is one.
    pub second: Option<String>,
}

impl From<PodAddresses> for Ips {
    fn from(addresses: PodAddresses) -> Self {
        Self { first: addresses.v4.to_string(), second: addresses.v6.map(|ip| ip.to_string()) }
    }
}
