//! What a server needs to know, however it came to know it (flags, or a test's wishes).

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    str::FromStr,
    time::Duration,
};

use crate::kubelet_client::KubeletClient;

/// The settings of a server.
#[derive(Clone, Debug)]
pub struct Config {
    /// The range that virtual IPs of services are taken from.
    pub service_cidr: Cidr,
    /// The address at which pods and other programs reach the server: the endpoint of the `kubernetes` service.
    pub advertise_address: IpAddr,
    /// The port of that endpoint.
    pub secure_port: u16,
    /// How long Events are kept after they last happened.
    pub event_ttl: Duration,
    /// How often history is compacted, always to where the store was one interval before.
    pub compaction_interval: Duration,
    /// How many changes of a collection can be watched from the past.
    pub watch_window: usize,
    /// How to reach kubelets for logs; without it they can't be.
    pub kubelet_client: Option<KubeletClient>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            service_cidr: Cidr::new(Ipv4Addr::new(10, 96, 0, 0), 16),
            advertise_address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            secure_port: 6443,
            event_ttl: Duration::from_secs(3600),
            compaction_interval: Duration::from_secs(300),
            watch_window: 10_000,
            kubelet_client: None,
        }
    }
}

/// A range of IPv4 addresses: `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: u32,
    prefix: u8,
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not an IPv4 range such as 10.96.0.0/16")]
pub struct CidrError(String);

impl Cidr {
    /// The range of this prefix length that holds the address.
    ///
    /// # Panics
    /// If the prefix is longer than 30 bits: no two addresses would be left.
    #[must_use]
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        assert!(prefix <= 30, "a range of services needs at least two addresses");
        let mask = u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0);
        Self { network: u32::from(address) & mask, prefix }
    }

    /// How many addresses can be given out: all but the network's own and the broadcast address.
    #[must_use]
    pub fn usable(&self) -> u32 {
        u32::MAX.checked_shr(u32::from(self.prefix)).unwrap_or(0) - 1
    }

    /// The usable address with this number, counted from 1.
    #[must_use]
    pub fn nth(&self, number: u32) -> Ipv4Addr {
        Ipv4Addr::from(self.network + number)
    }

    /// Whether the address is one that can be given out.
    #[must_use]
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        let number = u32::from(address).wrapping_sub(self.network);
        (1..=self.usable()).contains(&number)
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.network), self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(s: &str) -> Result<Self, CidrError> {
        let parsed = s.split_once('/').and_then(|(a, p)| Some((a.parse().ok()?, p.parse().ok()?)));
        match parsed {
            Some((address, prefix)) if prefix <= 30 => Ok(Self::new(address, prefix)),
            _ => Err(CidrError(s.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_gives_out_neither_its_network_nor_its_broadcast_address() {
        let cidr: Cidr = "10.96.0.77/30".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.96.0.76/30");
        assert_eq!(
            (cidr.nth(1), cidr.nth(cidr.usable())),
            ([10, 96, 0, 77].into(), [10, 96, 0, 78].into())
        );
        assert!(!cidr.contains([10, 96, 0, 79].into()) && !cidr.contains([10, 96, 0, 76].into()));
    }

    #[test]
    fn what_is_no_range_is_refused() {
        for text in ["", "10.96.0.0", "10.96.0.0/31", "x/16", "::/64"] {
            assert!(text.parse::<Cidr>().is_err(), "{text}");
        }
    }
}
