//! One node and what its pods take from it.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use api_types::api::core::v1::Node;

use super::load::Load;
use super::zone::{self, Zone};
use crate::changes::Changes;
use crate::pod::{HostPort, PodInfo, Uid};
use crate::resources::Resources;
use crate::taints::Taints;

/// The name of a node. Cloning one allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// The name of a node that came from the API server.
    pub fn of(node: &Node) -> Self {
        Self::from(node.metadata.name.as_deref().unwrap_or_default())
    }

    /// The name itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for NodeName {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a placed pod takes from its node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// The resources it asked for.
    pub requests: Resources,
    /// What it may be expected to take.
    pub expected: Resources,
    /// The host's ports it has.
    pub host_ports: Vec<HostPort>,
    /// Whose pod it is.
    pub controller: Option<Uid>,
    /// The claims that it uses, each as `namespace/name`.
    pub claims: Vec<String>,
}

impl From<&PodInfo> for Share {
    fn from(pod: &PodInfo) -> Self {
        Self {
            requests: pod.requests.clone(),
            expected: pod.expected.clone(),
            host_ports: pod.host_ports.clone(),
            controller: pod.controller.clone(),
            claims: pod.claims().map(|name| pod.claim_key(name)).collect(),
        }
    }
}

impl Share {
    /// What others may have when this has become that, or nothing.
    pub fn freed(&self, now: Option<&Self>) -> Changes {
        let port_is_free = |port| now.is_none_or(|now| !now.host_ports.contains(port));
        let mut changes = Changes::empty();
        let is_less = now.is_none_or(|now| self.requests.exceeds(&now.requests));
        changes.set(Changes::RESOURCES, is_less);
        changes.set(Changes::PORTS, self.host_ports.iter().any(port_is_free));
        changes
    }
}

/// The pods placed on a node.
pub type Shares = HashMap<Uid, Share>;

/// A node and what its pods take from it. What the plugins ask about it is worked out once per version.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    /// Its name.
    pub name: NodeName,
    /// The node itself.
    pub node: Arc<Node>,
    /// What pods may take in total.
    pub allocatable: Resources,
    /// What the placed pods take.
    pub requested: Resources,
    /// What they may be expected to take.
    pub expected: Resources,
    /// Its taints.
    pub taints: Taints,
    /// How busy it is.
    pub load: Load,
    /// When a pod was last assigned to it, as the number of that assignment; 0 for never.
    pub turn: u64,
    /// Where it is, if its labels say so.
    pub(crate) zone: Option<Zone>,
    shares: Shares,
    host_ports: Vec<(Uid, HostPort)>,
    claims: Vec<(Uid, String)>,
    /// How many of the pods each controller has.
    controllers: HashMap<Uid, u32>,
}

impl NodeInfo {
    /// A node with the pods that were placed on it before it was known.
    pub fn new(node: Arc<Node>, pods: Shares) -> Self {
        let mut info = Self {
            name: NodeName::of(&node),
            allocatable: allocatable(&node),
            taints: Taints::of(&node),
            zone: zone::named(labels(&node)),
            node,
            requested: Resources::default(),
            expected: Resources::default(),
            load: Load::default(),
            turn: 0,
            shares: Shares::with_capacity(pods.len()),
            host_ports: Vec::new(),
            claims: Vec::new(),
            controllers: HashMap::new(),
        };
        pods.into_iter().for_each(|(pod, share)| info.place(pod, share));
        info
    }

    /// The pods, now that the node is gone.
    pub fn into_pods(self) -> Shares {
        self.shares
    }

    /// Takes over a newer version of the node; its pods stay. What has changed.
    pub(super) fn update(&mut self, node: Arc<Node>) -> Changes {
        let (allocatable, taints) = (allocatable(&node), Taints::of(&node));
        let old = std::mem::replace(&mut self.node, node);
        let mut changes = Changes::empty();
        changes.set(Changes::LABELS, old.metadata.labels != self.node.metadata.labels);
        changes.set(Changes::CORDON, is_cordoned(&old) != self.is_cordoned());
        changes.set(Changes::ALLOCATABLE, self.allocatable != allocatable);
        changes.set(Changes::TAINTS, self.taints.repelling != taints.repelling);
        (self.allocatable, self.taints) = (allocatable, taints);
        self.zone = zone::named(self.labels());
        changes
    }

    /// Counts a pod in. Placing it twice replaces the first.
    pub fn place(&mut self, pod: Uid, share: Share) {
        self.remove(&pod);
        self.requested.add(&share.requests);
        self.expected.add(&share.expected);
        if let Some(controller) = &share.controller {
            *self.controllers.entry(controller.clone()).or_default() += 1;
        }
        let ports = share.host_ports.iter().map(|port| (pod.clone(), port.clone()));
        self.host_ports.extend(ports);
        let claims = share.claims.iter().map(|claim| (pod.clone(), claim.clone()));
        self.claims.extend(claims);
        self.shares.insert(pod, share);
    }

    /// Counts a pod out; what it had.
    pub fn remove(&mut self, pod: &Uid) -> Option<Share> {
        let share = self.shares.remove(pod)?;
        self.requested.subtract(&share.requests);
        self.expected.subtract(&share.expected);
        if let Some(Entry::Occupied(mut pods)) =
            share.controller.clone().map(|controller| self.controllers.entry(controller))
        {
            *pods.get_mut() -= 1;
            if *pods.get() == 0 {
                pods.remove();
            }
        }
        if !share.host_ports.is_empty() {
            self.host_ports.retain(|(holder, _)| holder != pod);
        }
        if !share.claims.is_empty() {
            self.claims.retain(|(user, _)| user != pod);
        }
        Some(share)
    }

    /// How many pods are placed here.
    pub fn pods(&self) -> usize {
        self.shares.len()
    }

    /// How many of them a controller has.
    pub fn pods_of(&self, controller: &Uid) -> u32 {
        self.controllers.get(controller).copied().unwrap_or_default()
    }

    /// How many of them each controller has.
    pub(super) fn controllers(&self) -> impl Iterator<Item = (&Uid, u32)> {
        self.controllers.iter().map(|(controller, pods)| (controller, *pods))
    }

    /// What each of them takes.
    pub fn shares(&self) -> &Shares {
        &self.shares
    }

    /// The host's ports that are taken.
    pub fn host_ports(&self) -> impl Iterator<Item = &HostPort> {
        self.host_ports.iter().map(|(_, port)| port)
    }

    /// Whether one of the pods uses the claim of this namespace and name.
    pub(crate) fn uses_claim(&self, claim: &str) -> bool {
        self.claims.iter().any(|(_, used)| used == claim)
    }

    /// The node's labels.
    pub fn labels(&self) -> &BTreeMap<String, String> {
        labels(&self.node)
    }

    /// Whether somebody has closed it to new pods.
    pub fn is_cordoned(&self) -> bool {
        is_cordoned(&self.node)
    }
}

fn labels(node: &Node) -> &BTreeMap<String, String> {
    static NONE: BTreeMap<String, String> = BTreeMap::new();
    node.metadata.labels.as_ref().unwrap_or(&NONE)
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default()
}

fn allocatable(node: &Node) -> Resources {
    let status = node.status.as_ref();
    let given = status.and_then(|status| status.allocatable.as_ref().or(status.capacity.as_ref()));
    Resources::read(given)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_placed_is_counted_once_and_given_back() {
        let node = serde_json::from_value(json!({"metadata": {"name": "n1"}})).unwrap();
        let pod = serde_json::from_value(json!({"spec": {"containers": [
            {"name": "c", "resources": {"requests": {"cpu": "1"}}, "ports": [{"containerPort": 80, "hostPort": 80}]}
        ]}}));
        let pod = PodInfo::new(Arc::new(pod.unwrap()));
        let mut info = NodeInfo::new(Arc::new(node), Shares::new());
        info.place(pod.uid.clone(), Share::from(&pod));
        info.place(pod.uid.clone(), Share::from(&pod));
        assert_eq!(
            (info.pods(), info.requested.get("cpu"), info.host_ports().count()),
            (1, 1000, 1)
        );
        info.remove(&pod.uid);
        assert_eq!((info.pods(), info.requested.get("cpu"), info.host_ports().count()), (0, 0, 0));
    }
}
