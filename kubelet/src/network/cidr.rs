//! IPv4 networks.

use std::{fmt, net::Ipv4Addr, str::FromStr};

/// A network as `address/prefix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    network: u32,
    prefix: u8,
}

/// The text is not an IPv4 network.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 network such as 10.244.0.0/16")]
pub struct CidrError(String);

impl Cidr {
    /// The network's first address.
    pub fn network(self) -> Ipv4Addr {
        self.network.into()
    }

    /// The number of fixed bits.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The first address that a host may have: the bridge's.
    pub fn gateway(self) -> Ipv4Addr {
        (self.network + 1).into()
    }

    /// The addresses between the gateway and the broadcast address.
    pub fn hosts(self) -> std::ops::Range<u32> {
        self.network.saturating_add(2)..self.network | self.host_mask()
    }

    /// Whether the address is in the network.
    pub fn contains(self, address: Ipv4Addr) -> bool {
        u32::from(address) & !self.host_mask() == self.network
    }

    fn host_mask(self) -> u32 {
        u32::MAX.checked_shr(self.prefix.into()).unwrap_or_default()
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, CidrError> {
        let error = || CidrError(text.to_owned());
        let (address, prefix) = text.split_once('/').ok_or_else(error)?;
        let address: Ipv4Addr = address.parse().map_err(|_| error())?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 30).ok_or_else(error)?;
        let whole = Self { network: address.into(), prefix };
        Ok(Self { network: whole.network & !whole.host_mask(), prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network(), self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_parsed_and_masked() {
        let cidr: Cidr = "10.244.3.7/24".parse().unwrap();
        assert_eq!(cidr.to_string(), "10.244.3.0/24");
        assert_eq!(cidr.gateway(), Ipv4Addr::new(10, 244, 3, 1));
        assert_eq!(cidr.hosts().len(), 253);
        assert!(cidr.contains(Ipv4Addr::new(10, 244, 3, 255)));
        assert!(!cidr.contains(Ipv4Addr::new(10, 244, 4, 0)));
        for wrong in ["10.244.0.0", "10.244.0/16", "10.244.0.0/31", "x/8"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
