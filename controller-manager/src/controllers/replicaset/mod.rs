//! Keeps as many pods as a ReplicaSet says.
//!
//! *Flow*: claim the pods (adopt orphans that match, release owned ones that no longer do), compare the
//! number of active ones with `spec.replicas`, create or delete the difference in parallel, write the
//! status.
//!
//! *Guarantees*: no more pods than wanted are created, however far the store lags behind, because the
//! set's own writes are waited for before the next pods are created or deleted, those too whose answer
//! was lost. If they take long to come back, the status is written meanwhile from what is seen.

mod claim;
mod create;
mod status;
mod victims;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_machinery::LabelSelector;
use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use component::events::{EventType, Recorder};
use futures::future::join_all;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Expectations, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::informers::Informers;
use crate::owners::{controller_of, is_controlled_by};
use crate::pods;
use claim::Claim;

const NAME: &str = "replicaset-controller";

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

/// Pods created or deleted for one set in one go.
const BURST: usize = 500;

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch_sets(&context.informers, &queue);
    watch_pods(&context.informers, &queue);
    let controller = ReplicaSets {
        client: context.client(),
        clock: context.clock,
        informers: context.informers.clone(),
        recorder: context.recorder(NAME),
        expectations: Expectations::default(),
        unanswered: Mutex::default(),
    };
    let workers = context.settings.workers.concurrent_replicaset_syncs;
    let Informers { pods, replica_sets, .. } = &context.informers;
    Registered::new(controller, queue).with_workers(workers).reads(pods).reads(replica_sets)
}

fn watch_sets(informers: &Informers, queue: &Arc<WorkQueue>) {
    let queue = queue.clone();
    informers.replica_sets.on_change(move |change: &Change<ReplicaSet>| {
        change.latest().into_iter().for_each(|set| queue.add(ObjectKey::of(&set.metadata)));
    });
}

/// A pod concerns its controller; without one, every set that would adopt it.
fn watch_pods(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (queue, sets) = (queue.clone(), informers.replica_sets.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        for pod in change.versions() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == "ReplicaSet" => {
                    queue.add(ObjectKey::new(namespace, &owner.name));
                }
                Some(_) => {}
                None => sets
                    .filter_in(namespace, |set| selector(set).is_some_and(|s| selects(&s, pod)))
                    .iter()
                    .for_each(|set| queue.add(ObjectKey::of(&set.metadata))),
            }
        }
    });
}

/// The set's selector; `None` if it is invalid or empty, which must not mean "every pod".
fn selector(set: &ReplicaSet) -> Option<LabelSelector> {
    let selector = LabelSelector::try_from(&set.spec.as_ref()?.selector).ok()?;
    (!selector.is_everything()).then_some(selector)
}

fn selects(selector: &LabelSelector, pod: &Pod) -> bool {
    pod.metadata.labels.as_ref().is_some_and(|labels| selector.matches(labels))
}

struct ReplicaSets {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
    expectations: Expectations,
    /// Sets of which a pod may have been created though the answer says nothing of it.
    unanswered: Mutex<HashSet<ObjectKey>>,
}

#[async_trait::async_trait]
impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(set) = self.informers.replica_sets.get(key) else {
            self.expectations.forget(key);
            self.unanswered.lock().remove(key);
            return Ok(Next::Change);
        };
        let Some(selector) = selector(&set) else {
            tracing::warn!("the selector selects nothing");
            return Ok(Next::Change);
        };
        self.settle(key, &set).await?;
        // Asked before the pods are read: they are then no older than the answer.
        let may_act = self.expectations.are_met(key, &self.informers.pods);
        if !may_act && self.expectations.waited(key) < UNSEEN {
            return Ok(Next::After(UNSEEN));
        }
        let owned = match may_act {
            true => self.claim(key, &set, &selector).await?,
            false => self.look(key, &set, &selector).owned,
        };
        let managed = match set.metadata.deletion_timestamp {
            None if may_act => self.manage(key, &set, &active(&owned)).await,
            _ => Ok(()),
        };
        let next = self.write_status(key, &set, &owned, managed.as_ref().err()).await?;
        managed.map_err(|failure| failure.error)?;
        Ok(if may_act { next } else { next.or_after(UNSEEN) })
    }
}

fn active(pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect()
}

/// Pods could not be created or deleted.
struct Failure {
    /// Which of the two, in the word of the condition `ReplicaFailure`.
    reason: &'static str,
    error: Error,
}

impl ReplicaSets {
    fn pods(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    /// Finds out what has become of creations that were not answered, and waits for it like for others.
    async fn settle(&self, key: &ObjectKey, set: &ReplicaSet) -> Result<(), Error> {
        if !self.unanswered.lock().contains(key) {
            return Ok(());
        }
        let api = Api::<PartialObjectMeta<Pod>>::namespaced(self.client.clone(), &key.namespace);
        let all = api.list(&ListParams::default()).await.step("looking for created pods")?;
        let uid = set.metadata.uid.as_deref().unwrap_or_default();
        for pod in all.items.iter().filter(|pod| is_controlled_by(&pod.metadata, uid)) {
            self.expectations.written(key, self.informers.pods.mark_of(&pod.metadata));
        }
        self.unanswered.lock().remove(key);
        Ok(())
    }

    fn look(&self, key: &ObjectKey, set: &ReplicaSet, selector: &LabelSelector) -> Claim {
        let candidates = self
            .informers
            .pods
            .filter_in(&key.namespace, |pod| claim::concerns(set, selector, pod));
        claim::decide(set, selector, &candidates)
    }

    /// The set's pods, after adoption and release.
    async fn claim(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        selector: &LabelSelector,
    ) -> Result<Vec<Arc<Pod>>, Error> {
        let claim = self.look(key, set, selector);
        if !claim.adopt.is_empty() && !self.may_adopt(key, set).await? {
            return Ok(claim.owned);
        }
        let changes = claim.adopt.iter().chain(&claim.release);
        let patches = changes.map(|(pod, references)| self.patch_owners(key, pod, references));
        join_all(patches).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
        Ok(claim.owned.into_iter().chain(claim.adopt.into_iter().map(|(pod, _)| pod)).collect())
    }

    /// Asks the API server itself: the set may be on its way out, and the store not know it yet.
    async fn may_adopt(&self, key: &ObjectKey, set: &ReplicaSet) -> Result<bool, Error> {
        let api = Api::<ReplicaSet>::namespaced(self.client.clone(), &key.namespace);
        let current = api.get_opt(&key.name).await.step("reading the set before adopting")?;
        Ok(current.is_some_and(|current| {
            current.metadata.uid == set.metadata.uid
                && current.metadata.deletion_timestamp.is_none()
        }))
    }

    async fn patch_owners(
        &self,
        key: &ObjectKey,
        pod: &Pod,
        references: &claim::OwnerReferences,
    ) -> Result<(), Error> {
        let patch = Patch::Merge(json!({"metadata": {
            "uid": pod.metadata.uid,
            "resourceVersion": pod.metadata.resource_version,
            "ownerReferences": references,
        }}));
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let patched = self.pods(key).patch(name, &PatchParams::default(), &patch).await;
        if let Some(pod) = patched.unless_gone("changing the owner of a pod")? {
            self.expectations.written(key, self.informers.pods.mark(&pod));
        }
        Ok(())
    }

    async fn manage(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        active: &[Arc<Pod>],
    ) -> Result<(), Failure> {
        let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
        let wanted = usize::try_from(wanted).unwrap_or_default();
        if active.len() < wanted {
            let created = self.create(key, set, (wanted - active.len()).min(BURST)).await;
            return created.map_err(|error| Failure { reason: "FailedCreate", error });
        }
        let surplus = (active.len() - wanted).min(BURST);
        let related = self.related(key, set, active);
        let victims = victims::choose(active, &related, surplus, self.clock.now());
        let deletions = victims.iter().map(|pod| self.delete(key, set, pod));
        let deleted: Result<(), Error> = join_all(deletions).await.into_iter().collect();
        deleted.map_err(|error| Failure { reason: "FailedDelete", error })
    }

    /// The active pods of all sets of the same controller: when a Deployment moves from one set to another,
    /// the pods of both are counted to see which node is the fullest.
    fn related(&self, key: &ObjectKey, set: &ReplicaSet, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(controller) = controller_of(&set.metadata) else { return own.to_vec() };
        let siblings = self
            .informers
            .replica_sets
            .filter_in(&key.namespace, |other| is_controlled_by(&other.metadata, &controller.uid));
        let uids: HashSet<&str> =
            siblings.iter().filter_map(|set| set.metadata.uid.as_deref()).collect();
        self.informers.pods.filter_in(&key.namespace, |pod| {
            let owner = controller_of(&pod.metadata);
            pods::is_active(pod) && owner.is_some_and(|owner| uids.contains(owner.uid.as_str()))
        })
    }

    async fn delete(&self, key: &ObjectKey, set: &ReplicaSet, pod: &Pod) -> Result<(), Error> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let this_one = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let how = DeleteParams::default().preconditions(this_one);
        let deleted = self.pods(key).delete(&name, &how).await.unless_gone("deleting a pod");
        let deleted = deleted.inspect_err(|error| {
            let message = format!("Error deleting: {}", error.reason());
            self.recorder.about(set, EventType::Warning, "FailedDelete", message);
        })?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        self.expectations.deleted(key, ObjectKey::of(&pod.metadata), uid);
        if deleted.is_some() {
            let message = format!("Deleted pod: {name}");
            self.recorder.about(set, EventType::Normal, "SuccessfulDelete", message);
        }
        Ok(())
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &ReplicaSet,
        owned: &[Arc<Pod>],
        failure: Option<&Failure>,
    ) -> Result<Next, Error> {
        let (status, next) = status::of(set, owned, failure, self.clock.now());
        if let Some(status) = status::patch(set, &status) {
            let api = Api::<ReplicaSet>::namespaced(self.client.clone(), &key.namespace);
            let patch =
                Patch::Merge(json!({"metadata": {"uid": set.metadata.uid}, "status": status}));
            let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
            written.unless_gone("writing the status")?;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod tests;
