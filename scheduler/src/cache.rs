//! What the scheduler knows of the cluster: nodes and pods as last seen, plus what it has decided but
//! not yet seen come back (*assumed* pods), so that a burst is spread over the nodes as it will be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api_types::api::core::v1::{Node, Pod};

use crate::pod::{PodInfo, PodKey, is_finished, node_of, wants_a_node};
use crate::snapshot::{NodeInfo, NodeName, Share, Snapshot};

/// The cluster as the scheduler knows it.
#[derive(Debug, Default)]
pub struct Cache {
    snapshot: Snapshot,
    placed: HashMap<PodKey, Placed>,
    pending: HashMap<PodKey, Arc<Pod>>,
}

#[derive(Debug)]
struct Placed {
    uid: Option<String>,
    node: NodeName,
    share: Share,
    assumed: bool,
}

/// What a change means for waiting pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The pod wants a node.
    Wants,
    /// A pod that fitted nowhere might fit now.
    MayHelp,
    /// Nothing.
    None,
}

impl Cache {
    /// The nodes with everything placed on them, assumed pods included.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A pod that still wants a node.
    pub fn pending(&self, key: &PodKey) -> Option<&Arc<Pod>> {
        self.pending.get(key)
    }

    /// Every pod the cache holds.
    pub fn pods(&self) -> BTreeSet<PodKey> {
        self.pending.keys().chain(self.placed.keys()).cloned().collect()
    }

    /// Takes in a new or changed node.
    pub fn node_applied(&mut self, node: Node) -> Effect {
        let node = Arc::new(node);
        let name = NodeName(node.metadata.name.clone().unwrap_or_default());
        if let Some(known) = self.snapshot.nodes.get_mut(&name) {
            let helps = matters(&known.node, &node);
            known.update(node);
            return if helps { Effect::MayHelp } else { Effect::None };
        }
        let mut info = NodeInfo::new(node);
        let here = self.placed.iter().filter(|(_, placed)| placed.node == name);
        here.for_each(|(pod, placed)| info.place(pod.clone(), placed.share.clone()));
        self.snapshot.nodes.insert(name, info);
        Effect::MayHelp
    }

    /// Forgets a node.
    pub fn node_deleted(&mut self, name: &NodeName) {
        self.snapshot.nodes.remove(name);
    }

    /// Takes in a new or changed pod.
    pub fn pod_applied(&mut self, pod: Pod) -> Effect {
        let key = PodKey::of(&pod);
        let pod = Arc::new(pod);
        match node_of(&pod) {
            Some(_) if is_finished(&pod) => self.pod_deleted(&key),
            Some(node) => self.pod_bound(&key, NodeName(node.to_owned()), &pod),
            None => self.pod_unbound(&key, pod),
        }
    }

    /// Forgets a pod, which may leave room for another.
    pub fn pod_deleted(&mut self, key: &PodKey) -> Effect {
        self.pending.remove(key);
        if self.displace(key) { Effect::MayHelp } else { Effect::None }
    }

    /// Counts the pod in on its node before the API server has confirmed it.
    pub fn assume(&mut self, pod: &PodInfo, node: &NodeName) {
        let key = pod.key();
        self.pending.remove(&key);
        self.place(&key, node.clone(), pod, true);
    }

    /// Takes an assumption back: the binding failed, the pod wants a node again.
    pub fn forget(&mut self, pod: &PodInfo) {
        let key = pod.key();
        let ours = |placed: &Placed| placed.assumed && placed.uid == pod.pod.metadata.uid;
        if self.placed.get(&key).is_some_and(ours) {
            self.displace(&key);
            self.pending.insert(key, pod.pod.clone());
        }
    }

    fn pod_bound(&mut self, key: &PodKey, node: NodeName, pod: &Arc<Pod>) -> Effect {
        self.pending.remove(key);
        let known = self.placed.get(key).is_some_and(|placed| {
            placed.node == node && placed.uid == pod.metadata.uid && !placed.assumed
        });
        if !known {
            self.displace(key);
            self.place(key, node, &PodInfo::new(pod.clone()), false);
        }
        Effect::None
    }

    /// An old sighting of a pod that we have just bound changes nothing; a new pod of the same name
    /// ends the old one.
    fn pod_unbound(&mut self, key: &PodKey, pod: Arc<Pod>) -> Effect {
        let wants = wants_a_node(&pod);
        if let Some(placed) = self.placed.get(key) {
            if placed.uid == pod.metadata.uid && wants {
                return Effect::None;
            }
            self.displace(key);
        }
        if !wants {
            self.pending.remove(key);
            return Effect::None;
        }
        let unchanged = self
            .pending
            .get(key)
            .is_some_and(|known| known.spec == pod.spec && known.metadata.uid == pod.metadata.uid);
        self.pending.insert(key.clone(), pod);
        if unchanged { Effect::None } else { Effect::Wants }
    }

    fn place(&mut self, key: &PodKey, node: NodeName, pod: &PodInfo, assumed: bool) {
        let share = Share::from(pod);
        if let Some(info) = self.snapshot.nodes.get_mut(&node) {
            info.place(key.clone(), share.clone());
        }
        let uid = pod.pod.metadata.uid.clone();
        self.placed.insert(key.clone(), Placed { uid, node, share, assumed });
    }

    fn displace(&mut self, key: &PodKey) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        if let Some(info) = self.snapshot.nodes.get_mut(&placed.node) {
            info.remove(key);
        }
        true
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

    #[test]
    fn an_assumed_pod_counts_until_its_binding_fails_or_comes_back() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        assert_eq!(cache.pod_applied(unbound.clone()), Effect::Wants);
        let info = PodInfo::new(Arc::new(unbound.clone()));
        cache.assume(&info, &n1());
        assert_eq!((requested(&cache), cache.pending(&info.key()).is_some()), (1000, false));
        assert_eq!(cache.pod_applied(unbound), Effect::None, "an old sighting");
        assert_eq!(requested(&cache), 1000);
        cache.forget(&info);
        assert_eq!((requested(&cache), cache.pending(&info.key()).is_some()), (0, true));
        cache.assume(&info, &n1());
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        cache.forget(&info);
        assert_eq!(requested(&cache), 1000, "what is confirmed is not forgotten");
    }

    #[test]
    fn a_pod_that_ends_or_goes_leaves_room() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        cache.pod_applied(pod("p", "1", json!("n1"), json!({"phase": "Running"})));
        let finished = pod("p", "1", json!("n1"), json!({"phase": "Succeeded"}));
        assert_eq!(cache.pod_applied(finished), Effect::MayHelp);
        cache.pod_applied(pod("q", "2", json!("n1"), json!({})));
        let q = PodKey { namespace: "default".to_owned(), name: "q".to_owned() };
        assert_eq!(cache.pod_deleted(&q), Effect::MayHelp);
        assert_eq!(requested(&cache), 0);
    }

    #[test]
    fn pods_seen_before_their_node_are_counted_when_it_appears() {
        let mut cache = Cache::default();
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        assert_eq!(cache.node_applied(node(json!({}))), Effect::MayHelp);
        assert_eq!(requested(&cache), 1000);
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
        assert_eq!(cache.node_applied(with("True", "2026-01-01T00:00:10Z")), Effect::None);
        assert_eq!(cache.node_applied(with("False", "2026-01-01T00:00:20Z")), Effect::MayHelp);
    }

    #[test]
    fn a_new_pod_of_an_old_name_ends_the_old_one() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        assert_eq!(cache.pod_applied(pod("p", "2", json!(null), json!({}))), Effect::Wants);
        assert_eq!(requested(&cache), 0);
    }
}
