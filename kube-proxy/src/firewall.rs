//! Rules for connections to virtual IPs, which are local addresses of the host: a server that listens
//! on all addresses, such as sshd, would answer there on every port that the Service does not have.
//!
//! There is one rule for all, and none to be changed with a Service: what decides is whether a server
//! has bound itself to that very address. Replies are not looked at: the host's own clients of a virtual
//! IP have that IP for a source.

use ipnet::Ipv4Net;
use packet_filter::{Chain, Error, Jump, Table};

/// Has connections to addresses of the range refused on ports that no server has bound there.
pub async fn refuse_unserved(range: Ipv4Net) -> Result<(), Error> {
    packet_filter::ensure(&[table(range)]).await.map(drop)
}

/// Several clusters of a host have a chain each. The jump there comes first: whatever else is let in to the
/// host is not let in here.
fn table(range: Ipv4Net) -> Table {
    let name = format!("MINIK8S-VIP-{:08x}-{}", range.network().to_bits(), range.prefix_len());
    let jump = Jump {
        from: "INPUT",
        matches: format!("-d {range} -m conntrack --ctstate NEW"),
        to: name.clone(),
    };
    let chain = Chain { name, rules: RULES.map(str::to_owned).to_vec() };
    Table { name: "filter", chains: vec![chain], jumps: vec![jump] }
}

/// `socket` does not count servers that listen on all addresses.
const RULES: [&str; 4] = [
    "-m socket -j RETURN",
    "-p icmp -j RETURN",
    "-p tcp -j REJECT --reject-with tcp-reset",
    "-j REJECT --reject-with icmp-port-unreachable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_server_has_bound_is_refused_in_a_chain_of_the_range() {
        let Table { chains, jumps, .. } = table("10.96.0.0/16".parse().unwrap());
        assert_eq!(chains[0].name, "MINIK8S-VIP-0a600000-16");
        let jump = Jump {
            from: "INPUT",
            matches: "-d 10.96.0.0/16 -m conntrack --ctstate NEW".to_owned(),
            to: chains[0].name.clone(),
        };
        assert_eq!(jumps, [jump]);
    }
}
