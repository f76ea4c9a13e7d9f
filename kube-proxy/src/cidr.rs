//! The range that virtual IPs are given from, as a value that can be parsed, printed and asked.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// An IPv4 network such as `10.96.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: Ipv4Addr,
    prefix: u8,
}

/// Why a text is not a [`Cidr`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CidrError {
    /// Not of the form `address/length`.
    #[error("{0:?} is not an IPv4 network such as 10.96.0.0/16")]
    Form(String),
    /// The address is not the first one of its network.
    #[error("{given} has host bits set; the network is {network}")]
    HostBits {
        /// What was given.
        given: String,
        /// The network the address lies in.
        network: Cidr,
    },
}

impl Cidr {
    /// The first address of the network.
    pub fn network(&self) -> Ipv4Addr {
        self.network
    }

    /// The length of the prefix in bits.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        masked(address, self.prefix) == self.network
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = parts(text).ok_or_else(|| CidrError::Form(text.to_owned()))?;
        let network = Cidr { network: masked(address, prefix), prefix };
        if network.network == address {
            Ok(network)
        } else {
            Err(CidrError::HostBits { given: text.to_owned(), network })
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.prefix)
    }
}

fn parts(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/')?;
    let prefix = prefix.parse().ok().filter(|prefix| (1..=32).contains(prefix))?;
    Some((address.parse().ok()?, prefix))
}

fn masked(address: Ipv4Addr, prefix: u8) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() & (u32::MAX << (32 - prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_contains_its_addresses_and_no_others() {
        let cidr: Cidr = "10.96.0.0/16".parse().unwrap();
        assert!(cidr.contains(Ipv4Addr::new(10, 96, 255, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 97, 0, 0)));
        assert_eq!(cidr.to_string(), "10.96.0.0/16");
    }

    #[test]
    fn what_is_no_network_is_refused_with_the_reason() {
        let fault = |text: &str| text.parse::<Cidr>().unwrap_err().to_string();
        for text in ["", "10.96.0.0", "10.96.0.0/0", "10.96.0.0/33", "fd00::/64", "x/16"] {
            assert!(fault(text).contains("is not an IPv4 network"), "{text}");
        }
        assert_eq!(
            fault("10.96.0.1/16"),
            "10.96.0.1/16 has host bits set; the network is 10.96.0.0/16"
        );
    }
}
