//! The packet filter's rules of the pod network. The chains that several kubelets of one host share are
//! named after the cluster's networks, so that all who share them give them the same content. Traffic is
//! accepted by the pod CIDR, or as what kube-proxy leads on, never by interface, and before Docker's `FORWARD` policy, which is DROP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use component::dual_stack::DualStack;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use packet_filter::{Chain, Family, Jump, Table};
use sha2::{Digest, Sha256};

/// Kubernetes' mark of packets from outside that rules of kube-proxy lead on, perhaps to what is no pod of this host. Only
/// the first of a connection has it.
const LED: &str = "0x4000/0x4000";
/// The mark of CNI's `portmap`, of what pods of the node send to its ports: the answer has to come back by the node, whose
/// address they asked, and not from the other pod over the bridge that both are on; and nobody takes a packet that comes from
/// himself. What a pod sends to another's address, or kube-proxy leads there, has none, and keeps its sender's address.
const FROM_OWN: &str = "0x2000/0x2000";
const UNMARK_FROM_OWN: &str = "0x0/0x2000";

/// A port of the node that leads to a pod's address of one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMapping {
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Only on this address of the node, which is of the same family.
    pub host_ip: Option<IpAddr>,
    /// The node's port; 0 for any that is free.
    pub host_port: u16,
    /// The pod's address.
    pub pod_ip: IpAddr,
    /// The pod's port.
    pub pod_port: u16,
}

impl PortMapping {
    /// Where clients send, of which an unspecified address stands for all.
    pub(super) fn host(&self) -> SocketAddr {
        let everywhere = match self.pod_ip {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        SocketAddr::new(self.host_ip.unwrap_or(everywhere), self.host_port)
    }

    pub(super) fn pod(&self) -> SocketAddr {
        SocketAddr::new(self.pod_ip, self.pod_port)
    }

    /// Whether a rule leads the other as this one asks, whose number and pod's address may not be known.
    fn is_met_by(&self, other: &Self) -> bool {
        self.protocol == other.protocol
            && self.pod_port == other.pod_port
            && (self.host_port == 0 || self.host_port == other.host_port)
            && self.pod_ip.is_ipv4() == other.pod_ip.is_ipv4()
            && (self.pod_ip.is_unspecified() || self.pod_ip == other.pod_ip)
    }

    fn is_of(&self, family: Family) -> bool {
        self.pod_ip.is_ipv4() == (family == Family::Ipv4)
    }
}

/// The names of our chains.
#[derive(Clone, Debug)]
pub(super) struct Chains {
    forward: String,
    postrouting: String,
    ports: String,
    sources: String,
}

impl Chains {
    /// Of a node of the cluster with these networks. They are named after those of IPv4, so that they stay the same where IPv6
    /// comes or goes.
    pub(super) fn of(pods: DualStack, services: DualStack, node: &str) -> Self {
        let cluster = short_hash(&format!("{} {}", pods.v4, services.v4));
        Self::new(&cluster, &short_hash(node))
    }

    /// `cluster` and `node` tell clusters and nodes apart; a name has at most 28 bytes.
    fn new(cluster: &str, node: &str) -> Self {
        Self {
            forward: format!("MINIK8S-FWD-{cluster}"),
            postrouting: format!("MINIK8S-POST-{cluster}"),
            ports: format!("MINIK8S-HP-{node}"),
            sources: format!("MINIK8S-SRC-{node}"),
        }
    }
}

/// Tells nodes and clusters apart in names that have to be short.
pub(super) fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

/// The chains, by table. Those of IPv4 and IPv6 have the same names.
pub(super) fn names(chains: &Chains) -> [(&'static str, Vec<&str>); 2] {
    let Chains { forward, postrouting, ports, sources } = chains;
    [
        ("filter", vec![forward.as_str(), sources.as_str()]),
        ("nat", vec![postrouting.as_str(), ports.as_str()]),
    ]
}

/// The networks of one family.
#[derive(Clone, Copy, Debug)]
pub(super) struct Networks<N> {
    /// Of the node's own pods.
    pub(super) node: N,
    /// Of the cluster's pods.
    pub(super) pods: N,
    /// Of the cluster's services.
    pub(super) services: N,
}

/// All of it, for IPv4.
pub(super) fn tables<'a>(
    chains: &Chains,
    networks: Networks<Ipv4Net>,
    ports: impl Iterator<Item = &'a PortMapping>,
) -> [Table; 2] {
    let Networks { node, pods, services } = networks;
    let ports = from_own(node.into(), leading(Family::Ipv4, ports));
    let nat = nat(chains, masquerading(chains, pods, services), services.into(), ports.collect());
    [filter(chains, pods.into()), nat]
}

/// The same for IPv6. `link` leads to the node's pods.
pub(super) fn tables_v6<'a>(
    chains: &Chains,
    link: &str,
    networks: Networks<Ipv6Net>,
    ports: impl Iterator<Item = &'a PortMapping>,
) -> [Table; 2] {
    let Networks { node, pods, services } = networks;
    // What comes from there may not leave the host.
    let own = ["-d ::1/128 -j RETURN".to_owned()].into_iter();
    let ports = own.chain(from_own(node.into(), leading(Family::Ipv6, ports)));
    let masquerading = masquerading_v6(chains, pods, services);
    let nat = nat(chains, masquerading, services.into(), ports.collect());
    let mut filter = filter(chains, pods.into());
    filter.chains.push(sources(chains, node));
    // After the other, so that it comes before that.
    let link = format!("-i {link}");
    filter.jumps.extend(["FORWARD", "INPUT"].map(|from| jump(from, &link, &chains.sources)));
    [filter, nat]
}

/// What leads host ports to pods, and has answers come back.
fn nat(chains: &Chains, masquerading: Chain, services: IpNet, ports: Vec<String>) -> Table {
    // Host ports do not apply to service addresses, which are local too.
    let local = format!("! -d {services} -m addrtype --dst-type LOCAL");
    Table {
        name: "nat",
        chains: vec![masquerading, Chain { name: chains.ports.clone(), rules: ports }],
        jumps: vec![
            jump("POSTROUTING", "", &chains.postrouting),
            jump("PREROUTING", &local, &chains.ports),
            jump("OUTPUT", &local, &chains.ports),
        ],
    }
}

/// What lets pods through.
pub(super) fn filter(chains: &Chains, pods: IpNet) -> Table {
    Table {
        name: "filter",
        chains: vec![forwarding(chains, pods)],
        jumps: vec![jump("FORWARD", "", &chains.forward)],
    }
}

fn jump(from: &'static str, matches: &str, to: &str) -> Jump {
    Jump { from, matches: matches.to_owned(), to: to.to_owned() }
}

/// The host ports that a kubelet before this one has led to pods' addresses of this family.
pub(super) async fn saved_ports(
    chains: &Chains,
    family: Family,
) -> Result<Vec<PortMapping>, packet_filter::Error> {
    let rules = packet_filter::rules(family, "nat", &chains.ports).await?;
    Ok(rules.iter().filter_map(|rule| saved_port(rule)).collect())
}

/// The ports that should be there, with those of the saved ones between them that may be.
pub(super) fn with_unsettled(
    wanted: Vec<PortMapping>,
    saved: Vec<PortMapping>,
    unsettled: &[PortMapping],
) -> Vec<PortMapping> {
    let is_wanted = |port: &PortMapping| wanted.iter().any(|wanted| wanted.is_met_by(port));
    let may_be = |port: &PortMapping| unsettled.iter().any(|wanted| wanted.is_met_by(port));
    let settled: Vec<_> = saved.iter().filter(|&port| is_wanted(port) || !may_be(port)).collect();
    let agree =
        |family| leading(family, settled.iter().copied()).eq(leading(family, wanted.iter()));
    if agree(Family::Ipv4) && agree(Family::Ipv6) { saved } else { wanted }
}

fn saved_port(rule: &str) -> Option<PortMapping> {
    let words: Vec<&str> = rule.split(' ').collect();
    let after = |flag: &str| words.iter().skip_while(|word| **word != flag).nth(1).copied();
    let pod: SocketAddr = after("--to-destination")?.parse().ok()?;
    let host: Option<IpNet> = after("-d").and_then(|ip| ip.parse().ok());
    Some(PortMapping {
        protocol: after("-p")?.to_owned(),
        host_ip: host.map(|host| host.addr()),
        host_port: after("--dport")?.parse().ok()?,
        pod_ip: pod.ip(),
        pod_port: pod.port(),
    })
}

fn forwarding(chains: &Chains, pods: IpNet) -> Chain {
    let rules = vec![
        format!("-s {pods} -j ACCEPT"),
        format!("-d {pods} -j ACCEPT"),
        format!("-m mark --mark {LED} -j ACCEPT"),
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT".to_owned(),
    ];
    Chain { name: chains.forward.clone(), rules }
}

/// A pod may bind to any address of IPv6 (`IPV6_FREEBIND`), and the kernel asks of no packet whether a reply would go back by
/// its link, as it does for IPv4. Pods that look for others at an address ask from none.
fn sources(chains: &Chains, node: Ipv6Net) -> Chain {
    let rules = vec![
        "-s ::/128 -p ipv6-icmp -j RETURN".to_owned(),
        format!("! -s {} -j DROP", node.trunc()),
    ];
    Chain { name: chains.sources.clone(), rules }
}

fn masquerading(chains: &Chains, pods: Ipv4Net, services: Ipv4Net) -> Chain {
    let rules = vec![
        format!("-s 127.0.0.0/8 -d {pods} -j MASQUERADE"),
        format!("-s {pods} -d {pods} -m mark --mark {FROM_OWN} -j MASQUERADE"),
        format!("-d {pods} -j RETURN"),
        format!("-d {services} -j RETURN"),
        "-d 224.0.0.0/4 -j RETURN".to_owned(),
        format!("-s {pods} -j MASQUERADE"),
    ];
    Chain { name: chains.postrouting.clone(), rules }
}

fn masquerading_v6(chains: &Chains, pods: Ipv6Net, services: Ipv6Net) -> Chain {
    let rules = vec![
        format!("-s {pods} -d {pods} -m mark --mark {FROM_OWN} -j MASQUERADE"),
        format!("-d {pods} -j RETURN"),
        format!("-d {services} -j RETURN"),
        "-d ff00::/8 -j RETURN".to_owned(),
        format!("-s {pods} -j MASQUERADE"),
    ];
    Chain { name: chains.postrouting.clone(), rules }
}

fn rule(port: &PortMapping) -> String {
    let PortMapping { protocol, host_port, .. } = port;
    let address = port.host_ip.filter(|ip| !ip.is_unspecified());
    let address = address.map(|ip| format!("-d {} ", IpNet::from(ip))).unwrap_or_default();
    let pod = port.pod();
    format!(
        "{address}-p {protocol} -m {protocol} --dport {host_port} -j DNAT --to-destination {pod}"
    )
}

/// What no rule leads to a pod loses the mark: others may lead it there.
fn from_own(node: IpNet, leading: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mark = format!("-s {} -j MARK --set-xmark {FROM_OWN}", node.trunc());
    let unmark = format!("-j MARK --set-xmark {UNMARK_FROM_OWN}");
    [mark].into_iter().chain(leading).chain([unmark])
}

fn leading<'a>(
    family: Family,
    ports: impl Iterator<Item = &'a PortMapping>,
) -> impl Iterator<Item = String> {
    ports.filter(move |port| port.is_of(family)).map(rule)
}

#[cfg(test)]
#[path = "rules_tests.rs"]
mod tests;
