//! What policies go by of the API's objects.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use api_machinery::LabelSelector;
use api_types::{
    IntOrString,
    api::{
        core::v1::{Container, Pod as PodObject},
        networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    meta,
};
use ipnet::IpNet;

use super::{
    ranges::{self, Range},
    rules::{At, PortRange, Protocol},
};

/// Labels of an object.
pub type Labels = BTreeMap<String, String>;

/// What there is in the cluster.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    /// All policies.
    pub policies: Vec<Policy>,
    /// All pods that policies concern.
    pub pods: Vec<Pod>,
    /// The labels of the namespaces, by name.
    pub namespaces: BTreeMap<String, Labels>,
    /// Where a server of a host leads to pods: virtual IPs and node ports that an nginx holds, the cluster's DNS.
    pub services: Vec<Service>,
    /// Where servers of any host may lead.
    pub led_to: BTreeSet<(IpAddr, Protocol, u16)>,
    /// The addresses from which servers of other hosts speak to pods.
    pub hosts: BTreeSet<IpAddr>,
    /// The addresses at which other hosts may have node ports.
    pub nodes_elsewhere: BTreeSet<IpAddr>,
}

/// The host that the rules are for.
#[derive(Clone, Debug, Default)]
pub struct Here {
    /// The nodes that are this host.
    pub nodes: BTreeSet<String>,
    /// The networks of their pods.
    pub networks: BTreeSet<IpNet>,
    /// The links that lead to their pods.
    pub links: BTreeSet<String>,
    /// Its own addresses, but for virtual IPs.
    pub addresses: BTreeSet<IpAddr>,
    /// Those of them at which there are node ports.
    pub node_addresses: BTreeSet<IpAddr>,
    /// The addresses at which other hosts look at who comes by its node ports.
    pub doors: BTreeSet<IpAddr>,
    /// The node ports that rules of this host lead on to pods.
    pub door_ports: BTreeSet<(Protocol, u16)>,
}

/// A port of a Service that is not led on by addresses being changed, but by a server of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Where it is.
    pub at: At,
    /// Its protocol.
    pub protocol: Protocol,
    /// Its port.
    pub port: u16,
    /// Where it leads.
    pub endpoints: BTreeSet<(IpAddr, u16)>,
}

/// A pod with an address of its own that runs or is going to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its labels.
    pub labels: Labels,
    /// Its address; one with an address of each family is there twice.
    pub address: IpAddr,
    /// Its node.
    pub node: String,
    /// The numbers of its ports that have names.
    pub ports: BTreeMap<(String, Protocol), u16>,
}

/// A policy, read.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Which pods of the namespace it is for.
    pub selector: LabelSelector,
    /// What they may be sent, if it isolates them for ingress.
    pub ingress: Option<Vec<Rule>>,
    /// What they may send, if it isolates them for egress.
    pub egress: Option<Vec<Rule>>,
}

/// Traffic that a policy allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// With whom; with everybody, if there are none.
    pub peers: Vec<Peer>,
    /// To which ports; to all, if there are none.
    pub ports: Vec<Port>,
}

/// The other end.
#[derive(Clone, Debug, PartialEq)]
pub enum Peer {
    /// Pods.
    Pods {
        /// Of these namespaces; of the policy's, if it doesn't say.
        namespaces: Option<LabelSelector>,
        /// With these labels.
        pods: LabelSelector,
    },
    /// Addresses.
    Block(Vec<Range>),
}

/// Ports of the destination.
#[derive(Clone, Debug, PartialEq)]
pub enum Port {
    /// By number.
    Numbers(PortRange),
    /// By the name that the destination gives one.
    Named(String, Protocol),
}

impl Pod {
    /// Nothing of one that uses its host's network, has no address, or has ended; one that has an address of each family for
    /// each of them.
    pub fn read(pod: &PodObject) -> Vec<Self> {
        let Some(first) = Pod::of(pod) else { return Vec::new() };
        let status = pod.status.as_ref();
        let all = status.and_then(|it| it.pod_ips.as_ref()).into_iter().flatten();
        let others = all.filter_map(|it| it.ip.parse().ok()).filter(|ip| *ip != first.address);
        let others: Vec<IpAddr> = others.collect();
        let at = |address: IpAddr| Pod { address, ..first.clone() };
        [first.address].into_iter().chain(others).map(at).collect()
    }

    fn of(pod: &PodObject) -> Option<Self> {
        let (spec, status) = (pod.spec.as_ref()?, pod.status.as_ref()?);
        if spec.host_network == Some(true)
            || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"))
        {
            return None;
        }
        let sidecars = spec.init_containers.iter().flatten();
        let sidecars = sidecars.filter(|c| c.restart_policy.as_deref() == Some("Always"));
        // The first of a name is meant.
        let ports = sidecars.rev().chain(spec.containers.iter().rev()).flat_map(named_ports);
        Some(Pod {
            namespace: pod.metadata.namespace.clone()?,
            labels: pod.metadata.labels.clone().unwrap_or_default(),
            address: status.pod_ip.as_ref()?.parse().ok()?,
            node: spec.node_name.clone()?,
            ports: ports.collect(),
        })
    }
}

fn named_ports(container: &Container) -> Vec<((String, Protocol), u16)> {
    let ports = container.ports.iter().flatten().rev();
    let named = ports.filter_map(|port| {
        let protocol = Protocol::named(port.protocol.as_deref())?;
        Some(((port.name.clone()?, protocol), port.container_port.try_into().ok()?))
    });
    named.collect()
}

impl Policy {
    /// Nothing of one whose selector can't be read, which the API server takes none of.
    pub fn read(policy: &NetworkPolicy) -> Option<Self> {
        let spec = policy.spec.clone().unwrap_or_default();
        let types = spec.policy_types.unwrap_or_default();
        let has = |type_: &str| types.iter().any(|t| t == type_);
        let ingress =
            spec.ingress.into_iter().flatten().map(|rule| Rule::read(rule.from, rule.ports));
        let egress = spec.egress.into_iter().flatten().map(|rule| Rule::read(rule.to, rule.ports));
        Some(Policy {
            namespace: policy.metadata.namespace.clone()?,
            name: policy.metadata.name.clone()?,
            selector: selector(spec.pod_selector.as_ref())?,
            ingress: has("Ingress").then(|| ingress.flatten().collect()),
            egress: has("Egress").then(|| egress.flatten().collect()),
        })
    }
}

impl Rule {
    /// What can't be read allows nothing; a rule of nothing else is none, as one without peers would allow everybody.
    fn read(
        peers: Option<Vec<NetworkPolicyPeer>>,
        ports: Option<Vec<NetworkPolicyPort>>,
    ) -> Option<Self> {
        let (peers, ports) = (peers.unwrap_or_default(), ports.unwrap_or_default());
        let rule = Rule {
            peers: peers.iter().filter_map(Peer::read).collect(),
            ports: ports.iter().filter_map(Port::read).collect(),
        };
        let is_lost = |given: usize, read: usize| given > 0 && read == 0;
        let lost = is_lost(peers.len(), rule.peers.len()) || is_lost(ports.len(), rule.ports.len());
        (!lost).then_some(rule)
    }
}

impl Peer {
    fn read(peer: &NetworkPolicyPeer) -> Option<Self> {
        if let Some(block) = &peer.ip_block {
            return self::block(block).map(Peer::Block);
        }
        let namespaces = peer.namespace_selector.as_ref();
        Some(Peer::Pods {
            namespaces: match namespaces {
                None => None,
                Some(given) => Some(selector(Some(given))?),
            },
            pods: selector(peer.pod_selector.as_ref())?,
        })
    }
}

impl Port {
    fn read(port: &NetworkPolicyPort) -> Option<Self> {
        let protocol = Protocol::named(port.protocol.as_deref())?;
        let (first, last) = match &port.port {
            None => (0, u16::MAX),
            Some(IntOrString::String(name)) => return Some(Port::Named(name.clone(), protocol)),
            Some(IntOrString::Int(number)) => {
                (u16::try_from(*number).ok()?, port.end_port.unwrap_or(*number).try_into().ok()?)
            }
        };
        Some(Port::Numbers(PortRange { protocol, first, last }))
    }
}

fn selector(selector: Option<&meta::LabelSelector>) -> Option<LabelSelector> {
    LabelSelector::try_from(selector.unwrap_or(&meta::LabelSelector::default())).ok()
}

fn block(block: &IPBlock) -> Option<Vec<Range>> {
    let cidr: IpNet = block.cidr.parse().ok()?;
    let except: Vec<IpNet> =
        block.except.iter().flatten().filter_map(|part| part.parse().ok()).collect();
    Some(ranges::block(cidr.trunc(), &except))
}
