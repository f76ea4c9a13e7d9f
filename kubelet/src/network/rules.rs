//! The packet filter's rules of the pod network, and what to change to have them. Pure: from the text
//! of `iptables-save` to that of `iptables-restore --noflush`.
//!
//! Everything of ours is in chains of ours; the built-in chains only jump there. The chains that several
//! kubelets of one host share are named after the cluster's networks, so that all who share them give
//! them the same content. Traffic is accepted by the pod CIDR, never by interface, and before Docker's
//! `FORWARD` policy, which is DROP.
//!
//! Rules are written as `iptables-save` shows them, so that what is there can be compared.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// A port of the node that leads to a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Only on this address of the node.
    pub host_ip: Option<Ipv4Addr>,
    /// The node's port.
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

/// One of our chains and its rules, without `-A` and the chain's name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Chain {
    name: String,
    rules: Vec<String>,
}

/// A rule in front of a built-in chain that leads to one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Jump {
    from: &'static str,
    rule: String,
    to: String,
}

/// What a table should have of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Table {
    name: &'static str,
    chains: Vec<Chain>,
    jumps: Vec<Jump>,
}

/// All of it.
pub(super) fn tables<'a>(
    chains: &Chains,
    pods: Ipv4Net,
    services: Ipv4Net,
    ports: impl Iterator<Item = &'a HostPort>,
) -> [Table; 2] {
    let jump = |from, matches: &str, to: &str| Jump {
        from,
        rule: format!("{matches}-j {to}"),
        to: to.to_owned(),
    };
    // Host ports do not apply to service addresses, which are local too.
    let local = format!("! -d {services} -m addrtype --dst-type LOCAL ");
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
pub(super) fn saved_ports(chains: &Chains, saved: &str) -> Vec<HostPort> {
    let start = format!("-A {} ", chains.ports);
    let rules = section(saved, "nat").into_iter().filter_map(|line| line.strip_prefix(&*start));
    rules.filter_map(saved_port).collect()
}

fn saved_port(rule: &str) -> Option<HostPort> {
    let words: Vec<&str> = rule.split(' ').collect();
    let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
    let (pod_ip, pod_port) = after("--to-destination")?.split_once(':')?;
    Some(HostPort {
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

fn leading<'a>(chains: &Chains, ports: impl Iterator<Item = &'a HostPort>) -> Chain {
    let rule = |port: &HostPort| {
        let HostPort { protocol, host_port, pod_ip, pod_port, .. } = port;
        let address = port.host_ip.filter(|ip| !ip.is_unspecified());
        let address = address.map(|ip| format!("-d {ip}/32 ")).unwrap_or_default();
        format!(
            "{address}-p {protocol} -m {protocol} --dport {host_port} \
             -j DNAT --to-destination {pod_ip}:{pod_port}"
        )
    };
    Chain { name: chains.ports.clone(), rules: ports.map(rule).collect() }
}

/// The text that makes the tables what they should be; `None` if they are.
pub(super) fn repair(wanted: &[Table], saved: &str) -> Option<String> {
    let parts: Vec<String> = wanted
        .iter()
        .filter_map(|table| repair_table(table, &section(saved, table.name)))
        .collect();
    (!parts.is_empty()).then(|| parts.concat())
}

/// The lines of one table.
fn section<'a>(saved: &'a str, table: &str) -> Vec<&'a str> {
    let head = format!("*{table}");
    let lines = saved.lines().skip_while(|line| **line != *head);
    lines.take_while(|line| *line != "COMMIT").collect()
}

fn repair_table(wanted: &Table, saved: &[&str]) -> Option<String> {
    let changes: Vec<String> =
        wanted.jumps.iter().flat_map(|jump| repair_jump(jump, saved)).collect();
    if changes.is_empty() && wanted.chains.iter().all(|chain| is_there(chain, saved)) {
        return None;
    }
    let mut text = format!("*{}\n", wanted.name);
    // Declaring a chain empties it.
    for chain in &wanted.chains {
        text.push_str(&format!(":{} - [0:0]\n", chain.name));
    }
    for Chain { name, rules } in &wanted.chains {
        text.extend(rules.iter().map(|rule| format!("-A {name} {rule}\n")));
    }
    text.extend(changes);
    Some(text + "COMMIT\n")
}

fn is_there(chain: &Chain, saved: &[&str]) -> bool {
    let (declared, start) = (format!(":{} ", chain.name), format!("-A {} ", chain.name));
    let rules = saved.iter().filter_map(|line| line.strip_prefix(&*start));
    saved.iter().any(|line| line.starts_with(&declared)) && rules.eq(chain.rules.iter())
}

/// One jump, not none and not two, and as it should be.
fn repair_jump(jump: &Jump, saved: &[&str]) -> Vec<String> {
    let (start, end) = (format!("-A {} ", jump.from), format!("-j {}", jump.to));
    let from_here = saved.iter().filter_map(|line| line.strip_prefix(&*start));
    let found: Vec<&str> = from_here.filter(|rule| rule.ends_with(&end)).collect();
    if found == [jump.rule.as_str()] {
        return Vec::new();
    }
    let old = found.iter().map(|rule| format!("-D {} {rule}\n", jump.from));
    let new = format!("-I {} 1 {}\n", jump.from, jump.rule);
    old.chain(std::iter::once(new)).collect()
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
