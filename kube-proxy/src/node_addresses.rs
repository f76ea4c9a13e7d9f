//! At which addresses of this host there are node ports.

use std::{collections::BTreeSet, net::IpAddr, str::FromStr};

use component::network::{NetworkFault, Networks};
use ipnet::IpNet;

/// Which addresses are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAddresses {
    /// The node's own, as its Node has them: one of each family.
    Primary,
    /// All of a range.
    Range(IpNet),
}

impl FromStr for NodeAddresses {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "primary" => Ok(NodeAddresses::Primary),
            range => {
                let range: Networks = range.parse().map_err(|why: NetworkFault| why.to_string())?;
                Ok(NodeAddresses::Range(range.primary()))
            }
        }
    }
}

/// Those of `addresses` that are meant; nothing said means all.
pub(crate) fn chosen(
    wanted: &[NodeAddresses],
    addresses: &BTreeSet<IpAddr>,
    primary: &[IpAddr],
) -> BTreeSet<IpAddr> {
    let is_meant = |address: &IpAddr| {
        wanted.iter().any(|wanted| match wanted {
            NodeAddresses::Primary => primary.contains(address),
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
        let all =
            ["127.0.0.1", "192.0.2.7", "198.51.100.7", "2001:db8::7"].map(|ip| ip.parse().unwrap());
        let check = |wanted: &[&str], expected: &[usize]| {
            let wanted: Vec<_> = wanted.iter().map(|it| it.parse().unwrap()).collect();
            let expected = expected.iter().map(|number| all[*number]).collect();
            assert_eq!(chosen(&wanted, &all.into(), &all[1..2]), expected);
        };
        check(&[], &[0, 1, 2, 3]);
        check(&["primary"], &[1]);
        check(&["127.0.0.0/8", "198.51.100.0/24"], &[0, 2]);
        check(&["203.0.113.0/24"], &[]);
        check(&["2001:db8::/64"], &[3]);
        assert!("secondary".parse::<NodeAddresses>().is_err());
    }
}
