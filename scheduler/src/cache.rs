//! What the scheduler knows of the cluster: nodes and pods as last seen, plus what it has decided but
//! not yet seen come back (*assumed* pods), so that a burst is spread over the nodes as it will be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api_types::api::core::v1::{Node, Pod};

use crate::pod::{PodInfo, PodKey, Uid, is_finished, node_of, wants_a_node};
use crate::snapshot::{NodeInfo, NodeName, Share, Shares, Snapshot};

/// The cluster as the scheduler knows it.
#[derive(Debug, Default)]
pub struct Cache {
    snapshot: Snapshot,
    /// The pods of nodes that are not known, or not any more.
    homeless: HashMap<NodeName, Shares>,
    placed: HashMap<Uid, Placed>,
    pending: HashMap<Uid, PodInfo>,
    /// Which of the placed and pending pods has a name now.
    names: HashMap<PodKey, Uid>,
}

#[derive(Debug)]
struct Placed {
    name: PodKey,
    node: NodeName,
    assumed: bool,
}

/// What a change means for waiting pods.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The pod wants a node, and is new or has changed.
    pub wants: bool,
    /// A pod that fitted nowhere might fit now.
    pub may_help: bool,
}

impl Effect {
    fn may_help(may_help: bool) -> Self {
        Self { may_help, ..Self::default() }
    }
}

impl Cache {
    /// The nodes with everything placed on them, assumed pods included.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A pod that still wants a node.
    pub fn pending(&self, pod: &Uid) -> Option<&PodInfo> {
        self.pending.get(pod)
    }

    /// Whether it is for us to say where the pod goes: it wants a node, or its binding is under way.
    pub fn is_undecided(&self, pod: &Uid) -> bool {
        self.pending.contains_key(pod) || self.placed.get(pod).is_some_and(|placed| placed.assumed)
    }

    /// Every pod the cache holds.
    pub fn pods(&self) -> BTreeSet<Uid> {
        self.pending.keys().chain(self.placed.keys()).cloned().collect()
    }

    /// The pod that had the name of this one until now.
    pub fn predecessor(&self, pod: &Pod) -> Option<&Uid> {
        let holder = self.names.get(&PodKey::of(pod))?;
        (*holder != Uid::of(pod)).then_some(holder)
    }

    /// Takes in a new or changed node.
    pub fn node_applied(&mut self, node: Node) -> Effect {
        let (name, node) = (NodeName::of(&node), Arc::new(node));
        if let Some(known) = self.snapshot.nodes.get_mut(&name) {
            let effect = Effect::may_help(matters(&known.node, &node));
            known.update(node);
            return effect;
        }
        let pods = self.homeless.remove(&name).unwrap_or_default();
        self.snapshot.nodes.insert(name, NodeInfo::with_pods(node, pods));
        Effect::may_help(true)
    }

    /// Forgets a node. Its pods are counted again if it comes back.
    pub fn node_deleted(&mut self, name: &NodeName) {
        let pods = self.snapshot.nodes.remove(name).map(NodeInfo::into_pods).unwrap_or_default();
        if !pods.is_empty() {
            self.homeless.insert(name.clone(), pods);
        }
    }

    /// Takes in a new or changed pod. Its predecessor is to be forgotten before.
    pub fn pod_applied(&mut self, pod: Pod) -> Effect {
        let uid = Uid::of(&pod);
        match node_of(&pod) {
            Some(_) if is_finished(&pod) => self.pod_deleted(&uid),
            Some(node) if self.is_bound_to(&uid, node) => Effect::default(),
            Some(node) => self.pod_bound(&uid, NodeName(node.to_owned()), pod),
            None => self.pod_unbound(&uid, pod),
        }
    }

    /// Forgets a pod, which may leave room for another.
    pub fn pod_deleted(&mut self, pod: &Uid) -> Effect {
        let waited = self.pending.remove(pod);
        let placed = self.displace(pod);
        let may_help = placed.is_some();
        let name = waited.map(|pod| pod.key()).or(placed.map(|placed| placed.name));
        if let Some(name) = name.filter(|name| self.names.get(name) == Some(pod)) {
            self.names.remove(&name);
        }
        Effect::may_help(may_help)
    }

    /// Counts the pod in on its node before the API server has confirmed it.
    pub fn assume(&mut self, pod: &PodInfo, node: &NodeName) {
        self.pending.remove(&pod.uid);
        self.place(pod, node.clone(), true);
    }

    /// Takes an assumption back: the binding failed. Whether the pod wants a node again; it does not if it
    /// has gone meanwhile, or has a node after all.
    pub fn forget(&mut self, pod: &PodInfo) -> bool {
        let assumed = self.placed.get(&pod.uid).is_some_and(|placed| placed.assumed);
        if assumed {
            self.displace(&pod.uid);
            self.pending.insert(pod.uid.clone(), pod.clone());
        }
        assumed
    }

    fn is_bound_to(&self, pod: &Uid, node: &str) -> bool {
        self.placed.get(pod).is_some_and(|placed| placed.node.0 == node && !placed.assumed)
    }

    /// The room that was assumed elsewhere is free again.
    fn pod_bound(&mut self, uid: &Uid, node: NodeName, pod: Pod) -> Effect {
        self.pending.remove(uid);
        let moved = self.placed.get(uid).is_some_and(|placed| placed.node != node);
        self.displace(uid);
        self.place(&PodInfo::new(Arc::new(pod)), node, false);
        Effect::may_help(moved)
    }

    /// An old sighting of a pod that we have just bound changes nothing. One whose binding was seen has lost
    /// it: the store was restored from a backup.
    fn pod_unbound(&mut self, uid: &Uid, pod: Pod) -> Effect {
        let wants = wants_a_node(&pod);
        if wants && self.placed.get(uid).is_some_and(|placed| placed.assumed) {
            return Effect::default();
        }
        if !wants {
            return self.pod_deleted(uid);
        }
        let may_help = self.displace(uid).is_some();
        let known = self.pending.get(uid);
        let wants = known.is_none_or(|known| known.pod.spec != pod.spec);
        self.names.insert(PodKey::of(&pod), uid.clone());
        self.pending.insert(uid.clone(), PodInfo::new(Arc::new(pod)));
        Effect { wants, may_help }
    }

    fn place(&mut self, pod: &PodInfo, node: NodeName, assumed: bool) {
        let (uid, share) = (pod.uid.clone(), Share::from(pod));
        match self.snapshot.nodes.get_mut(&node) {
            Some(info) => info.place(uid, share),
            None => drop(self.homeless.entry(node.clone()).or_default().insert(uid, share)),
        }
        self.names.insert(pod.key(), pod.uid.clone());
        self.placed.insert(pod.uid.clone(), Placed { name: pod.key(), node, assumed });
    }

    fn displace(&mut self, pod: &Uid) -> Option<Placed> {
        let placed = self.placed.remove(pod)?;
        match self.snapshot.nodes.get_mut(&placed.node) {
            Some(info) => info.remove(pod),
            None => self.evacuate(&placed.node, pod),
        }
        Some(placed)
    }

    fn evacuate(&mut self, node: &NodeName, pod: &Uid) {
        let Some(pods) = self.homeless.get_mut(node) else { return };
        pods.remove(pod);
        if pods.is_empty() {
            self.homeless.remove(node);
        }
    }
}

/// Whether a change of a node can matter to a pod that fitted nowhere. Most changes are heartbeats.
fn matters(old: &Node, new: &Node) -> bool {
    let readiness = |node: &Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let states = conditions
            .into_iter()
            .map(|condition| (condition.type_.clone(), condition.status.clone()));
        states.collect::<Vec<_>>()
    };
    let room = |node: &Node| {
        node.status.as_ref().map(|status| (status.allocatable.clone(), status.capacity.clone()))
    };
    let open =
        |node: &Node| node.spec.as_ref().map(|spec| (spec.taints.clone(), spec.unschedulable));
    old.metadata.labels != new.metadata.labels
        || open(old) != open(new)
        || room(old) != room(new)
        || readiness(old) != readiness(new)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(name: &str, uid: &str, node: Value, status: Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"namespace": "default", "name": name, "uid": uid},
            "spec": {"nodeName": node, "containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]},
            "status": status,
        })).unwrap()
    }

    fn node(status: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "status": status})).unwrap()
    }

    fn n1() -> NodeName {
        NodeName("n1".to_owned())
    }

    fn requested(cache: &Cache) -> i64 {
        cache.snapshot().nodes[&n1()].requested.get("cpu")
    }

    const WANTS: Effect = Effect { wants: true, may_help: false };
    const HELPS: Effect = Effect { wants: false, may_help: true };
    const NOTHING: Effect = Effect { wants: false, may_help: false };

    #[test]
    fn an_assumed_pod_counts_until_its_binding_fails_or_comes_back() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        assert_eq!(cache.pod_applied(unbound.clone()), WANTS);
        let info = PodInfo::new(Arc::new(unbound.clone()));
        cache.assume(&info, &n1());
        assert_eq!((requested(&cache), cache.pending(&info.uid).is_some()), (1000, false));
        assert_eq!(cache.pod_applied(unbound), NOTHING, "an old sighting");
        assert_eq!((requested(&cache), cache.is_undecided(&info.uid)), (1000, true));
        assert!(cache.forget(&info));
        assert_eq!((requested(&cache), cache.pending(&info.uid).is_some()), (0, true));
        cache.assume(&info, &n1());
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        assert!(!cache.forget(&info));
        assert_eq!(requested(&cache), 1000, "what is confirmed is not forgotten");
        assert!(!cache.is_undecided(&info.uid));
    }

    #[test]
    fn a_pod_that_ends_or_goes_leaves_room() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        cache.pod_applied(pod("p", "1", json!("n1"), json!({"phase": "Running"})));
        let finished = pod("p", "1", json!("n1"), json!({"phase": "Succeeded"}));
        assert_eq!(cache.pod_applied(finished), HELPS);
        cache.pod_applied(pod("q", "2", json!("n1"), json!({})));
        assert_eq!(cache.pod_deleted(&Uid::from("2")), HELPS);
        assert_eq!(requested(&cache), 0);
    }

    #[test]
    fn a_pod_that_somebody_bound_elsewhere_leaves_the_room_that_was_assumed() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        cache.pod_applied(unbound.clone());
        cache.assume(&PodInfo::new(Arc::new(unbound)), &n1());
        assert_eq!(cache.pod_applied(pod("p", "1", json!("n2"), json!({}))), HELPS);
        assert_eq!(requested(&cache), 0);
    }

    #[test]
    fn the_pods_of_an_unknown_node_are_counted_when_it_appears() {
        let mut cache = Cache::default();
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        cache.pod_applied(pod("q", "2", json!("n1"), json!({})));
        cache.pod_deleted(&Uid::from("2"));
        assert_eq!(cache.node_applied(node(json!({}))), HELPS);
        assert_eq!(requested(&cache), 1000);
        cache.node_deleted(&n1());
        assert_eq!(cache.node_applied(node(json!({}))), HELPS);
        assert_eq!(requested(&cache), 1000, "they are still there");
    }

    #[test]
    fn a_heartbeat_of_a_node_helps_nobody() {
        let with = |ready: &str, time: &str| {
            node(
                json!({"conditions": [{"type": "Ready", "status": ready, "lastHeartbeatTime": time}]}),
            )
        };
        let mut cache = Cache::default();
        cache.node_applied(with("True", "2026-01-01T00:00:00Z"));
        assert_eq!(cache.node_applied(with("True", "2026-01-01T00:00:10Z")), NOTHING);
        assert_eq!(cache.node_applied(with("False", "2026-01-01T00:00:20Z")), HELPS);
    }

    #[test]
    fn a_name_is_its_latest_holders() {
        let mut cache = Cache::default();
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        let second = pod("p", "2", json!(null), json!({}));
        assert_eq!(cache.predecessor(&second), Some(&Uid::from("1")));
        assert_eq!(cache.pod_applied(second.clone()), WANTS);
        cache.pod_deleted(&Uid::from("1"));
        assert_eq!(cache.predecessor(&second), None);
        assert_eq!(
            cache.predecessor(&pod("p", "3", json!(null), json!({}))),
            Some(&Uid::from("2"))
        );
    }
}
