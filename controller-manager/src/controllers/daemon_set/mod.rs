//! Keeps a pod on each node that it may run on.
//!
//! *Flow*: claim the pods, find or make the revision of the template ([`crate::history`]), work out which pods to make and
//! delete ([`plan`]), write the status, forget old revisions.
//!
//! *Guarantees*: pods are bound to their nodes by the scheduler, which they tell by an affinity; the set's own writes are
//! waited for before the next look. A pod that fails on a node again and again is made anew ever less often.

mod backoff;
mod placement;
mod plan;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetSpec, DaemonSetStatus};
use api_types::api::core::v1::{Node, Pod};
use component::events::{EventType, Recorder};
use futures::future::join_all;
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Informer, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::history::{self, History, REVISION_LABEL, Revisions};
use crate::indexes::{Selecting, SelectsNothing};
use crate::informers::Informers;
use crate::pod_control::{self, Claims, PodControl};
use crate::pods;
use backoff::Backoff;
use placement::Placement;
use plan::{Plan, View};

const NAME: &str = "daemonset-controller";

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

/// Pods made or deleted for one set in one go.
const BURST: usize = 250;

const DEFAULT_HISTORY: i32 = 10;

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { pods, nodes, daemon_sets, controller_revisions, .. } = &context.informers;
    let changed = queue.clone();
    daemon_sets.on_change(move |change: &Change<DaemonSet>| {
        change.latest().into_iter().for_each(|set| changed.add(ObjectKey::of(&set.metadata)));
    });
    pod_control::watch(pods, daemon_sets, &queue);
    let (sets, changed) = (daemon_sets.clone(), queue.clone());
    nodes.on_change(move |change: &Change<Node>| {
        concerned(&sets, change).into_iter().for_each(|key| changed.add(key));
    });
    Registered::new(DaemonSets::new(context), queue)
        .reads(pods)
        .reads(nodes)
        .reads(daemon_sets)
        .reads(controller_revisions)
}

/// The sets for which another place is made of a node. Nodes say all the time how they are: most of that concerns none.
fn concerned(sets: &Informer<DaemonSet>, change: &Change<Node>) -> Vec<ObjectKey> {
    let is_same = |old: &Node, new: &Node| {
        (&old.metadata.labels, &old.spec) == (&new.metadata.labels, &new.spec)
    };
    let (old, new) = (change.old.as_deref(), change.new.as_deref());
    if old.zip(new).is_some_and(|(old, new)| is_same(old, new)) {
        return Vec::new();
    }
    let is_moved = |set: &DaemonSet| {
        let Some(placement) = set.spec.as_ref().map(Placement::of) else { return false };
        let place = |node: Option<&Node>| node.map(|node| placement.on(node));
        place(old) != place(new)
    };
    sets.filter(is_moved).iter().map(|set| ObjectKey::of(&set.metadata)).collect()
}

struct DaemonSets {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    informers: Informers,
    control: PodControl<DaemonSet>,
    pods: Claims<DaemonSet, Pod>,
    history: History<DaemonSet>,
    backoff: Mutex<Backoff>,
}

#[async_trait::async_trait]
impl Controller for DaemonSets {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.informers.daemon_sets.get(key) else {
            self.forget(key);
            return Ok(Next::Change);
        };
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let (Some(selector), Some(spec)) = (set.selector(), &set.spec) else {
            return Err(SelectsNothing.into());
        };
        self.control.settle(key, &set).await?;
        if !self.control.shows_own_writes(key) || !self.history.shows_own_writes(key) {
            return Ok(Next::After(UNSEEN));
        }
        let owned = self.pods.claim(key, &set, &selector).await?;
        let collisions = set.status.as_ref().and_then(|it| it.collision_count).unwrap_or(0);
        let found = self.history.revisions(key, &set, &selector, &spec.template, collisions);
        let Some(revisions) = found.await? else { return Ok(Next::Change) };
        let (placement, hashes) = (Placement::of(spec), hashes(&revisions));
        let (nodes, now) = (self.informers.nodes.filter(|_| true), self.clock.now());
        let view = View::new((set.as_ref(), spec), &placement, &hashes, &nodes, &owned, now);
        let (held, wait) = self.held(key, &view);
        let acted = self.act(key, &view, &view.plan(&held)).await;
        let (status, next) = status::of(&view, revisions.collisions);
        self.write_status(key, &set, &status).await?;
        acted?;
        self.forget_old(key, spec, &revisions, &owned).await?;
        Ok(wait.map_or(next, |wait| next.or_after(wait)))
    }
}

/// Those by which pods are of the template: that of its revision first. Somebody may have made another revision of it.
fn hashes(revisions: &Revisions) -> Vec<String> {
    let of_template = revisions.of_template();
    of_template.map(|revision| hash(revision).to_owned()).collect()
}

/// One that somebody has made without a hash goes by its name.
fn hash(revision: &ControllerRevision) -> &str {
    let labels = revision.metadata.labels.as_ref();
    let hash = labels.and_then(|labels| labels.get(REVISION_LABEL));
    hash.map_or_else(|| history::name(revision), String::as_str)
}

impl DaemonSets {
    fn new(context: &Context) -> Self {
        let (client, informers) = (context.client(), context.informers.clone());
        let recorder = context.recorder(NAME);
        let control = PodControl::new(client.clone(), recorder.clone(), informers.pods.clone());
        let pods = control.claims(|pod| !pods::is_terminating(pod));
        let revisions = informers.controller_revisions.clone();
        let history = History::new(client.clone(), revisions).labelled(REVISION_LABEL);
        let (clock, backoff) = (context.clock, Mutex::default());
        Self { client, clock, recorder, informers, control, pods, history, backoff }
    }

    fn forget(&self, key: &ObjectKey) {
        self.control.forget(key);
        self.history.forget(key);
        self.backoff.lock().forget(key);
    }

    /// The nodes on which a pod that has failed stays for now, and until when the first of them does.
    fn held(&self, key: &ObjectKey, view: &View<'_>) -> (BTreeSet<String>, Option<Duration>) {
        let (backoff, now) = (self.backoff.lock(), Instant::now());
        let generation = view.set.metadata.generation.unwrap_or(0);
        let has_failed = |pods: &[Arc<Pod>]| pods.iter().any(|pod| pods::phase(pod) == "Failed");
        let failed = view.on_node.iter().filter(|(_, pods)| has_failed(pods));
        let held = failed.filter_map(|(node, _)| {
            Some((node.clone(), backoff.left(key, generation, node, now)?))
        });
        let (nodes, waits): (_, Vec<_>) = held.unzip();
        (nodes, waits.into_iter().min())
    }

    async fn act(&self, key: &ObjectKey, view: &View<'_>, plan: &Plan) -> Result<(), Error> {
        let (placement, hash) = (view.placement, &view.hashes[0]);
        let make = |node: &String| placement.pod(view.set, view.spec, node, hash);
        let create: Vec<_> = plan.create.iter().take(BURST).map(make).collect();
        let delete = &plan.delete[..plan.delete.len().min(BURST)];
        let created = self.control.create(key, view.set, &create).await;
        let ended = |pod: &Arc<Pod>| {
            let found = plan.ended.iter().find(|(_, ended)| Arc::ptr_eq(ended, pod));
            found.map(|(node, _)| node.as_str())
        };
        let deletions = delete.iter().map(|pod| self.delete(key, view.set, pod, ended(pod)));
        let deleted: Result<(), Error> = join_all(deletions).await.into_iter().collect();
        deleted.and(created)
    }

    /// `ended`: the node on which it has, if so.
    async fn delete(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        pod: &Arc<Pod>,
        ended: Option<&str>,
    ) -> Result<(), Error> {
        if let Some(node) = ended {
            self.tell_of_end(set, node, pod);
        }
        self.control.delete(key, set, std::slice::from_ref(pod)).await?;
        if let Some(node) = ended.filter(|_| pods::phase(pod) == "Failed") {
            let generation = set.metadata.generation.unwrap_or(0);
            self.backoff.lock().renew(key, generation, node, Instant::now());
        }
        Ok(())
    }

    fn tell_of_end(&self, set: &DaemonSet, node: &str, pod: &Pod) {
        let failed = pods::phase(pod) == "Failed";
        let (type_, reason, phase, done) = match failed {
            true => (EventType::Warning, "FailedDaemonPod", "failed", "kill"),
            false => (EventType::Normal, "SucceededDaemonPod", "succeeded", "delete"),
        };
        let pod = ObjectKey::of(&pod.metadata);
        let message =
            format!("Found {phase} daemon pod {pod} on node {node}, will try to {done} it");
        self.recorder.about(set, type_, reason, message);
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &DaemonSet,
        status: &DaemonSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let api = Api::<DaemonSet>::namespaced(self.client.clone(), &key.namespace);
        let uid = &set.metadata.uid;
        let patch = json!({"metadata": {"uid": uid}, "status": status::patch(status)});
        let patch = Patch::Merge(patch);
        let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        written.unless_gone("writing the status").map(drop)
    }

    /// As with Kubernetes, those in use count among those that are kept.
    async fn forget_old(
        &self,
        key: &ObjectKey,
        spec: &DaemonSetSpec,
        revisions: &Revisions,
        owned: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let hashes: BTreeSet<&str> =
            owned.iter().filter_map(|pod| placement::hash_of(pod)).collect();
        let used = revisions.before.iter().filter(|revision| hashes.contains(hash(revision)));
        let used: BTreeSet<_> = used.map(|revision| history::name(revision).to_owned()).collect();
        let limit = spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY);
        let others = limit.saturating_sub_unsigned(used.len().try_into().unwrap_or(u32::MAX));
        self.history.delete(key, &revisions.forgotten(&used, others.max(0))).await
    }
}

#[cfg(test)]
mod tests;
