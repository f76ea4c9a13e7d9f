//! The address ranges of all pods, one or one of each family, cut into equal parts, of which each node gets one of each.

use std::collections::BTreeSet;
use std::net::IpAddr;

use component::network::Networks;
use ipnet::IpNet;

/// The cluster's ranges and the size of a node's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    cluster: Networks,
    node_prefixes: NodePrefixes,
}

/// The prefix lengths of a node's parts, by family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodePrefixes {
    /// Of IPv4.
    pub v4: u8,
    /// Of IPv6.
    pub v6: u8,
}

/// Kubernetes' own.
impl Default for NodePrefixes {
    fn default() -> Self {
        Self { v4: 24, v6: 64 }
    }
}

impl NodePrefixes {
    fn of(self, range: IpNet) -> u8 {
        match range {
            IpNet::V4(_) => self.v4,
            IpNet::V6(_) => self.v6,
        }
    }
}

/// A node's part would be larger than the whole, or hold no addresses.
#[derive(Debug, thiserror::Error)]
#[error("a node's /{node_prefix} does not fit into {cluster}")]
pub struct NetworkError {
    cluster: IpNet,
    node_prefix: u8,
}

impl Network {
    /// Cuts the cluster's ranges into parts of these prefix lengths.
    ///
    /// # Errors
    ///
    /// The parts would be larger than the whole, or hold no addresses.
    pub fn new(cluster: Networks, node_prefixes: NodePrefixes) -> Result<Self, NetworkError> {
        for cluster in cluster.iter() {
            let node_prefix = node_prefixes.of(cluster);
            if node_prefix < cluster.prefix_len() || node_prefix + 2 > cluster.max_prefix_len() {
                return Err(NetworkError { cluster, node_prefix });
            }
        }
        Ok(Self { cluster, node_prefixes })
    }

    /// Whether an address is a pod's, if it is anybody's.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        self.cluster.contains(address)
    }

    /// Of each range the first part that overlaps none of those in use; `None` if all of one are.
    pub fn free(&self, used: &BTreeSet<IpNet>) -> Option<Networks> {
        self.cluster.try_map(|range| free(range, self.node_prefixes.of(range), used))
    }
}

fn free(range: IpNet, prefix: u8, used: &BTreeSet<IpNet>) -> Option<IpNet> {
    let free = |part: &IpNet| {
        // Nearly always the parts in use are of our size, and a look-up is enough.
        !used.contains(part)
            && !used.iter().any(|other| {
                other.prefix_len() != part.prefix_len()
                    && (other.contains(part) || part.contains(other))
            })
    };
    range.subnets(prefix).ok()?.find(free)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// With parts of the usual sizes.
    pub(crate) fn network(cluster: &str) -> Network {
        Network::new(cluster.parse().unwrap(), NodePrefixes::default()).unwrap()
    }

    fn check(cluster: &str, v4: u8, used: &[&str], expected: Option<&str>) {
        let prefixes = NodePrefixes { v4, ..NodePrefixes::default() };
        let network = Network::new(cluster.parse().unwrap(), prefixes).unwrap();
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
    fn a_node_gets_a_part_of_each_family_or_nothing() {
        let both = "10.244.0.0/23,fd00:10:244::/63";
        check(both, 24, &[], Some("10.244.0.0/24,fd00:10:244::/64"));
        check(both, 24, &["10.244.0.0/24"], Some("10.244.1.0/24,fd00:10:244::/64"));
        let first = ["fd00:10:244::/64"];
        check(both, 24, &first, Some("10.244.0.0/24,fd00:10:244:1::/64"));
        check(both, 24, &["fd00:10:244::/64", "fd00:10:244:1::/64"], None);
        check(
            "fd00:10:244::/63,10.244.0.0/23",
            24,
            &first,
            Some("fd00:10:244:1::/64,10.244.0.0/24"),
        );
        check("fd00:10:244::/63", 24, &first, Some("fd00:10:244:1::/64"));
    }

    #[test]
    fn no_part_is_given_twice_and_all_are_given() {
        let network = network("10.0.0.0/20,fd00:10:244::/56");
        let mut used = BTreeSet::new();
        let mut nodes = 0;
        while let Some(parts) = network.free(&used) {
            assert!(parts.iter().all(|part| used.insert(part)));
            nodes += 1;
        }
        assert_eq!(nodes, 16);
    }

    #[test]
    fn nonsense_is_refused() {
        let check = |cluster: &str, v4: u8, v6: u8, expected: &str| {
            let refused = Network::new(cluster.parse().unwrap(), NodePrefixes { v4, v6 });
            let refused = refused.unwrap_err().to_string();
            assert_eq!(refused, format!("a node's {expected}"));
        };
        check("10.0.0.0/16", 8, 64, "/8 does not fit into 10.0.0.0/16");
        check("10.0.0.0/16", 31, 64, "/31 does not fit into 10.0.0.0/16");
        check("10.0.0.0/16,fd00::/72", 24, 64, "/64 does not fit into fd00::/72");
        check("10.0.0.0/16,fd00::/64", 24, 127, "/127 does not fit into fd00::/64");
    }
}
