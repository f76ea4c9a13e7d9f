//! At which addresses of this host there are node ports.

use std::{collections::BTreeSet, net::Ipv4Addr, str::FromStr};

use component::network;
use ipnet::Ipv4Net;

/// Which addresses are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAddresses {
    /// The node's own, as its Node has it.
    Primary,
    /// All of a range.
    Range(Ipv4Net),
}

impl FromStr for NodeAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "primary" => Ok(NodeAddresses::Primary),
            range => network::parse(range).map(NodeAddresses::Range).map_err(|why| why.to_string()),
        }
    }
}

/// Those of `addresses` that are meant; nothing said means all.
pub(crate) fn chosen(
    wanted: &[NodeAddresses],
    addresses: &BTreeSet<Ipv4Addr>,
    primary: Option<Ipv4Addr>,
) -> BTreeSet<Ipv4Addr> {
    let is_meant = |address: &Ipv4Addr| {
        wanted.iter().any(|wanted| match wanted {
            NodeAddresses::Primary => primary == Some(*address),
            NodeAddresses::Range(range) => range.contains(address),
        })
    };
    addresses.iter().filter(|it| wanted.is_empty() || is_meant(it)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ports_are_where_they_are_said_to_be() {
        let all = ["127.0.0.1", "192.0.2.7", "198.51.100.7"].map(|ip| ip.parse().unwrap());
        let check = |wanted: &[&str], expected: &[usize]| {
            let wanted: Vec<_> = wanted.iter().map(|it| it.parse().unwrap()).collect();
            let expected = expected.iter().map(|number| all[*number]).collect();
            assert_eq!(chosen(&wanted, &all.into(), Some(all[1])), expected);
        };
        check(&[], &[0, 1, 2]);
        check(&["primary"], &[1]);
        check(&["127.0.0.0/8", "198.51.100.0/24"], &[0, 2]);
        check(&["203.0.113.0/24"], &[]);
        assert!("secondary".parse::<NodeAddresses>().is_err());
    }
}
