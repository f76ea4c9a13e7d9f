//! The packet filter's rules of the pod network. The chains that several kubelets of one host share are
//! named after the cluster's networks, so that all who share them give them the same content. Traffic is
//! accepted by the pod CIDR, never by interface, and before Docker's `FORWARD` policy, which is DROP.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use packet_filter::{Chain, Jump, Table};

/// A port of the node that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Only on this address of the node.
    pub host_ip: Option<Ipv4Addr>,
    /// The node's port; 0 for any that is free.
    pub host_port: u16,
    /// The pod's address.
    pub pod_ip: Ipv4Addr,
    /// The pod's port.
    pub pod_port: u16,
}

/// The names of our chains.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    forward: String,
    postrouting: String,
    ports: String,
}

impl Chains {
    /// `cluster` and `node` tell clusters and nodes apart; a name has at most 28 bytes.
    pub(super) fn new(cluster: &str, node: &str) -> Self {
        Self {
            forward: format!("MINIK8S-FWD-{cluster}"),
            postrouting: format!("MINIK8S-POST-{cluster}"),
            ports: format!("MINIK8S-HP-{node}"),
        }
    }
}

/// All of it.
pub(super) fn tables<'a>(
    chains: &Chains,
    pods: Ipv4Net,
    services: Ipv4Net,
    ports: impl Iterator<Item = &'a PortMapping>,
) -> [Table; 2] {
    let jump = |from, matches: &str, to: &str| Jump {
        from,
        matches: matches.to_owned(),
        to: to.to_owned(),
    };
    // Host ports do not apply to service addresses, which are local too.
    let local = format!("! -d {services} -m addrtype --dst-type LOCAL");
    let filter = Table {
        name: "filter",
        chains: vec![forwarding(chains, pods)],
        jumps: vec![jump("FORWARD", "", &chains.forward)],
    };
    let nat = Table {
        name: "nat",
        chains: vec![masquerading(chains, pods, services), leading(chains, ports)],
        jumps: vec![
            jump("POSTROUTING", "", &chains.postrouting),
            jump("PREROUTING", &local, &chains.ports),
            jump("OUTPUT", &local, &chains.ports),
        ],
    };
    [filter, nat]
}

/// The host ports that a kubelet before this one has led to pods.
pub(super) async fn saved_ports(chains: &Chains) -> Result<Vec<PortMapping>, packet_filter::Error> {
    let rules = packet_filter::rules("nat", &chains.ports).await?;
    Ok(rules.iter().filter_map(|rule| saved_port(rule)).collect())
}

fn saved_port(rule: &str) -> Option<PortMapping> {
    let words: Vec<&str> = rule.split(' ').collect();
    let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
    let (pod_ip, pod_port) = after("--to-destination")?.split_once(':')?;
    Some(PortMapping {
        protocol: after("-p")?.to_owned(),
        host_ip: after("-d").and_then(|ip| ip.trim_end_matches("/32").parse().ok()),
        host_port: after("--dport")?.parse().ok()?,
        pod_ip: pod_ip.parse().ok()?,
        pod_port: pod_port.parse().ok()?,
    })
}

fn forwarding(chains: &Chains, pods: Ipv4Net) -> Chain {
    let rules = vec![format!("-s {pods} -j ACCEPT"), format!("-d {pods} -j ACCEPT")];
    Chain { name: chains.forward.clone(), rules }
}

fn masquerading(chains: &Chains, pods: Ipv4Net, services: Ipv4Net) -> Chain {
    let rules = vec![
        format!("-s 127.0.0.0/8 -d {pods} -j MASQUERADE"),
        format!("-d {pods} -j RETURN"),
        format!("-d {services} -j RETURN"),
        "-d 224.0.0.0/4 -j RETURN".to_owned(),
        format!("-s {pods} -j MASQUERADE"),
    ];
    Chain { name: chains.postrouting.clone(), rules }
}

fn leading<'a>(chains: &Chains, ports: impl Iterator<Item = &'a PortMapping>) -> Chain {
    let rule = |port: &PortMapping| {
        let PortMapping { protocol, host_port, pod_ip, pod_port, .. } = port;
        let address = port.host_ip.filter(|ip| !ip.is_unspecified());
        let address = address.map(|ip| format!("-d {ip}/32 ")).unwrap_or_default();
        format!(
            "{address}-p {protocol} -m {protocol} --dport {host_port} \
             -j DNAT --to-destination {pod_ip}:{pod_port}"
        )
    };
    Chain { name: chains.ports.clone(), rules: ports.map(rule).collect() }
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
