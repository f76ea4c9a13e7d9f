//! Watches over the nodes: marks those that are not heard of, taints those that are not ready, and
//! takes the pods of either out of service. ARCHITECTURE.md says which node is believed dead.

mod conditions;
mod disruption;
mod evidence;
#[cfg(test)]
mod histories;
mod monitor;
mod observations;
mod taints;
mod token_bucket;

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Node, Pod};
use component::events::{EventType, Recorder};
use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;
use tokio::task::JoinSet;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::{nodes, pods};
use conditions::Why;
use disruption::Eviction;
use taints::NoExecute;

pub(super) use monitor::Monitor;
pub(super) use observations::NodeHealth;

const NAME: &str = "node-controller";

/// A node that says for so long that it is not ready is believed. A kubelet that is started again says so
/// for a moment, while all its pods go on serving.
const NOT_READY_PATIENCE: Duration = Duration::from_secs(5);

/// What is known of the nodes' health.
pub(super) fn monitor(context: &Context) -> Arc<Monitor> {
    Monitor::watching(&context.informers, context.settings.eviction)
}

pub(super) fn register(
    context: &Context,
    monitor: &Arc<Monitor>,
    tasks: &mut JoinSet<()>,
) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let (listwatch, informers) = (context.listwatch.clone(), context.informers.clone());
    tasks.spawn(monitor.clone().run(listwatch, informers, queue.clone()));
    let wanted = queue.clone();
    context.informers.nodes.on_change(move |change: &Change<Node>| {
        change.new.iter().for_each(|node| wanted.add(ObjectKey::of(&node.metadata)));
    });
    let controller = NodeLifecycle {
        client: context.client(),
        clock: context.clock,
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
        monitor: monitor.clone(),
    };
    let Informers { pods, nodes, node_leases, .. } = &context.informers;
    Registered::new(controller, queue).reads(pods).reads(nodes).reads(node_leases)
}

struct NodeLifecycle {
    client: Client,
    clock: Clock,
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
        let Some(health) = self.monitor.health(&key.name) else { return Ok(Next::Change) };
        let mut turn = Turn { monitor: &self.monitor, node: &key.name, wait: None };
        if let Some(why) = turn.why(health) {
            self.mark_unknown(&node, why).await?;
        }
        let no_execute = turn.no_execute(&node, health);
        self.taint(&node, no_execute).await?;
        let pods = self.take_out_of_service(&node).await?;
        // The monitor says when the health changes, and the informer when the node does.
        Ok(turn.wait.into_iter().chain(pods).min().map_or(Next::Change, Next::After))
    }
}

/// For how much longer a node may say that it is not ready without being believed; `None` if it does not
/// say so, or is.
fn in_passing(monitor: &Monitor, node: &str) -> Option<Duration> {
    let rest = NOT_READY_PATIENCE.saturating_sub(monitor.not_ready_for(node)?);
    (!rest.is_zero()).then_some(rest)
}

/// Asks whether it is the node's turn to be given up, and remembers when to ask again.
struct Turn<'a> {
    monitor: &'a Monitor,
    node: &'a str,
    wait: Option<Duration>,
}

impl Turn<'_> {
    fn has_come(&mut self, eviction: Eviction) -> bool {
        let admitted = self.monitor.admit(self.node, eviction);
        self.wait = self.wait.into_iter().chain(admitted.err()).min();
        admitted.is_ok()
    }

    /// Why the node's status is to be marked unknown, if it is. That its host is gone is what lets pods
    /// leave at once, so it is only written in the node's turn.
    fn why(&mut self, health: NodeHealth) -> Option<Why> {
        match health {
            NodeHealth::Reachable => None,
            NodeHealth::HostGone if self.has_come(Eviction::AtOnce) => Some(Why::HostGone),
            NodeHealth::HostGone | NodeHealth::StatusUnknown => Some(Why::StatusUnknown),
        }
    }

    fn no_execute(&mut self, node: &Node, health: NodeHealth) -> NoExecute {
        let status = nodes::ready_status(node);
        if status == "True" {
            return NoExecute::Keep;
        }
        if health == NodeHealth::HostGone {
            return if self.has_come(Eviction::AtOnce) { NoExecute::Set } else { NoExecute::Keep };
        }
        if self.monitor.is_stopped(self.node) {
            // Asked again: nobody tells when most nodes are well again, if this one is not.
            self.wait = Some(Duration::from_secs(1));
            return NoExecute::Remove;
        }
        if let Some(patience) = in_passing(self.monitor, self.node) {
            self.wait = Some(patience);
            return NoExecute::Keep;
        }
        // What was written before we listened is not believed before it is heard again.
        let believed = status == "False" || health == NodeHealth::StatusUnknown;
        let needed = believed && !taints::drives_away(node);
        if needed && self.has_come(Eviction::Tolerated) { NoExecute::Set } else { NoExecute::Keep }
    }
}

impl NodeLifecycle {
    async fn mark_unknown(&self, node: &Node, why: Why) -> Result<(), Error> {
        let name = nodes::name(node);
        let Some(patch) = conditions::unknown(node, why, self.clock.now()) else { return Ok(()) };
        tracing::warn!(node = name, ?why, "nothing is heard of the node");
        let api = Api::<Node>::all(self.client.clone());
        let patched =
            api.patch_status(name, &PatchParams::default(), &Patch::Strategic(patch)).await;
        patched.unless_gone("marking a silent node")?;
        if nodes::is_ready(node) {
            let message = format!("Node {name} status is now: NodeNotReady");
            self.recorder.about(node, EventType::Normal, "NodeNotReady", message);
        }
        Ok(())
    }

    /// Pods of a node that is silent, or not ready for some time, serve nobody: services should leave them
    /// out. Returns when to look again.
    async fn take_out_of_service(&self, node: &Node) -> Result<Option<Duration>, Error> {
        let name = nodes::name(node);
        if nodes::is_ready(node) {
            return Ok(None);
        }
        if let Some(patience) = in_passing(&self.monitor, name) {
            return Ok(Some(patience));
        }
        let here = self.informers.pods.on_node(name);
        let serving = here.iter().filter(|pod| pods::is_ready(pod));
        let patches = serving.map(|pod| self.mark_not_ready(pod));
        join_all(patches).await.into_iter().collect::<Result<(), Error>>()?;
        Ok(None)
    }

    async fn mark_not_ready(&self, pod: &Pod) -> Result<(), Error> {
        let key = ObjectKey::of(&pod.metadata);
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let patch = Patch::Strategic(json!({
            "metadata": {"uid": pod.metadata.uid},
            "status": {"conditions": [{
                "type": "Ready", "status": "False", "reason": "NodeNotReady",
                "lastTransitionTime": self.clock.now(),
            }]},
        }));
        let patched = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        if patched.unless_gone("marking a pod of a silent node")?.is_some() {
            let message = "Node is not ready".to_owned();
            self.recorder.about(pod, EventType::Warning, "NodeNotReady", message);
        }
        Ok(())
    }

    async fn taint(&self, node: &Node, no_execute: NoExecute) -> Result<(), Error> {
        let Some(taints) = taints::due(node, no_execute, self.clock.now()) else { return Ok(()) };
        let api = Api::<Node>::all(self.client.clone());
        let patch = Patch::Merge(json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "spec": {"taints": taints},
        }));
        let patched = api.patch(nodes::name(node), &PatchParams::default(), &patch).await;
        patched.unless_gone("tainting a node").map(|_| ())
    }
}
