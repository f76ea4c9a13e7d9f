//! Watches over the nodes: marks those that are not heard of, taints those that are not ready, and
//! takes the pods of the silent ones out of service.

mod health;
mod monitor;
mod taints;

use std::sync::Arc;

use api_types::api::core::v1::{Node, Pod};
use api_types::jiff::Timestamp;
use component::events::{EventType, Recorder};
use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::{nodes, pods};
use health::{Measure, Verdict};
use monitor::Monitor;

const NAME: &str = "node-controller";

pub(super) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let monitor = Arc::new(Monitor::default());
    monitor.watch(&context.informers);
    tasks.spawn(monitor.clone().run(context.listwatch.clone(), queue.clone()));
    let wanted = queue.clone();
    context.informers.nodes.on_change(move |change: &Change<Node>| {
        change.new.iter().for_each(|node| wanted.add(ObjectKey::of(&node.metadata)));
    });
    let controller = NodeLifecycle {
        client: context.client(),
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
        monitor,
    };
    Registered::new(controller, queue)
}

struct NodeLifecycle {
    client: Client,
    recorder: Recorder,
    informers: Informers,
    monitor: Arc<Monitor>,
}

#[async_trait::async_trait]
impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(node) = self.informers.nodes.get(key) else { return Ok(Next::Change) };
        let verdict = self.monitor.judge(&key.name, Instant::now());
        if let Some(Verdict::Silent(measure)) = verdict {
            self.mark_silent(&node, measure).await?;
        }
        self.taint(&node).await?;
        // The monitor says when the node falls silent; a sign of life changes the node.
        Ok(Next::Change)
    }
}

impl NodeLifecycle {
    async fn mark_silent(&self, node: &Node, measure: Measure) -> Result<(), Error> {
        let name = nodes::name(node);
        self.silence_pods(name).await?;
        let Some(patch) = silent(node, measure, Timestamp::now()) else { return Ok(()) };
        tracing::warn!(node = name, ?measure, "the node is silent");
        let api = Api::<Node>::all(self.client.clone());
        let patched =
            api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        patched.unless_gone("marking a silent node")?;
        let message = format!("Node {name} status is now: NodeNotReady");
        self.recorder.about(node, EventType::Normal, "NodeNotReady", message);
        Ok(())
    }

    /// Pods on a silent node serve nobody: services should leave them out.
    async fn silence_pods(&self, node: &str) -> Result<(), Error> {
        let serving = self
            .informers
            .pods
            .filter(|pod| pods::node_of(pod) == Some(node) && pods::is_ready(pod));
        let patches = serving.iter().map(|pod| self.silence_pod(pod));
        join_all(patches).await.into_iter().collect()
    }

    async fn silence_pod(&self, pod: &Pod) -> Result<(), Error> {
        let key = ObjectKey::of(&pod.metadata);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Strategic(json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": "NodeNotReady",
                "lastTransitionTime": Timestamp::now(),
            }]},
        }));
        let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        patched.unless_gone("marking a pod of a silent node").map(|_| ())
    }

    async fn taint(&self, node: &Node) -> Result<(), Error> {
        let Some(taints) = taints::due(node, Timestamp::now()) else { return Ok(()) };
        let api = Api::<Node>::all(self.client.clone());
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        }));
        let patched = api.patch(nodes::name(node), &PatchParams::default(), &patch).await;
        patched.unless_gone("tainting a node").map(|_| ())
    }
}

/// Every condition that the node itself reports becomes unknown; `None` if they are. Tied to the version
/// that was looked at, so that a node that returns in this moment is not marked.
fn silent(node: &Node, measure: Measure, now: Timestamp) -> Option<Value> {
    let (reason, message) = match measure {
        Measure::Lease => (nodes::STATUS_UNKNOWN, "Kubelet stopped posting node status."),
        Measure::Heartbeat => (nodes::HEARTBEAT_LOST, "Kubelet stopped sending heartbeats."),
    };
    let reported = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let mut types: Vec<&str> =
        reported.into_iter().map(|condition| condition.type_.as_str()).collect();
    if !types.contains(&"Ready") {
        types.push("Ready");
    }
    let marked = nodes::ready_condition(node).is_some_and(|ready| ready.status == "Unknown");
    let conditions = types.into_iter().map(|kind| {
        json!({"type": kind, "status": "Unknown", "reason": reason, "message": message,
               "lastTransitionTime": now})
    });
    (!marked).then(|| {
        json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": {"conditions": conditions.collect::<Vec<_>>()},
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_node_is_marked_once() {
        let node = |status: &str| -> Node {
            serde_json::from_value(json!({"metadata": {"resourceVersion": "7"}, "status": {"conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": status}]}}))
            .unwrap()
        };
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let patch = silent(&node("True"), Measure::Heartbeat, now).unwrap();
        assert_eq!(patch["metadata"]["resourceVersion"], "7");
        let conditions = patch["status"]["conditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 2);
        assert!(conditions.iter().all(|condition| condition["status"] == "Unknown"));
        assert_eq!(conditions[1]["reason"], "NodeHeartbeatLost");
        assert_eq!(silent(&node("Unknown"), Measure::Lease, now), None);
    }
}
