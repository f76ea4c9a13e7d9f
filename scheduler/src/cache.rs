//! What the scheduler knows of the cluster: nodes and pods as last seen, plus what it has decided but
//! not yet seen come back (*assumed* pods), so that a burst is spread over the nodes as it will be.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use api_types::api::core::v1::{Node, Pod};

use crate::changes::Changes;
use crate::pod::{PodInfo, PodKey, Uid, is_finished, node_of, wants_a_node};
use crate::snapshot::{NodeInfo, NodeName, Share, Shares, Snapshot, Usage, Volumes};
use tokio::time::Instant;

#[cfg(test)]
mod model;

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
    /// The pod as it was last seen, while its binding is under way.
    assumed: Option<PodInfo>,
}

/// A pod that was taken from its node, and what it had there.
struct Displaced {
    placed: Placed,
    share: Share,
}

impl Displaced {
    fn left(self) -> NodeChange {
        NodeChange { node: self.placed.node, changes: self.share.freed(None) }
    }
}

/// What has changed on which node, or of its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChange {
    /// The node.
    pub node: NodeName,
    /// Perhaps nothing that matters.
    pub changes: Changes,
}

/// What news of a pod means for those that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effect {
    /// The pod wants a node, and is new or has changed.
    pub wants: bool,
    /// It is gone from a node, or takes less there.
    pub left: Option<NodeChange>,
    /// It has come to a node.
    pub came: Option<NodeChange>,
}

impl Effect {
    fn left(left: Option<NodeChange>) -> Self {
        Self { left, ..Self::default() }
    }
}

impl Cache {
    /// The nodes with everything placed on them, assumed pods included.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// What it knows of storage.
    pub(crate) fn volumes_mut(&mut self) -> &mut Volumes {
        self.snapshot.volumes_mut()
    }

    /// A pod that still wants a node.
    pub fn pending(&self, pod: &Uid) -> Option<&PodInfo> {
        self.pending.get(pod)
    }

    /// Whether it is for us to say where the pod goes: it wants a node, or its binding is under way.
    pub fn is_undecided(&self, pod: &Uid) -> bool {
        self.pending.contains_key(pod) || self.assumed_on(pod).is_some()
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
    pub fn node_applied(&mut self, node: Node) -> NodeChange {
        let (name, node) = (NodeName::of(&node), Arc::new(node));
        let changes = self.snapshot.update(&name, &node).unwrap_or_else(|| {
            self.snapshot.add(node, self.homeless.remove(&name).unwrap_or_default());
            Changes::ADDED
        });
        NodeChange { node: name, changes }
    }

    /// Forgets a node. Its pods are counted again if it comes back.
    pub fn node_deleted(&mut self, name: &NodeName) {
        let pods = self.snapshot.remove(name).map(NodeInfo::into_pods).unwrap_or_default();
        if !pods.is_empty() {
            self.homeless.insert(name.clone(), pods);
        }
    }

    /// Takes in a new or changed pod. Its predecessor is to be forgotten before.
    pub fn pod_applied(&mut self, pod: Pod) -> Effect {
        let uid = Uid::of(&pod);
        match node_of(&pod) {
            Some(_) if is_finished(&pod) => Effect::left(self.pod_deleted(&uid)),
            Some(node) => self.pod_bound(&uid, NodeName::from(node), pod),
            None => self.pod_unbound(&uid, pod),
        }
    }

    /// Forgets a pod, which may leave room for another.
    pub fn pod_deleted(&mut self, pod: &Uid) -> Option<NodeChange> {
        let waited = self.pending.remove(pod).map(|pod| pod.key());
        let placed = self.withdraw(pod);
        let name = waited.as_ref().or(placed.as_ref().map(|it| &it.placed.name));
        if let Some(name) = name.filter(|name| self.names.get(name) == Some(pod)) {
            self.names.remove(name);
        }
        placed.map(Displaced::left)
    }

    /// Counts the pod in on its node before the API server has confirmed it.
    pub fn assume(&mut self, pod: &PodInfo, node: &NodeName) {
        self.snapshot.assign(pod, node);
        self.keep_place(pod, node);
    }

    fn keep_place(&mut self, pod: &PodInfo, node: &NodeName) {
        self.pending.remove(&pod.uid);
        self.place(pod, node.clone(), Some(pod.clone()));
    }

    /// Time goes on.
    pub fn set_time(&mut self, now: Instant) {
        self.snapshot.set_time(now);
    }

    /// What a node says that it uses.
    pub fn heard(&mut self, node: &NodeName, usage: Usage, now: Instant) {
        self.snapshot.heard(node, usage, now);
    }

    /// Takes an assumption back: the binding failed, and the pod, as it is by now, wants a node again. It does not,
    /// and `None` is said, if it has gone meanwhile, or has a node after all.
    pub fn forget(&mut self, pod: &Uid) -> Option<NodeChange> {
        let assumed = self.placed.get_mut(pod)?.assumed.take()?;
        self.pending.insert(pod.clone(), assumed);
        self.withdraw(pod).map(Displaced::left)
    }

    /// The room that was assumed elsewhere is free again, and what the pod has given back.
    fn pod_bound(&mut self, uid: &Uid, node: NodeName, pod: Pod) -> Effect {
        let pod = PodInfo::new(Arc::new(pod));
        if self.is_counted(&pod, &node) {
            return Effect::default();
        }
        self.pending.remove(uid);
        let change = |changes| NodeChange { node: node.clone(), changes };
        let (mut came, mut left) = (Some(change(Changes::POD)), None);
        if let Some(old) = self.displace(uid) {
            if old.placed.node != node {
                self.snapshot.withdraw(&old.placed.node, uid);
            }
            came = came.filter(|_| old.placed.node != node || old.placed.assumed.is_some());
            left = Some(match old.placed.node == node {
                true => change(old.share.freed(Some(&Share::from(&pod)))),
                false => old.left(),
            });
        }
        self.place(&pod, node, None);
        Effect { wants: false, left: left.filter(|left| !left.changes.is_empty()), came }
    }

    fn is_counted(&self, pod: &PodInfo, node: &NodeName) -> bool {
        let confirmed = |placed: &Placed| placed.node == *node && placed.assumed.is_none();
        let shares = self.snapshot.get(node).map(NodeInfo::shares).or(self.homeless.get(node));
        self.placed.get(&pod.uid).is_some_and(confirmed)
            && shares.and_then(|shares| shares.get(&pod.uid)) == Some(&Share::from(pod))
    }

    fn assumed_on(&self, pod: &Uid) -> Option<&NodeName> {
        self.placed.get(pod).filter(|placed| placed.assumed.is_some()).map(|placed| &placed.node)
    }

    /// A pod whose binding is under way keeps its place. One whose binding was seen has lost it: the store was
    /// restored from a backup.
    fn pod_unbound(&mut self, uid: &Uid, pod: Pod) -> Effect {
        if !wants_a_node(&pod) {
            return Effect::left(self.pod_deleted(uid));
        }
        let pod = PodInfo::new(Arc::new(pod));
        if let Some(node) = self.assumed_on(uid).cloned() {
            self.keep_place(&pod, &node);
            return Effect::default();
        }
        let left = self.displace(uid).map(Displaced::left);
        let known = self.pending.get(uid);
        let wants = known.is_none_or(|known| known.pod.spec != pod.pod.spec);
        self.names.insert(pod.key(), uid.clone());
        self.pending.insert(uid.clone(), pod);
        Effect { wants, left, came: None }
    }

    fn place(&mut self, pod: &PodInfo, node: NodeName, assumed: Option<PodInfo>) {
        let (uid, share) = (pod.uid.clone(), Share::from(pod));
        match self.snapshot.get(&node) {
            Some(_) => self.snapshot.place(&node, uid, share),
            None => drop(self.homeless.entry(node.clone()).or_default().insert(uid, share)),
        }
        self.names.insert(pod.key(), pod.uid.clone());
        self.placed.insert(pod.uid.clone(), Placed { name: pod.key(), node, assumed });
    }

    fn displace(&mut self, pod: &Uid) -> Option<Displaced> {
        let placed = self.placed.remove(pod)?;
        let share = match self.snapshot.get(&placed.node) {
            Some(_) => self.snapshot.displace(&placed.node, pod),
            None => self.evacuate(&placed.node, pod),
        };
        share.map(|share| Displaced { placed, share })
    }

    /// As if it had never been assigned.
    fn withdraw(&mut self, pod: &Uid) -> Option<Displaced> {
        let displaced = self.displace(pod)?;
        self.snapshot.withdraw(&displaced.placed.node, pod);
        Some(displaced)
    }

    fn evacuate(&mut self, node: &NodeName, pod: &Uid) -> Option<Share> {
        let pods = self.homeless.get_mut(node)?;
        let share = pods.remove(pod);
        if pods.is_empty() {
            self.homeless.remove(node);
        }
        share
    }
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
        NodeName::from("n1")
    }

    fn change(changes: Changes) -> NodeChange {
        NodeChange { node: n1(), changes }
    }

    fn requested(cache: &Cache) -> i64 {
        cache.snapshot().get(&n1()).unwrap().requested.get("cpu")
    }

    const WANTS: Effect = Effect { wants: true, left: None, came: None };
    const NOTHING: Effect = Effect { wants: false, left: None, came: None };

    #[test]
    fn an_assumed_pod_counts_until_its_binding_fails_or_comes_back() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        assert_eq!(cache.pod_applied(unbound.clone()), WANTS);
        let info = PodInfo::new(Arc::new(unbound.clone()));
        cache.assume(&info, &n1());
        assert_eq!((requested(&cache), cache.pending(&info.uid).is_some()), (1000, false));
        assert_eq!(cache.pod_applied(unbound), NOTHING, "it has not come back");
        assert_eq!((requested(&cache), cache.is_undecided(&info.uid)), (1000, true));
        assert_eq!(cache.forget(&info.uid), Some(change(Changes::RESOURCES)));
        assert_eq!((requested(&cache), cache.pending(&info.uid).is_some()), (0, true));
        cache.assume(&info, &n1());
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        assert_eq!(cache.forget(&info.uid), None);
        assert_eq!(requested(&cache), 1000, "what is confirmed is not forgotten");
        assert!(!cache.is_undecided(&info.uid));
    }

    #[test]
    fn a_pod_whose_binding_failed_waits_as_it_was_last_seen() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let mut unbound = pod("p", "1", json!(null), json!({}));
        cache.pod_applied(unbound.clone());
        let info = PodInfo::new(Arc::new(unbound.clone()));
        cache.assume(&info, &n1());
        let toleration = serde_json::from_value(json!([{"operator": "Exists"}])).unwrap();
        unbound.spec.as_mut().unwrap().tolerations = Some(toleration);
        assert_eq!(cache.pod_applied(unbound.clone()), NOTHING, "its binding is under way");
        cache.forget(&info.uid);
        assert_eq!(*cache.pending(&info.uid).unwrap().pod, unbound);
    }

    #[test]
    fn what_was_assigned_counts_no_more_when_the_pod_does_not_come() {
        let (mut cache, now) = (Cache::default(), Instant::now());
        cache.set_time(now);
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        let info = PodInfo::new(Arc::new(unbound.clone()));
        let assigned =
            |cache: &Cache| cache.snapshot().get(&n1()).unwrap().load.assigned("cpu", now);
        let ways: [fn(&mut Cache, &PodInfo); 3] = [
            |cache, info| drop(cache.forget(&info.uid)),
            |cache, info| drop(cache.pod_deleted(&info.uid)),
            |cache, _| drop(cache.pod_applied(pod("p", "1", json!("n2"), json!({})))),
        ];
        for goes in ways {
            cache.pod_applied(unbound.clone());
            cache.assume(&info, &n1());
            assert_eq!(assigned(&cache), 1000);
            goes(&mut cache, &info);
            assert_eq!(assigned(&cache), 0);
            cache.pod_deleted(&info.uid);
        }
    }

    #[test]
    fn a_pod_that_ends_or_goes_leaves_room() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        cache.pod_applied(pod("p", "1", json!("n1"), json!({"phase": "Running"})));
        let finished = pod("p", "1", json!("n1"), json!({"phase": "Succeeded"}));
        assert_eq!(cache.pod_applied(finished).left, Some(change(Changes::RESOURCES)));
        cache.pod_applied(pod("q", "2", json!("n1"), json!({})));
        assert_eq!(cache.pod_deleted(&Uid::from("2")), Some(change(Changes::RESOURCES)));
        assert_eq!(requested(&cache), 0);
    }

    /// What a pod means for those that wait: what has come free, and whether it has come.
    #[test]
    fn a_pod_frees_what_it_had_and_comes_once() {
        let with = |cpu: &str, ports: Value| {
            let mut pod = pod("p", "1", json!("n1"), json!({}));
            let container =
                json!({"name": "c", "ports": ports, "resources": {"requests": {"cpu": cpu}}});
            pod.spec.as_mut().unwrap().containers =
                vec![serde_json::from_value(container).unwrap()];
            pod
        };
        let port = || json!([{"containerPort": 80, "hostPort": 80}]);
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let mut seen = |pod: Pod| {
            let Effect { left, came, .. } = cache.pod_applied(pod);
            (left.map(|it| it.changes), came.map(|it| it.changes))
        };
        assert_eq!(seen(with("2", port())), (None, Some(Changes::POD)));
        assert_eq!(seen(with("2", port())), (None, None), "it is there");
        assert_eq!(seen(with("1", port())), (Some(Changes::RESOURCES), None));
        assert_eq!(seen(with("3", json!([]))), (Some(Changes::PORTS), None));
        assert_eq!(seen(with("4", port())), (None, None), "it takes more");
        let gone = cache.pod_deleted(&Uid::from("1")).unwrap();
        assert_eq!(gone.changes, Changes::RESOURCES | Changes::PORTS);
    }

    #[test]
    fn an_assumed_pod_has_come_when_its_binding_is_seen() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        cache.pod_applied(unbound.clone());
        cache.assume(&PodInfo::new(Arc::new(unbound)), &n1());
        let effect = cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        assert_eq!((effect.left, effect.came), (None, Some(change(Changes::POD))));
    }

    #[test]
    fn a_pod_that_somebody_bound_elsewhere_leaves_the_room_that_was_assumed() {
        let mut cache = Cache::default();
        cache.node_applied(node(json!({})));
        let unbound = pod("p", "1", json!(null), json!({}));
        cache.pod_applied(unbound.clone());
        cache.assume(&PodInfo::new(Arc::new(unbound)), &n1());
        let effect = cache.pod_applied(pod("p", "1", json!("n2"), json!({})));
        assert_eq!(effect.left, Some(change(Changes::RESOURCES)));
        assert_eq!(requested(&cache), 0);
    }

    #[test]
    fn the_pods_of_an_unknown_node_are_counted_when_it_appears() {
        let mut cache = Cache::default();
        cache.pod_applied(pod("p", "1", json!("n1"), json!({})));
        cache.pod_applied(pod("q", "2", json!("n1"), json!({})));
        cache.pod_deleted(&Uid::from("2"));
        assert_eq!(cache.node_applied(node(json!({}))), change(Changes::ADDED));
        assert_eq!(requested(&cache), 1000);
        cache.node_deleted(&n1());
        assert_eq!(cache.node_applied(node(json!({}))), change(Changes::ADDED));
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
        let heartbeat = cache.node_applied(with("True", "2026-01-01T00:00:10Z"));
        assert_eq!(heartbeat, change(Changes::empty()));
        let broken = cache.node_applied(with("False", "2026-01-01T00:00:20Z"));
        assert_eq!(broken, change(Changes::TAINTS));
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
