//! Evicts pods from nodes whose `NoExecute` taints they do not tolerate, or no longer. Every pod is
//! looked at for itself: one that cannot be deleted keeps no other.
//!
//! A pod that says nothing about a silent or unready node stays for Kubernetes' 300 s. But when the
//! node's host is known to be gone, such pods leave at once, if somebody replaces them: a pod without
//! a controller would only be lost, should the host come back.

pub(super) mod arrivals;
pub(super) mod stay;
pub(super) mod taint_ages;

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Node, Pod, Taint};
use component::events::{EventType, Recorder};
use kube::Client;
use tokio::time::Instant;

use super::node_lifecycle::{Monitor, NodeHealth};
use super::pod_disruption::{self, Disruption};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, WorkQueue};
use crate::informers::Informers;
use crate::nodes::{self, NOT_READY, UNREACHABLE};
use crate::{owners, pods};
use arrivals::Arrivals;
use stay::{Stay, stay};
use taint_ages::TaintAges;

const NAME: &str = "taint-eviction-controller";

/// What is written into a pod before it is deleted, in Kubernetes' words.
const DISRUPTION: Disruption = Disruption {
    reason: "DeletionByTaintManager",
    message: "Taint manager: deleting due to NoExecute taint",
};

/// A taint that does not count at the moment is looked at again after this.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

pub(super) fn register(context: &Context, monitor: &Arc<Monitor>) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let (ages, arrivals) = (Arc::new(TaintAges::default()), Arc::new(Arrivals::default()));
    watch_nodes(context, &ages, &queue);
    watch_pods(context, &arrivals, &queue);
    let controller = TaintEviction {
        client: context.client(),
        clock: context.clock,
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
        monitor: monitor.clone(),
        ages,
        arrivals,
    };
    // The leases are what the monitor judges by.
    let Informers { pods, nodes, node_leases, .. } = &context.informers;
    Registered::new(controller, queue).reads(pods).reads(nodes).reads(node_leases)
}

/// The pods of a node whose taints or state change.
fn watch_nodes(context: &Context, ages: &Arc<TaintAges>, queue: &Arc<WorkQueue>) {
    let (informers, clock) = (&context.informers, context.clock);
    let (queue, ages, pods) = (queue.clone(), ages.clone(), Arc::downgrade(&informers.pods));
    informers.nodes.on_change(move |change: &Change<Node>| {
        let Some(node) = &change.new else {
            change.old.iter().for_each(|node| ages.forget(nodes::name(node)));
            return;
        };
        ages.see(node, clock.now(), Instant::now());
        if let Some(pods) = pods.upgrade().filter(|_| nodes::has_no_execute(node)) {
            let here = pods.on_node(nodes::name(node));
            here.iter()
                .filter(|pod| pods::is_active(pod))
                .for_each(|pod| queue.add(ObjectKey::of(&pod.metadata)));
        }
    });
}

fn watch_pods(context: &Context, arrivals: &Arc<Arrivals>, queue: &Arc<WorkQueue>) {
    let (informers, clock) = (&context.informers, context.clock);
    let (queue, arrivals, all) = (queue.clone(), arrivals.clone(), informers.nodes.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        arrivals.see(change, clock.now(), Instant::now());
        let Some(pod) = change.new.as_ref().filter(|pod| pods::is_active(pod)) else { return };
        let node = pods::node_of(pod).and_then(|node| all.get(&ObjectKey::cluster(node)));
        if node.is_some_and(|node| nodes::has_no_execute(&node)) {
            queue.add(ObjectKey::of(&pod.metadata));
        }
    });
}

struct TaintEviction {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    informers: Informers,
    monitor: Arc<Monitor>,
    ages: Arc<TaintAges>,
    arrivals: Arc<Arrivals>,
}

#[async_trait::async_trait]
impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(pod) = self.informers.pods.get(key).filter(|pod| pods::is_active(pod)) else {
            return Ok(Next::Change);
        };
        let node = pods::node_of(&pod).map(ObjectKey::cluster);
        let Some(node) = node.and_then(|node| self.informers.nodes.get(&node)) else {
            return Ok(Next::Change);
        };
        match stay_on(&pod, &node, &self.ages, &self.arrivals, &self.monitor) {
            (Stay::Not, _) => self.evict(&pod).await.map(|()| Next::Change),
            (Stay::For(rest), None) => Ok(Next::After(rest)),
            (Stay::For(rest), Some(again)) => Ok(Next::After(rest.min(again))),
            (Stay::Forever, again) => Ok(again.map_or(Next::Change, Next::After)),
        }
    }
}

impl TaintEviction {
    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let now = self.clock.now();
        pod_disruption::note(&self.client, pod, None, Some(DISRUPTION), now).await?;
        if pod_disruption::delete(&self.client, pod, None, "evicting a pod").await? {
            let message = format!("Marking for deletion Pod {}", ObjectKey::of(&pod.metadata));
            self.recorder.about(pod, EventType::Normal, "TaintManagerEviction", message);
        }
        Ok(())
    }
}

/// How long a pod may stay on its node, and when to look again if that may change though the node does not: if a
/// taint does not count now and may later, or the host that the node is marked for is not gone now.
/// A pod that came after a taint has its time from then on: its replacement may land here too.
pub(super) fn stay_on(
    pod: &Pod,
    node: &Node,
    ages: &TaintAges,
    arrivals: &Arrivals,
    monitor: &Monitor,
) -> (Stay, Option<Duration>) {
    let name = nodes::name(node);
    let health = monitor.health(name);
    let marked = nodes::is_marked_gone(node) && owners::controller_of(&pod.metadata).is_some();
    let at_once = marked && health == Some(NodeHealth::HostGone);
    let now = Instant::now();
    let here = arrivals.age(pod, now);
    let mut all = ages.of(name, now);
    all.retain(|(taint, _)| nodes::taints(node).contains(taint));
    all.iter_mut().for_each(|(_, age)| *age = here.min(*age));
    let stopped = || monitor.is_stopped(name);
    let counting: Vec<_> =
        all.iter().filter(|(taint, _)| counts(taint, node, health, stopped)).cloned().collect();
    let again = counting.len() < all.len() || (marked && !at_once);
    let again = again.then_some(LOOK_AGAIN);
    (stay(pod, &counting, at_once), again)
}

/// Whether a taint counts. One that says what the node's state is does only while that is so: it may
/// be left from a time when nobody looked. And not if most nodes are silent: see `disruption`.
fn counts(
    taint: &Taint,
    node: &Node,
    health: Option<NodeHealth>,
    stopped: impl FnOnce() -> bool,
) -> bool {
    let status = nodes::ready_status(node);
    match taint.key.as_str() {
        UNREACHABLE if status == "Unknown" => match health {
            Some(NodeHealth::HostGone) => true,
            Some(NodeHealth::StatusUnknown) => !stopped(),
            Some(NodeHealth::Reachable) | None => false,
        },
        NOT_READY if status == "False" => !stopped(),
        UNREACHABLE | NOT_READY => false,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use tokio::time;

    use api_types::jiff::Timestamp;

    use super::*;
    use crate::eviction::EvictionArgs;

    fn check(taint: &str, ready: &str, health: NodeHealth, stopped: bool, expected: bool) {
        let taint = serde_json::from_value(json!({"key": taint, "effect": "NoExecute"})).unwrap();
        let node = json!({"status": {"conditions": [{"type": "Ready", "status": ready}]}});
        let node = serde_json::from_value(node).unwrap();
        let got = counts(&taint, &node, Some(health), || stopped);
        assert_eq!(got, expected, "{taint:?} {ready} {health:?} {stopped}");
    }

    #[test]
    fn a_taint_about_the_node_counts_while_it_is_true() {
        check(UNREACHABLE, "Unknown", NodeHealth::StatusUnknown, false, true);
        check(UNREACHABLE, "Unknown", NodeHealth::HostGone, false, true);
        check(UNREACHABLE, "Unknown", NodeHealth::Reachable, false, false);
        check(UNREACHABLE, "True", NodeHealth::StatusUnknown, false, false);
        check(NOT_READY, "False", NodeHealth::Reachable, false, true);
        check(NOT_READY, "True", NodeHealth::Reachable, false, false);
    }

    #[test]
    fn while_most_nodes_are_silent_only_other_taints_count() {
        check(UNREACHABLE, "Unknown", NodeHealth::StatusUnknown, true, false);
        check(NOT_READY, "False", NodeHealth::Reachable, true, false);
        check("maintenance", "True", NodeHealth::Reachable, true, true);
    }

    /// A node with these taints, which the controller has seen.
    fn seen_node(taints: Value, ages: &TaintAges) -> Node {
        let node = json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}});
        let node = serde_json::from_value(node).unwrap();
        ages.see(&node, Timestamp::UNIX_EPOCH, Instant::now());
        node
    }

    /// A pod that stays for a minute and is bound now.
    fn bound_pod(uid: &str, arrivals: &Arrivals) -> Pod {
        let tolerations = json!([{"operator": "Exists", "tolerationSeconds": 60}]);
        let spec = json!({"nodeName": "n1", "containers": [], "tolerations": tolerations});
        let pod: Pod =
            serde_json::from_value(json!({"metadata": {"uid": uid}, "spec": spec})).unwrap();
        let change = Change { old: None, new: Some(Arc::new(pod.clone())) };
        arrivals.see(&change, Timestamp::UNIX_EPOCH, Instant::now());
        pod
    }

    fn monitor() -> Arc<Monitor> {
        Monitor::watching(&Informers::default(), EvictionArgs::default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_comes_after_the_taint_has_its_whole_time() {
        let (ages, arrivals, monitor) = (TaintAges::default(), Arrivals::default(), monitor());
        let stay = |pod: &Pod, node: &Node| stay_on(pod, node, &ages, &arrivals, &monitor).0;
        let seconds = Duration::from_secs;
        let early = bound_pod("early", &arrivals);
        time::advance(seconds(20)).await;
        let node = seen_node(json!([{"key": "maintenance", "effect": "NoExecute"}]), &ages);
        time::advance(seconds(50)).await;
        let late = bound_pod("late", &arrivals);
        assert_eq!(stay(&early, &node), Stay::For(seconds(10)), "from the taint on");
        time::advance(seconds(10)).await;
        assert_eq!(stay(&early, &node), Stay::Not);
        assert_eq!(stay(&late, &node), Stay::For(seconds(50)), "from its arrival on");
        time::advance(seconds(50)).await;
        assert_eq!(stay(&late, &node), Stay::Not);
    }

    #[tokio::test(start_paused = true)]
    async fn a_taint_that_the_node_no_longer_has_evicts_nobody() {
        let (ages, arrivals, monitor) = (TaintAges::default(), Arrivals::default(), monitor());
        let taint = json!({"key": "maintenance", "effect": "NoExecute"});
        let tainted = seen_node(json!([taint]), &ages);
        let clean = seen_node(json!([]), &TaintAges::default());
        let pod = bound_pod("pod", &arrivals);
        time::advance(Duration::from_secs(60)).await;
        assert_eq!(stay_on(&pod, &tainted, &ages, &arrivals, &monitor).0, Stay::Not);
        assert_eq!(stay_on(&pod, &clean, &ages, &arrivals, &monitor), (Stay::Forever, None));
    }
}
