//! What the controller does in a history: the real monitor, and the real decisions on nodes and pods.

use std::sync::Arc;

use api_machinery::patch::apply_strategic;
use api_types::api::core::v1::{Node, Pod};
use api_types::jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::{Monitor, Turn, conditions, taints};
use crate::controllers::taint_eviction::arrivals::Arrivals;
use crate::controllers::taint_eviction::stay::Stay;
use crate::controllers::taint_eviction::stay_on;
use crate::controllers::taint_eviction::taint_ages::TaintAges;
use crate::eviction::EvictionArgs;
use crate::frame::Change;
use crate::informers::Informers;
use crate::nodes;

/// For how long a [`Role::Patient`] pod tolerates a silent node.
pub(super) const TOLERATION_SECONDS: u32 = 20;

/// What a pod says of silent nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing, and somebody replaces it.
    Replica,
    /// Nothing, and nobody replaces it.
    Bare,
    /// It tolerates them for some time.
    Patient,
    /// It tolerates them for ever.
    Tolerant,
}

pub(super) const ROLES: [Role; 4] = [Role::Replica, Role::Bare, Role::Patient, Role::Tolerant];

pub(super) struct Controller {
    pub(super) monitor: Arc<Monitor>,
    ages: TaintAges,
    arrivals: Arrivals,
    /// The nodes as the informer has them.
    seen: Vec<Arc<Node>>,
    nodes_due: Vec<Option<Instant>>,
    pods: Vec<Running>,
}

struct Running {
    node: usize,
    role: Role,
    pod: Arc<Pod>,
    due: Option<Instant>,
}

impl Controller {
    pub(super) fn new(stored: &[Arc<Node>]) -> Self {
        let pods = (0..stored.len()).flat_map(|node| ROLES.map(|role| Running::new(node, role)));
        Self::with(stored, pods.collect(), Timestamp::UNIX_EPOCH)
    }

    /// One that takes over from another.
    pub(super) fn anew(stored: &[Arc<Node>], before: &Self, time: Timestamp) -> Self {
        let pods = before.pods.iter().map(|pod| Running::new(pod.node, pod.role));
        Self::with(stored, pods.collect(), time)
    }

    fn with(stored: &[Arc<Node>], mut pods: Vec<Running>, time: Timestamp) -> Self {
        let (monitor, now) =
            (Monitor::watching(&Informers::default(), EvictionArgs::default()), Instant::now());
        let ages = TaintAges::default();
        for node in stored {
            monitor.node_changed(&Change { old: None, new: Some(node.clone()) }, now);
            ages.see(node, time, now);
        }
        let arrivals = Arrivals::default();
        for pod in &mut pods {
            arrivals.see(&Change { old: None, new: Some(pod.pod.clone()) }, time, now);
            pod.due = Some(now);
        }
        Self {
            monitor,
            ages,
            arrivals,
            seen: stored.to_vec(),
            nodes_due: vec![Some(now); stored.len()],
            pods,
        }
    }

    /// The informer brings what is stored now. Returns whether the kubelet's report is another one.
    pub(super) fn inform(&mut self, node: usize, stored: &Arc<Node>, time: Timestamp) -> bool {
        let old = std::mem::replace(&mut self.seen[node], stored.clone());
        if Arc::ptr_eq(&old, stored) {
            return false;
        }
        let reported = |node: &Node| nodes::ready_condition(node)?.last_heartbeat_time.clone();
        let is_report = reported(&old) != reported(stored);
        let now = Instant::now();
        self.monitor.node_changed(&Change { old: Some(old), new: Some(stored.clone()) }, now);
        self.ages.see(stored, time, now);
        self.nodes_due[node] = Some(now);
        if nodes::has_no_execute(stored) {
            self.pods.iter_mut().filter(|pod| pod.node == node).for_each(|pod| pod.due = Some(now));
        }
        is_report
    }

    /// A tick of the monitor. Returns whose hosts are to be asked, and whether that is urgent.
    pub(super) fn look(&mut self, redis_connected: bool) -> Vec<(String, bool)> {
        let (changed, to_be_asked) = self.monitor.look(redis_connected);
        changed.iter().for_each(|node| self.nodes_due[number(node)] = Some(Instant::now()));
        to_be_asked
    }

    /// Looks at the nodes and pods whose time it is. Returns the pods that are evicted.
    pub(super) fn work(&mut self, stored: &mut [Arc<Node>], time: Timestamp) -> Vec<(usize, Role)> {
        for (node, stored) in stored.iter_mut().enumerate() {
            if take_due(&mut self.nodes_due[node]) {
                self.reconcile(node, stored, time);
            }
        }
        let Self { monitor, ages, arrivals, seen, pods, .. } = self;
        let evicted = pods.extract_if(.., |pod| {
            take_due(&mut pod.due) && pod.is_to_go(&seen[pod.node], ages, arrivals, monitor)
        });
        evicted.map(|pod| (pod.node, pod.role)).collect()
    }

    fn reconcile(&mut self, node: usize, stored: &mut Arc<Node>, time: Timestamp) {
        let (object, name) = (&self.seen[node], name(node));
        let Some(health) = self.monitor.health(&name) else { return };
        let mut turn = Turn { monitor: &self.monitor, node: &name, wait: None };
        let why = turn.why(health);
        let marked = why.and_then(|why| conditions::unknown(object, why, time));
        let due = taints::due(object, turn.no_execute(object, health), time);
        let tainted = due.map(|taints| json!({"spec": {"taints": taints}}));
        // The second write is refused after the first, and comes with the next look.
        if let Some(patch) = marked.or(tainted).filter(|_| Arc::ptr_eq(object, stored)) {
            *stored = patched(stored, &patch);
        }
        let wait = turn.wait.map(|wait| Instant::now() + wait);
        let due = &mut self.nodes_due[node];
        *due = due.iter().copied().chain(wait).min();
    }
}

impl Running {
    fn new(node: usize, role: Role) -> Self {
        let tolerates = |seconds: Option<u32>| json!([{"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}]);
        let tolerations = match role {
            Role::Replica | Role::Bare => json!([]),
            Role::Patient => tolerates(Some(TOLERATION_SECONDS)),
            Role::Tolerant => tolerates(None),
        };
        let owner = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "u", "controller": true}]);
        let owners = if role == Role::Bare { json!([]) } else { owner };
        let scheduled = json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": Timestamp::UNIX_EPOCH});
        let pod = json!({"metadata": {"uid": format!("{node} {role:?}"), "ownerReferences": owners},
            "spec": {"nodeName": name(node), "containers": [], "tolerations": tolerations},
            "status": {"conditions": [scheduled]}});
        Self { node, role, pod: Arc::new(serde_json::from_value(pod).unwrap()), due: None }
    }

    fn is_to_go(
        &mut self,
        node: &Node,
        ages: &TaintAges,
        arrivals: &Arrivals,
        monitor: &Monitor,
    ) -> bool {
        let (stay, again) = stay_on(&self.pod, node, ages, arrivals, monitor);
        let rest = match stay {
            Stay::Not => return true,
            Stay::For(rest) => Some(rest),
            Stay::Forever => None,
        };
        self.due = rest.into_iter().chain(again).min().map(|rest| Instant::now() + rest);
        false
    }
}

fn take_due(due: &mut Option<Instant>) -> bool {
    due.take_if(|due| *due <= Instant::now()).is_some()
}

/// A node after a strategic patch.
pub(super) fn patched(node: &Node, patch: &Value) -> Arc<Node> {
    let object = serde_json::to_value(node).unwrap();
    Arc::new(serde_json::from_value(apply_strategic(&object, patch).unwrap()).unwrap())
}

pub(super) fn name(node: usize) -> String {
    format!("n{node}")
}

pub(super) fn number(name: &str) -> usize {
    name.trim_start_matches('n').parse().unwrap()
}
