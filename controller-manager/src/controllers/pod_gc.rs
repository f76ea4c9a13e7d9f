//! Removes pods that nobody will remove: those bound to a node that does not exist (any more), and
//! those that were deleted before they got a node.

use std::sync::Arc;

use api_types::api::core::v1::{Node, Pod};
use kube::api::{DeleteParams, Preconditions};
use kube::{Api, Client};

use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::pods;

const NAME: &str = "pod-garbage-collector";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    let controller = PodGc { client: context.client(), informers: context.informers.clone() };
    Registered::new(controller, queue)
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (orphans, all) = (queue.clone(), informers.pods.clone());
    informers.nodes.on_change(move |change: &Change<Node>| {
        if let (Some(node), None) = (&change.old, &change.new) {
            let name = node.metadata.name.as_deref();
            let here = all.filter(|pod| pods::node_of(pod) == name);
            here.iter().for_each(|pod| orphans.add(ObjectKey::of(&pod.metadata)));
        }
    });
    let (suspects, nodes) = (queue.clone(), informers.nodes.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        if let Some(pod) = change.new.as_ref().filter(|pod| {
            suspicion(pod, |node| nodes.get(&ObjectKey::cluster(node)).is_some()).is_some()
        }) {
            suspects.add(ObjectKey::of(&pod.metadata));
        }
    });
}

/// Why a pod should be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// Its node does not exist.
    Orphaned,
    /// It ends and was never bound.
    NeverBound,
}

fn suspicion(pod: &Pod, node_exists: impl FnOnce(&str) -> bool) -> Option<Suspicion> {
    match pods::node_of(pod) {
        Some(node) if !node_exists(node) => Some(Suspicion::Orphaned),
        None if pods::is_terminating(pod) => Some(Suspicion::NeverBound),
        _ => None,
    }
}

struct PodGc {
    client: Client,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for PodGc {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(pod) = self.informers.pods.get(key) else { return Ok(Next::Change) };
        let known = |node: &str| self.informers.nodes.get(&ObjectKey::cluster(node)).is_some();
        match suspicion(&pod, known) {
            None => return Ok(Next::Change),
            // The store may lag behind: the node may just have joined.
            Some(Suspicion::Orphaned) if self.node_exists(&pod).await? => return Ok(Next::Change),
            Some(suspicion) => tracing::info!(?suspicion, "removing a pod that nobody runs"),
        }
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let this_one = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let how = DeleteParams::default().grace_period(0).preconditions(this_one);
        api.delete(&key.name, &how).await.unless_gone("removing a pod")?;
        Ok(Next::Change)
    }
}

impl PodGc {
    async fn node_exists(&self, pod: &Pod) -> Result<bool, Error> {
        let Some(node) = pods::node_of(pod) else { return Ok(false) };
        let api = Api::<Node>::all(self.client.clone());
        Ok(api.get_opt(node).await.step("looking for a pod's node")?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_pods_without_a_node_to_run_them_are_suspected() {
        let check = |node: Option<&str>, terminating: bool, expected| {
            let deletion = terminating.then_some("2026-01-01T00:00:00Z");
            let pod = json!({"metadata": {"deletionTimestamp": deletion}, "spec": {"nodeName": node, "containers": []}});
            let pod = serde_json::from_value(pod).unwrap();
            assert_eq!(suspicion(&pod, |node| node == "here"), expected, "{pod:?}");
        };
        check(Some("here"), false, None);
        check(Some("here"), true, None);
        check(Some("gone"), false, Some(Suspicion::Orphaned));
        check(Some("gone"), true, Some(Suspicion::Orphaned));
        check(None, false, None);
        check(None, true, Some(Suspicion::NeverBound));
    }
}
