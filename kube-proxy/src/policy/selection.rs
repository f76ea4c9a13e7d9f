//! Whom the rules of a policy mean.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    facts::{Cluster, Peer, Pod, Port, Rule},
    ranges,
    rules::{Allow, Peers, PortRange, Ports, Protocol},
};

/// The sets of pods, by name.
pub(super) type Sets = BTreeMap<String, BTreeSet<IpAddr>>;

/// A rule whose peers are known. What its named ports are is a matter of the destination.
#[derive(Debug)]
pub(super) struct Selected {
    name: String,
    peers: Peers,
    numbers: Option<Vec<PortRange>>,
    named: Vec<(String, Protocol)>,
}

impl Selected {
    /// `name` is the rule's, among all of the cluster.
    pub(super) fn new(
        name: String,
        namespace: &str,
        rule: &Rule,
        cluster: &Cluster,
        sets: &mut Sets,
    ) -> Self {
        let peers = peers(&name, namespace, &rule.peers, cluster, sets);
        let (mut numbers, mut named) = (Vec::new(), Vec::new());
        for port in &rule.ports {
            match port {
                Port::Numbers(range) => numbers.push(*range),
                Port::Named(name, protocol) => named.push((name.clone(), *protocol)),
            }
        }
        let numbers = (!rule.ports.is_empty()).then_some(numbers);
        Selected { name, peers, numbers, named }
    }

    /// What it allows a pod to be sent.
    pub(super) fn to(&self, pod: &Pod) -> Option<Allow> {
        let Some(numbers) = &self.numbers else { return Some(self.allow(Ports::All)) };
        let named = self.named.iter().filter_map(|named| {
            let port = *pod.ports.get(named)?;
            Some(PortRange { protocol: named.1, first: port, last: port })
        });
        let ranges: Vec<_> = numbers.iter().copied().chain(named).collect();
        (!ranges.is_empty()).then(|| self.allow(Ports::of(ranges)))
    }

    /// What it allows its pods to send: a named port has a set of pods for each number that it is.
    pub(super) fn from(&self, cluster: &Cluster, sets: &mut Sets) -> Vec<Allow> {
        let Some(numbers) = &self.numbers else { return vec![self.allow(Ports::All)] };
        let plain = (!numbers.is_empty()).then(|| self.allow(Ports::of(numbers.clone())));
        let mut allows: Vec<_> = plain.into_iter().collect();
        let mut by_number: BTreeMap<(Protocol, u16), BTreeSet<IpAddr>> = BTreeMap::new();
        for named in &self.named {
            for pod in cluster.pods.iter().filter(|pod| self.has(pod.address, sets)) {
                if let Some(port) = pod.ports.get(named) {
                    by_number.entry((named.1, *port)).or_default().insert(pod.address);
                }
            }
        }
        for ((protocol, port), pods) in by_number {
            let set = format!("{}/{protocol}/{port}", self.name);
            sets.insert(set.clone(), pods);
            let ports = vec![PortRange { protocol, first: port, last: port }];
            let peers = Peers::Some { set: Some(set), blocks: Vec::new() };
            allows.push(Allow { peers, ports: Ports::of(ports) });
        }
        allows
    }

    fn allow(&self, ports: Ports) -> Allow {
        Allow { peers: self.peers.clone(), ports }
    }

    fn has(&self, pod: IpAddr, sets: &Sets) -> bool {
        let Peers::Some { set, blocks } = &self.peers else { return true };
        let set = set.as_ref().and_then(|name| sets.get(name));
        set.is_some_and(|set| set.contains(&pod)) || blocks.iter().any(|b| b.contains(pod))
    }
}

fn peers(name: &str, namespace: &str, peers: &[Peer], cluster: &Cluster, sets: &mut Sets) -> Peers {
    if peers.is_empty() {
        return Peers::All;
    }
    let blocks = peers.iter().flat_map(|peer| match peer {
        Peer::Block(ranges) => ranges.as_slice(),
        Peer::Pods { .. } => &[],
    });
    let blocks = ranges::union(blocks.copied().collect());
    let selects = peers.iter().any(|peer| matches!(peer, Peer::Pods { .. }));
    let set = selects.then(|| name.to_owned());
    if let Some(set) = &set {
        let selected = cluster.pods.iter().filter(|pod| {
            peers.iter().any(|peer| is_selected(pod, peer, namespace, &cluster.namespaces))
        });
        sets.insert(set.clone(), selected.map(|pod| pod.address).collect());
    }
    Peers::Some { set, blocks }
}

fn is_selected(
    pod: &Pod,
    peer: &Peer,
    namespace: &str,
    namespaces: &BTreeMap<String, BTreeMap<String, String>>,
) -> bool {
    let Peer::Pods { namespaces: selector, pods } = peer else { return false };
    let in_namespace = match selector {
        None => pod.namespace == namespace,
        Some(selector) => {
            namespaces.get(&pod.namespace).is_some_and(|labels| selector.matches(labels))
        }
    };
    in_namespace && pods.matches(&pod.labels)
}
