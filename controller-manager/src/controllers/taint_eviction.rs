//! Evicts pods from nodes whose `NoExecute` taints they do not tolerate, or no longer.
//!
//! A pod that says nothing about a silent or unready node stays for Kubernetes' 300 s. But when the
//! heartbeats over Redis have stopped, the node is known to be dead, and such pods are replaced at once.
//!
//! If not a single node is ready, nobody is evicted for silence: then it is more likely we who hear
//! nothing, and there is nowhere to go.

use std::sync::Arc;
use std::time::Duration;

use api_machinery::toleration::toleration_of;
use api_types::api::core::v1::{Node, Pod, Taint, Toleration};
use api_types::jiff::{SignedDuration, Timestamp};
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::nodes::{self, HEARTBEAT_LOST, NOT_READY, UNREACHABLE};
use crate::pods;

const NAME: &str = "taint-eviction-controller";

/// For how long pods stay on a silent or unready node if they say nothing else. Kubernetes writes it into
/// the pods, so a pod that says just this is taken as saying nothing.
const USUAL_SECONDS: i64 = 300;

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch_nodes(&context.informers, &queue);
    watch_pods(&context.informers, &queue);
    let controller = TaintEviction {
        client: context.client(),
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
    };
    Registered::new(controller, queue)
}

/// A node that becomes ready or stops to be changes what may happen on all others.
fn watch_nodes(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (queue, all) = (queue.clone(), Arc::downgrade(&informers.nodes));
    informers.nodes.on_change(move |change: &Change<Node>| {
        let ready = |node: &Option<Arc<Node>>| node.as_deref().is_some_and(nodes::is_ready);
        let affected = match all.upgrade() {
            Some(all) if ready(&change.old) != ready(&change.new) => all.filter(has_no_execute),
            _ => change.new.iter().filter(|node| has_no_execute(node)).cloned().collect(),
        };
        affected.iter().for_each(|node| queue.add(ObjectKey::of(&node.metadata)));
    });
}

fn watch_pods(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (queue, all) = (queue.clone(), informers.nodes.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        let node = change.new.as_deref().and_then(pods::node_of).map(ObjectKey::cluster);
        let Some(node) = node else { return };
        if all.get(&node).is_some_and(|node| has_no_execute(&node)) {
            queue.add(node);
        }
    });
}

fn has_no_execute(node: &Node) -> bool {
    nodes::taints(node).iter().any(|taint| taint.effect == "NoExecute")
}

struct TaintEviction {
    client: Client,
    recorder: Recorder,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.informers.nodes.get(key) else { return Ok(Next::Change) };
        let taints = self.taints(&node);
        let here = |pod: &Pod| pods::node_of(pod) == Some(&key.name) && pods::is_active(pod);
        let now = Timestamp::now();
        let mut soonest: Option<Duration> = None;
        for pod in self.informers.pods.filter(here) {
            match stay(&pod, &taints, is_known_dead(&node), now) {
                Stay::For(time) => {
                    soonest = Some(soonest.map_or(time, |soonest| soonest.min(time)))
                }
                Stay::Forever => {}
                Stay::Not => self.evict(&pod).await?,
            }
        }
        Ok(soonest.map_or(Next::Change, Next::After))
    }
}

impl TaintEviction {
    /// The taints that count: silence does not if all nodes are silent.
    fn taints(&self, node: &Node) -> Vec<Taint> {
        let any_ready = !self.informers.nodes.filter(nodes::is_ready).is_empty();
        let counts =
            |taint: &&Taint| taint.effect == "NoExecute" && (any_ready || taint.key != UNREACHABLE);
        nodes::taints(node).iter().filter(counts).cloned().collect()
    }

    async fn evict(&self, pod: &Pod) -> Result<(), Error> {
        let key = ObjectKey::of(&pod.metadata);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let this_one = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let how = DeleteParams::default().preconditions(this_one);
        if api.delete(&key.name, &how).await.unless_gone("evicting a pod")?.is_some() {
            let message = format!("Marking for deletion Pod {key}");
            self.recorder.about(pod, EventType::Normal, "TaintManagerEviction", message);
        }
        Ok(())
    }
}

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stay {
    Forever,
    For(Duration),
    Not,
}

/// The shortest stay over all taints.
fn stay(pod: &Pod, taints: &[Taint], known_dead: bool, now: Timestamp) -> Stay {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    let ends = taints.iter().filter_map(|taint| {
        let seconds = tolerated_seconds(tolerations, taint, known_dead)?;
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        Some(since.saturating_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX))
    });
    match ends.min() {
        None => Stay::Forever,
        Some(end) if end <= now => Stay::Not,
        Some(end) => Stay::For(end.duration_since(now).try_into().unwrap_or_default()),
    }
}

/// For how many seconds the pod tolerates the taint; `None` is for ever.
fn tolerated_seconds(tolerations: &[Toleration], taint: &Taint, known_dead: bool) -> Option<i64> {
    let about_the_node = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
    let usual = if known_dead && taint.key == UNREACHABLE { 0 } else { USUAL_SECONDS };
    match toleration_of(tolerations, taint) {
        Some(toleration) => match toleration.toleration_seconds? {
            USUAL_SECONDS if about_the_node => Some(usual),
            seconds => Some(seconds),
        },
        None if about_the_node => Some(usual),
        None => Some(0),
    }
}

/// Whether the node was found dead by its heartbeats.
fn is_known_dead(node: &Node) -> bool {
    let ready = nodes::ready_condition(node);
    ready.is_some_and(|ready| {
        ready.status == "Unknown" && ready.reason.as_deref() == Some(HEARTBEAT_LOST)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The stay of a pod on a node that was tainted 100 s ago.
    fn check(tolerations: Value, taint: &str, known_dead: bool, expected: Stay) {
        let pod =
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}}));
        let taint =
            json!({"key": taint, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"});
        let taints = [serde_json::from_value(taint).unwrap()];
        let now = "2026-01-01T00:01:40Z".parse().unwrap();
        assert_eq!(stay(&pod.unwrap(), &taints, known_dead, now), expected, "{tolerations}");
    }

    fn tolerates(key: &str, seconds: Value) -> Value {
        json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}])
    }

    #[test]
    fn pods_that_say_nothing_stay_five_minutes_on_a_lost_node() {
        let rest = Stay::For(Duration::from_secs(200));
        check(json!([]), UNREACHABLE, false, rest);
        check(json!([]), NOT_READY, false, rest);
        check(tolerates(UNREACHABLE, json!(300)), UNREACHABLE, false, rest);
    }

    #[test]
    fn on_a_node_known_dead_they_do_not_stay() {
        check(json!([]), UNREACHABLE, true, Stay::Not);
        check(tolerates(UNREACHABLE, json!(300)), UNREACHABLE, true, Stay::Not);
    }

    #[test]
    fn what_pods_say_themselves_is_honoured() {
        check(tolerates(UNREACHABLE, json!(null)), UNREACHABLE, true, Stay::Forever);
        check(
            tolerates(UNREACHABLE, json!(160)),
            UNREACHABLE,
            true,
            Stay::For(Duration::from_secs(60)),
        );
        check(tolerates(UNREACHABLE, json!(50)), UNREACHABLE, false, Stay::Not);
    }

    #[test]
    fn other_taints_are_not_tolerated_without_saying_so() {
        check(json!([]), "maintenance", false, Stay::Not);
        check(tolerates("maintenance", json!(null)), "maintenance", false, Stay::Forever);
    }

    #[test]
    fn without_taints_pods_stay() {
        let pod: Pod = serde_json::from_value(json!({})).unwrap();
        assert_eq!(stay(&pod, &[], true, Timestamp::now()), Stay::Forever);
    }
}
