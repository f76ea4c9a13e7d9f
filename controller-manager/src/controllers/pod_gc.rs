//! Removes pods that nobody will remove: those bound to a node that does not exist (any more), those that
//! end on a node that an administrator has put out of service, those that were deleted before they got
//! a node, and the oldest of the finished ones when there are too many.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Node, Pod};
use kube::{Api, Client};

use super::pod_disruption::{self, Disruption};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::{nodes, pods};

const NAME: &str = "pod-garbage-collector";
/// How often finished pods are counted, and nodes looked for that were not seen yet.
const COUNT: Duration = Duration::from_secs(20);
const REASON: &str = "DeletionByPodGC";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch(&context.informers, &queue);
    queue.add(all_finished());
    let controller = PodGc {
        client: context.client(),
        clock: context.clock,
        informers: context.informers.clone(),
        finished_threshold: context.settings.eviction.terminated_pod_gc_threshold,
    };
    let Informers { pods, nodes, .. } = &context.informers;
    Registered::new(controller, queue).reads(pods).reads(nodes)
}

/// The key that stands for the finished pods: no pod has it.
fn all_finished() -> ObjectKey {
    ObjectKey::cluster("")
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    // The pods' handler holds the nodes: were both to hold each other, they would outlive their term.
    let (orphans, all) = (queue.clone(), Arc::downgrade(&informers.pods));
    informers.nodes.on_change(move |change: &Change<Node>| {
        let (Some(node), Some(all)) = (change.latest(), all.upgrade()) else { return };
        if change.new.is_none() || is_out_of_service(node) {
            let here = all.on_node(nodes::name(node));
            here.iter().for_each(|pod| orphans.add(ObjectKey::of(&pod.metadata)));
        }
    });
    let (suspects, nodes) = (queue.clone(), informers.nodes.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        let node_of = |node: &str| nodes.get(&ObjectKey::cluster(node));
        if let Some(pod) = change.new.as_ref().filter(|pod| suspicion(pod, node_of).is_some()) {
            suspects.add(ObjectKey::of(&pod.metadata));
        }
    });
}

/// Why a pod should be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suspicion {
    /// Its node does not exist.
    Orphaned,
    /// It ends on a node that will not end it.
    OutOfService,
    /// It ends and was never bound.
    NeverBound,
}

impl Suspicion {
    fn disruption(self) -> Option<Disruption> {
        let message = match self {
            Suspicion::Orphaned => "PodGC: node no longer exists",
            Suspicion::OutOfService => "PodGC: node out-of-service",
            Suspicion::NeverBound => return None,
        };
        Some(Disruption { reason: REASON, message })
    }
}

fn suspicion(pod: &Pod, node: impl FnOnce(&str) -> Option<Arc<Node>>) -> Option<Suspicion> {
    let terminating = pods::is_terminating(pod);
    let Some(name) = pods::node_of(pod) else {
        return terminating.then_some(Suspicion::NeverBound);
    };
    match node(name) {
        None => Some(Suspicion::Orphaned),
        Some(node) if terminating && is_out_of_service(&node) => Some(Suspicion::OutOfService),
        Some(_) => None,
    }
}

/// A node that is ready is in service, whatever its taints say.
fn is_out_of_service(node: &Node) -> bool {
    let tainted = nodes::taints(node).iter().any(|taint| taint.key == nodes::OUT_OF_SERVICE);
    tainted && !nodes::is_ready(node)
}

struct PodGc {
    client: Client,
    clock: Clock,
    informers: Informers,
    finished_threshold: usize,
}

#[async_trait::async_trait]
impl Controller for PodGc {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if *key == all_finished() {
            return self.remove_finished().await.map(|()| Next::After(COUNT));
        }
        let Some(pod) = self.informers.pods.get(key) else { return Ok(Next::Change) };
        let node_of = |node: &str| self.informers.nodes.get(&ObjectKey::cluster(node));
        match suspicion(&pod, node_of) {
            None => return Ok(Next::Change),
            // The store may lag behind: the node may just have joined. It may be gone again before it is ever
            // seen, and then nobody tells.
            Some(Suspicion::Orphaned) if self.node_exists(&pod).await? => {
                return Ok(Next::After(COUNT));
            }
            Some(suspicion) => self.remove(&pod, suspicion).await?,
        }
        Ok(Next::Change)
    }
}

impl PodGc {
    /// A pod that nobody runs any more has failed, or it would be running for ever for those who count.
    async fn remove(&self, pod: &Pod, suspicion: Suspicion) -> Result<(), Error> {
        let key = ObjectKey::of(&pod.metadata);
        tracing::info!(pod = %key, ?suspicion, "removing a pod that nobody runs");
        let disruption = suspicion.disruption();
        let now = self.clock.now();
        pod_disruption::note(&self.client, pod, Some("Failed"), disruption, now).await?;
        pod_disruption::delete(&self.client, pod, Some(0), "removing a pod").await.map(|_| ())
    }

    async fn node_exists(&self, pod: &Pod) -> Result<bool, Error> {
        let Some(node) = pods::node_of(pod) else { return Ok(false) };
        let api = Api::<Node>::all(self.client.clone());
        Ok(api.get_opt(node).await.step("looking for a pod's node")?.is_some())
    }

    async fn remove_finished(&self) -> Result<(), Error> {
        let finished = self.informers.pods.filter(pods::is_finished);
        let mut result = Ok(());
        for pod in surplus(finished, self.finished_threshold) {
            let removed =
                pod_disruption::delete(&self.client, &pod, Some(0), "removing a finished pod")
                    .await;
            // One that cannot be removed keeps no other.
            result = result.and(removed.map(|_| ()));
        }
        result
    }
}

/// The pods over the threshold: evicted ones first, then the oldest. A threshold of zero keeps all.
fn surplus(mut finished: Vec<Arc<Pod>>, threshold: usize) -> Vec<Arc<Pod>> {
    if threshold == 0 {
        return Vec::new();
    }
    let is_evicted = |pod: &Pod| {
        pod.status.as_ref().and_then(|status| status.reason.as_deref()) == Some("Evicted")
    };
    finished.sort_by_cached_key(|pod| {
        let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0);
        (Reverse(is_evicted(pod)), created, pod.metadata.name.clone())
    });
    finished.truncate(finished.len().saturating_sub(threshold));
    finished
}

#[cfg(test)]
mod tests {
    use kube::api::{DeleteParams, PostParams};
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn node(ready: &str, taints: Value) -> Arc<Node> {
        let conditions = json!([{"type": "Ready", "status": ready}]);
        let node = json!({"spec": {"taints": taints}, "status": {"conditions": conditions}});
        Arc::new(serde_json::from_value(node).unwrap())
    }

    #[test]
    fn only_pods_without_a_node_to_run_them_are_suspected() {
        let check = |node_name: Option<&str>, terminating: bool, expected| {
            let deletion = terminating.then_some("2026-01-01T00:00:00Z");
            let pod = json!({"metadata": {"deletionTimestamp": deletion}, "spec": {"nodeName": node_name, "containers": []}});
            let pod = serde_json::from_value(pod).unwrap();
            let shut_down = json!([{"key": nodes::OUT_OF_SERVICE, "effect": "NoExecute"}]);
            let node = |name: &str| match name {
                "here" => Some(node("Unknown", json!([]))),
                "returned" => Some(node("True", shut_down)),
                "shut-down" => Some(node("Unknown", shut_down)),
                _ => None,
            };
            assert_eq!(suspicion(&pod, node), expected, "{pod:?}");
        };
        check(Some("here"), false, None);
        check(Some("here"), true, None);
        check(Some("returned"), true, None);
        check(Some("shut-down"), false, None);
        check(Some("shut-down"), true, Some(Suspicion::OutOfService));
        check(Some("gone"), false, Some(Suspicion::Orphaned));
        check(Some("gone"), true, Some(Suspicion::Orphaned));
        check(None, false, None);
        check(None, true, Some(Suspicion::NeverBound));
    }

    #[test]
    fn the_oldest_finished_pods_are_too_many_and_evicted_ones_before_all() {
        let pod = |name: &str, second: u32, reason: Option<&str>| -> Arc<Pod> {
            let created = format!("2026-01-01T00:00:{second:02}Z");
            let metadata = json!({"name": name, "creationTimestamp": created});
            let pod =
                json!({"metadata": metadata, "status": {"phase": "Failed", "reason": reason}});
            Arc::new(serde_json::from_value(pod).unwrap())
        };
        let all = vec![
            pod("new", 30, None),
            pod("old", 10, None),
            pod("evicted", 20, Some("Evicted")),
            pod("middle", 15, None),
        ];
        let check = |threshold, expected: &[&str]| {
            let surplus = surplus(all.clone(), threshold);
            let names = surplus.iter().filter_map(|pod| pod.metadata.name.as_deref());
            assert_eq!(names.collect::<Vec<_>>(), expected);
        };
        check(4, &[]);
        check(3, &["evicted"]);
        check(1, &["evicted", "old", "middle"]);
        check(0, &[]);
    }

    fn gc(client: Client, informers: Informers, finished_threshold: usize) -> PodGc {
        PodGc { client, clock: Clock::default(), informers, finished_threshold }
    }

    #[tokio::test]
    async fn a_node_that_comes_and_goes_unseen_leaves_no_pod_behind() {
        let plane = testkit::ControlPlane::start().await;
        let (informers, client) = (Informers::default(), plane.client());
        let gc = gc(client.clone(), informers, 0);
        let (nodes, pods) = (Api::all(client.clone()), Api::namespaced(client, "default"));
        let node: Node = testkit::node("unseen").build();
        nodes.create(&PostParams::default(), &node).await.unwrap();
        let pod = testkit::pod("a").with(|pod| {
            pod.spec.get_or_insert_default().node_name = Some("unseen".to_owned());
        });
        let pod: Pod = pods.create(&PostParams::default(), &pod.build()).await.unwrap();
        gc.informers.pods.take_in(Event::Apply(pod));
        let key = ObjectKey::new("default", "a");
        assert_eq!(gc.reconcile(&key).await.unwrap(), Next::After(COUNT));
        nodes.delete("unseen", &DeleteParams::default()).await.unwrap();
        assert_eq!(gc.reconcile(&key).await.unwrap(), Next::Change);
        assert!(pods.get_opt("a").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_finished_pod_that_cannot_be_removed_keeps_no_other_and_all_are_counted_again() {
        let plane = testkit::ControlPlane::start().await;
        let (informers, client) = (Informers::default(), plane.client());
        let gc = gc(client.clone(), informers, 1);
        let pods = Api::<Pod>::namespaced(client, "default");
        for name in ["a", "b", "c"] {
            let pod = testkit::pod(name).build();
            let mut pod = pods.create(&PostParams::default(), &pod).await.unwrap();
            pod.status.get_or_insert_default().phase = Some("Failed".to_owned());
            gc.informers.pods.take_in(Event::Apply(pod));
        }
        let cut = plane
            .refuse(|request| request.method() == "DELETE" && request.uri().path().ends_with("/a"));
        gc.reconcile(&all_finished()).await.unwrap_err();
        drop(cut);
        pods.get("a").await.unwrap();
        assert!(pods.get_opt("b").await.unwrap().is_none());
        assert_eq!(gc.reconcile(&all_finished()).await.unwrap(), Next::After(COUNT));
        assert!(pods.get_opt("a").await.unwrap().is_none());
        pods.get("c").await.unwrap();
    }
}
