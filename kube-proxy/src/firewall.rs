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

use ipnet::Ipv4Net;
use packet_filter::{Chain, Error, Jump, Table};

/// Has connections to addresses of the services refused on ports that no server has bound there, and keeps
/// from the host that a port of a pod is closed for datagrams.
pub async fn guard(services: Ipv4Net, pods: Ipv4Net) -> Result<(), Error> {
    packet_filter::ensure(&[table(services, pods)]).await.map(drop)
}

/// Several clusters of a host have chains each. The jumps there come first: whatever else is let in to the
/// host is not let in here.
pub(crate) fn table(services: Ipv4Net, pods: Ipv4Net) -> Table {
    let name = |kind, range: Ipv4Net| {
        format!("MINIK8S-{kind}-{:08x}-{}", range.network().to_bits(), range.prefix_len())
    };
    let chain = |name, rules: &[&str]| Chain {
        name,
        rules: rules.iter().map(|rule| (*rule).to_owned()).collect(),
    };
    let chains =
        vec![chain(name("VIP", services), &REFUSE), chain(name("UDP", pods), &["-j DROP"])];
    let jump = |matches, to: &Chain| Jump { from: "INPUT", matches, to: to.name.clone() };
    let jumps = vec![
        jump(format!("-d {services} -m conntrack --ctstate NEW"), &chains[0]),
        jump(format!("-s {pods} -p icmp -m icmp --icmp-type 3/3"), &chains[1]),
    ];
    Table { name: "filter", chains, jumps }
}

/// `socket` does not count servers that listen on all addresses.
const REFUSE: [&str; 4] = [
    "-m socket -j RETURN",
    "-p icmp -j RETURN",
    "-p tcp -j REJECT --reject-with tcp-reset",
    "-j REJECT --reject-with icmp-port-unreachable",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_range_has_a_chain() {
        let Table { chains, jumps, .. } =
            table("10.96.0.0/16".parse().unwrap(), "10.244.0.0/16".parse().unwrap());
        let names: Vec<_> = chains.iter().map(|chain| chain.name.as_str()).collect();
        assert_eq!(names, ["MINIK8S-VIP-0a600000-16", "MINIK8S-UDP-0af40000-16"]);
        let jumps: Vec<_> = jumps.iter().map(|jump| (jump.matches.as_str(), &*jump.to)).collect();
        let to_services = "-d 10.96.0.0/16 -m conntrack --ctstate NEW";
        let from_pods = "-s 10.244.0.0/16 -p icmp -m icmp --icmp-type 3/3";
        assert_eq!(jumps, [(to_services, names[0]), (from_pods, names[1])]);
    }
}
