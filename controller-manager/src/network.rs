//! The address range of all pods, cut into equal parts, one for each node.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::Ipv4Net;

/// The cluster's range and the size of a node's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    cluster: Ipv4Net,
    node_prefix: u8,
}

/// A node's part would be larger than the whole.
#[derive(Debug, thiserror::Error)]
#[error("a node's /{node_prefix} does not fit into {cluster}")]
pub struct NetworkError {
    cluster: Ipv4Net,
    node_prefix: u8,
}

impl Network {
    /// Cuts the cluster's range into parts of this prefix length.
    ///
    /// # Errors
    ///
    /// The parts would be larger than the whole, or hold no addresses.
    pub fn new(cluster: Ipv4Net, node_prefix: u8) -> Result<Self, NetworkError> {
        if node_prefix < cluster.prefix_len() || node_prefix > 30 {
            return Err(NetworkError { cluster, node_prefix });
        }
        Ok(Self { cluster, node_prefix })
    }

    /// Whether an address is a pod's, if it is anybody's.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V4(address) if self.cluster.contains(&address))
    }

    /// The first part that overlaps none of those in use; `None` if all are.
    pub fn free(&self, used: &BTreeSet<Ipv4Net>) -> Option<Ipv4Net> {
        let free = |part: &Ipv4Net| {
            // Nearly always the parts in use are of our size, and a look-up is enough.
            !used.contains(part)
                && !used.iter().any(|other| {
                    other.prefix_len() != part.prefix_len()
                        && (other.contains(part) || part.contains(other))
                })
        };
        self.cluster.subnets(self.node_prefix).ok()?.find(free)
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
        Network::new("10.0.0.0/16".parse().unwrap(), 8).unwrap_err();
        Network::new("10.0.0.0/16".parse().unwrap(), 31).unwrap_err();
    }
}
