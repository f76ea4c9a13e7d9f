//! The address range of all pods, cut into equal parts, one for each node.

use std::collections::BTreeSet;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 range in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: u32,
    prefix: u8,
}

/// The text is no IPv4 range.
#[derive(Debug, thiserror::Error)]
#[error("{text:?} is no IPv4 range such as 10.244.0.0/16")]
pub struct CidrError {
    text: String,
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        parse(text).ok_or_else(|| CidrError { text: text.to_owned() })
    }
}

fn parse(text: &str) -> Option<Cidr> {
    let (address, prefix) = text.split_once('/')?;
    let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
    let address = u32::from(address.parse::<Ipv4Addr>().ok()?);
    Some(Cidr { address: address & mask(prefix), prefix })
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", Ipv4Addr::from(self.address), self.prefix)
    }
}

impl Cidr {
    fn overlaps(self, other: Self) -> bool {
        let mask = mask(self.prefix.min(other.prefix));
        self.address & mask == other.address & mask
    }
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0)
}

/// The cluster's range and the size of a node's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    cluster: Cidr,
    node_prefix: u8,
}

/// A node's part would be larger than the whole.
#[derive(Debug, thiserror::Error)]
#[error("a node's /{node_prefix} does not fit into {cluster}")]
pub struct NetworkError {
    cluster: Cidr,
    node_prefix: u8,
}

impl Network {
    /// Cuts the cluster's range into parts of this prefix length.
    ///
    /// # Errors
    ///
    /// The parts would be larger than the whole, or hold no addresses.
    pub fn new(cluster: Cidr, node_prefix: u8) -> Result<Self, NetworkError> {
        if node_prefix < cluster.prefix || node_prefix > 30 {
            return Err(NetworkError { cluster, node_prefix });
        }
        Ok(Self { cluster, node_prefix })
    }

    /// The first part that overlaps none of those in use; `None` if all are.
    pub fn free(&self, used: &BTreeSet<Cidr>) -> Option<Cidr> {
        let parts = 1_u64 << (self.node_prefix - self.cluster.prefix);
        let size = 1_u64 << (32 - self.node_prefix);
        let part = |index: u64| {
            let address = u32::try_from(u64::from(self.cluster.address) + index * size).ok()?;
            Some(Cidr { address, prefix: self.node_prefix })
        };
        let free = |part: &Cidr| {
            // Nearly always the parts in use are of our size, and a look-up is enough.
            !used.contains(part)
                && !used.iter().any(|other| other.prefix != part.prefix && other.overlaps(*part))
        };
        (0..parts).filter_map(part).find(free)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cluster: &str, prefix: u8, used: &[&str], expected: Option<&str>) {
        let network = Network::new(cluster.parse().unwrap(), prefix).unwrap();
        let used = used.iter().map(|text| text.parse().unwrap()).collect();
        assert_eq!(network.free(&used).map(|part| part.to_string()).as_deref(), expected);
    }

    #[test]
    fn the_first_free_part_is_given() {
        check("10.244.0.0/16", 24, &[], Some("10.244.0.0/24"));
        check("10.244.0.0/16", 24, &["10.244.0.0/24", "10.244.1.0/24"], Some("10.244.2.0/24"));
        check("10.244.0.0/16", 24, &["10.244.1.0/24"], Some("10.244.0.0/24"));
        check("10.244.0.0/30", 30, &["10.244.0.0/30"], None);
        check("255.255.255.0/24", 25, &["255.255.255.0/25"], Some("255.255.255.128/25"));
    }

    #[test]
    fn parts_of_another_size_are_avoided() {
        check("10.244.0.0/16", 24, &["10.244.0.0/23"], Some("10.244.2.0/24"));
        check("10.244.0.0/16", 24, &["10.244.0.64/26"], Some("10.244.1.0/24"));
        check("10.244.0.0/16", 24, &["192.168.0.0/24"], Some("10.244.0.0/24"));
    }

    #[test]
    fn no_part_is_given_twice_and_all_are_given() {
        let network = Network::new("10.0.0.0/20".parse().unwrap(), 24).unwrap();
        let mut used = BTreeSet::new();
        while let Some(part) = network.free(&used) {
            assert!(used.insert(part));
        }
        assert_eq!(used.len(), 16);
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["10.0.0.0", "10.0.0/8", "10.0.0.0/33", "fd00::/64", ""] {
            text.parse::<Cidr>().unwrap_err();
        }
        Network::new("10.0.0.0/16".parse().unwrap(), 8).unwrap_err();
        Network::new("10.0.0.0/16".parse().unwrap(), 31).unwrap_err();
    }
}
