//! Rules for connections to virtual IPs, which are local addresses of the host: a server that listens
//! on all addresses, such as sshd, would answer there on every port that the Service does not have.
//!
//! There is one rule for all, and none to be changed with a Service: what decides is whether a server
//! has bound itself to that very address. Replies are not looked at: the host's own clients of a virtual
//! IP have that IP for a source.
//!
//! And one for the nginxes' flows of datagrams: an nginx that hears once that a pod does not listen reads
//! nothing more of that flow, for as long as the client goes on. So the host does not hear it from pods;
//! a flow that was not answered is answered once the pod listens.

use component::dual_stack::DualStack;
use ipnet::{IpNet, Ipv4Net};
use packet_filter::{Chain, Error, Family, Jump, Table};

/// Has connections to addresses of the services refused on ports that no server has bound there, and keeps
/// from the host that a port of a pod is closed for datagrams.
pub async fn guard(services: &DualStack, pods: &DualStack) -> Result<(), Error> {
    for (family, table) in tables(services, pods) {
        packet_filter::ensure(family, &[table]).await?;
    }
    Ok(())
}

/// What of that is not as it should be, in words.
pub(crate) async fn differences(
    services: &DualStack,
    pods: &DualStack,
) -> Result<Vec<String>, Error> {
    let mut found = Vec::new();
    for (family, table) in tables(services, pods) {
        found.extend(packet_filter::differences(family, &[table]).await?);
    }
    Ok(found)
}

fn tables(services: &DualStack, pods: &DualStack) -> Vec<(Family, Table)> {
    let v4 = table(services, pods, (services.v4.into(), pods.v4.into()), &WORDS_OF_IPV4);
    let v6 = services.v6.zip(pods.v6).map(|(range, of_pods)| {
        let table = table(services, pods, (range.into(), of_pods.into()), &WORDS_OF_IPV6);
        (Family::Ipv6, table)
    });
    [(Family::Ipv4, v4)].into_iter().chain(v6).collect()
}

/// Several clusters of a host have chains each, named after their ranges of IPv4. The jumps there come first: whatever else
/// is let in to the host is not let in here.
fn table(services: &DualStack, pods: &DualStack, ranges: (IpNet, IpNet), words: &Words) -> Table {
    let name = |kind, range: Ipv4Net| {
        format!("MINIK8S-{kind}-{:08x}-{}", range.network().to_bits(), range.prefix_len())
    };
    let chain = |name, rules: &[&str]| Chain {
        name,
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
    };
    let chains = vec![
        chain(name("VIP", services.v4), &words.refuse),
        chain(name("UDP", pods.v4), &["-j DROP"]),
    ];
    let jump = |matches, to: &Chain| Jump { from: "INPUT", matches, to: to.name.clone() };
    let jumps = vec![
        jump(format!("-d {} -m conntrack --ctstate NEW", ranges.0), &chains[0]),
        jump(format!("-s {} {}", ranges.1, words.closed), &chains[1]),
    ];
    Table { name: "filter", chains, jumps }
}

/// What is said otherwise for the one family than for the other.
struct Words {
    /// `socket` does not count servers that listen on all addresses.
    refuse: [&'static str; 4],
    /// That a port is closed for datagrams.
    closed: &'static str,
}

const WORDS_OF_IPV4: Words = Words {
    refuse: [
        "-m socket -j RETURN",
        "-p icmp -j RETURN",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-j REJECT --reject-with icmp-port-unreachable",
    ],
    closed: "-p icmp -m icmp --icmp-type 3/3",
};
const WORDS_OF_IPV6: Words = Words {
    refuse: [
        "-m socket -j RETURN",
        "-p ipv6-icmp -j RETURN",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "-j REJECT --reject-with icmp6-port-unreachable",
    ],
    closed: "-p ipv6-icmp -m icmp6 --icmpv6-type 1/4",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_has_a_chain() {
        let found = tables(&"10.96.0.0/16".parse().unwrap(), &"10.244.0.0/16".parse().unwrap());
        let [(Family::Ipv4, Table { chains, jumps, .. })] = &found[..] else { panic!("{found:?}") };
        let names: Vec<_> = chains.iter().map(|chain| chain.name.as_str()).collect();
        assert_eq!(names, ["MINIK8S-VIP-0a600000-16", "MINIK8S-UDP-0af40000-16"]);
        let jumps: Vec<_> = jumps.iter().map(|jump| (jump.matches.as_str(), &*jump.to)).collect();
        let to_services = "-d 10.96.0.0/16 -m conntrack --ctstate NEW";
        let from_pods = "-s 10.244.0.0/16 -p icmp -m icmp --icmp-type 3/3";
        assert_eq!(jumps, [(to_services, names[0]), (from_pods, names[1])]);
    }

    #[test]
    fn with_two_stacks_each_has_its_own() {
        let services = "10.96.0.0/16,fd00:10:96::/112".parse().unwrap();
        let found = tables(&services, &"10.244.0.0/16,fd00:10:244::/56".parse().unwrap());
        let [_, (Family::Ipv6, Table { jumps, .. })] = &found[..] else { panic!("{found:?}") };
        let jumps: Vec<_> = jumps.iter().map(|jump| jump.matches.as_str()).collect();
        let to_services = "-d fd00:10:96::/112 -m conntrack --ctstate NEW";
        let from_pods = "-s fd00:10:244::/56 -p ipv6-icmp -m icmp6 --icmpv6-type 1/4";
        assert_eq!(jumps, [to_services, from_pods]);
    }
}
