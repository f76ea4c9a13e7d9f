//! Keeps pods that have names: as many as a StatefulSet says, each with what it stores.
//!
//! *Flow*: claim the pods, find or make the revision of the template ([`crate::history`]), work out which pods to make and
//! delete ([`plan`]), make the claims of those to make before them, write the status, forget old revisions.
//!
//! *Guarantees*: of a name there is one pod at a time, as the API server has no two of it; it is made anew only once it is
//! gone. In order (`OrderedReady`) a pod is made, or replaced, only when those before, or after, serve. The set's own
//! writes are waited for before the next look.

mod claims;
mod identity;
mod ordinals;
mod plan;
mod status;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetStatus};
use api_types::api::core::v1::{PersistentVolumeClaim, Pod};
use component::events::{EventType, Recorder};
use kube::api::{Patch, PatchParams, PostParams};
use kube::{Api, Client};
use serde_json::json;

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Expectations, Fault, Next, ObjectKey, Registered, Step, WorkQueue,
    code, reason,
};
use crate::history::{self, History, Revisions};
use crate::indexes::{Selecting, SelectsNothing};
use crate::informers::Informers;
use crate::pod_control::{self, Claims, PodControl};
use identity::Version;
use plan::Wanted;

const NAME: &str = "statefulset-controller";

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

const DEFAULT_HISTORY: i32 = 10;

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { pods, stateful_sets, controller_revisions, persistent_volume_claims, .. } =
        &context.informers;
    let changed = queue.clone();
    stateful_sets.on_change(move |change: &Change<StatefulSet>| {
        change.latest().into_iter().for_each(|set| changed.add(ObjectKey::of(&set.metadata)));
    });
    pod_control::watch(pods, stateful_sets, &queue);
    Registered::new(StatefulSets::new(context), queue)
        .reads(pods)
        .reads(stateful_sets)
        .reads(controller_revisions)
        .reads(persistent_volume_claims)
}

struct StatefulSets {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
    control: PodControl<StatefulSet>,
    pods: Claims<StatefulSet, Pod>,
    history: History<StatefulSet>,
    /// The statuses that were written and are not seen yet: they say which revision is the current one.
    statuses: Expectations,
    /// The same of claims whose owners were changed.
    claim_owners: Expectations,
}

#[derive(Debug, thiserror::Error)]
#[error("pvc {0} is being deleted")]
struct ClaimIsGoing(String);

impl Fault for ClaimIsGoing {
    fn may_pass(&self) -> bool {
        true
    }
}

#[async_trait::async_trait]
impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if !self.statuses.are_met(key, &self.informers.stateful_sets) {
            return Ok(Next::After(UNSEEN));
        }
        let Some(set) = self.informers.stateful_sets.get(key) else {
            self.forget(key);
            return Ok(Next::Change);
        };
        let (Some(selector), Some(spec)) = (set.selector(), &set.spec) else {
            return Err(SelectsNothing.into());
        };
        self.control.settle(key, &set).await?;
        if !self.shows_own_writes(key) {
            return Ok(Next::After(UNSEEN));
        }
        let owned = self.pods.claim(key, &set, &selector).await?;
        let collisions = set.status.as_ref().and_then(|it| it.collision_count).unwrap_or(0);
        let found = self.history.revisions(key, &set, &selector, &spec.template, collisions);
        let Some(revisions) = found.await? else { return Ok(Next::Change) };
        let [current, update] = versions(&set, spec, &revisions);
        let now = self.clock.now();
        let wanted = Wanted { set: &set, spec, current: &current, update: &update, now };
        let acted = match set.metadata.deletion_timestamp {
            None => self.act(key, &wanted, &owned).await,
            Some(_) => Ok(()),
        };
        let (status, next) = status::of(&wanted, &owned, revisions.collisions);
        self.write_status(key, &set, &status).await?;
        acted?;
        self.forget_old(key, spec, &revisions, &status, &owned).await?;
        Ok(next)
    }
}

/// That of the pods that are not to be replaced yet, and that of the template.
fn versions(set: &StatefulSet, spec: &StatefulSetSpec, revisions: &Revisions) -> [Version; 2] {
    let newest = history::name(&revisions.newest);
    let current = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
    let current = current.and_then(|name| revisions.named(name)).unwrap_or(&revisions.newest);
    let template = history::template(current).unwrap_or_else(|| spec.template.clone());
    let current = Version { name: history::name(current).to_owned(), template };
    [current, Version { name: newest.to_owned(), template: spec.template.clone() }]
}

impl StatefulSets {
    fn new(context: &Context) -> Self {
        let (client, informers) = (context.client(), context.informers.clone());
        let recorder = context.recorder(NAME);
        let control = PodControl::new(client.clone(), recorder.clone(), informers.pods.clone());
        // Pods that have ended are taken, too: nobody else could have their names.
        let pods = control.claims(|pod| pod.metadata.deletion_timestamp.is_none());
        let pods = pods.with_members(ordinals::is_member);
        let history = History::new(client.clone(), informers.controller_revisions.clone());
        let (statuses, claim_owners) = (Expectations::default(), Expectations::default());
        let clock = context.clock;
        Self { client, clock, informers, recorder, control, pods, history, statuses, claim_owners }
    }

    fn forget(&self, key: &ObjectKey) {
        self.control.forget(key);
        self.history.forget(key);
        self.statuses.forget(key);
        self.claim_owners.forget(key);
    }

    /// Whether the stores show what was done to pods, revisions and claims.
    fn shows_own_writes(&self, key: &ObjectKey) -> bool {
        self.control.shows_own_writes(key)
            && self.history.shows_own_writes(key)
            && self.claim_owners.are_met(key, &self.informers.persistent_volume_claims)
    }

    async fn act(
        &self,
        key: &ObjectKey,
        wanted: &Wanted<'_>,
        owned: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let mut going = None;
        for pod in owned {
            let Some(ordinal) = ordinals::ordinal(wanted.set, pod) else { continue };
            self.label(key, pod, ordinal).await?;
            going = self.tend_claims(key, wanted, pod, ordinal).await?.or(going);
        }
        let plan = wanted.plan(owned);
        let mut create = Vec::new();
        for (ordinal, pod) in plan.create {
            let waits = match self.old_claim(key, wanted, &pod, ordinal) {
                None => self.create_claims(key, wanted, ordinal).await?,
                old => old,
            };
            match waits {
                None => create.push(pod),
                waits => going = waits,
            }
        }
        self.control.delete(key, wanted.set, &plan.delete).await?;
        self.control.create(key, wanted.set, &create).await?;
        // No claim that goes wakes the set: it looks again by itself, having done what could be done.
        going.map_or(Ok(()), |claim| Err(claim.into()))
    }

    async fn label(&self, key: &ObjectKey, pod: &Pod, ordinal: i64) -> Result<(), Error> {
        let labels = identity::missing_labels(pod, ordinal);
        if labels.is_empty() {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"metadata": {"uid": pod.metadata.uid, "labels": labels}}));
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let api = Api::<Pod>::namespaced(self.client.clone(), &key.namespace);
        let patched = api.patch(name, &PatchParams::default(), &patch).await;
        patched.unless_gone("labelling a pod").map(drop)
    }

    /// A pod that waits for a claim gets it, unless the one before is still there; what there is goes with whom the policy
    /// says.
    async fn tend_claims(
        &self,
        key: &ObjectKey,
        wanted: &Wanted<'_>,
        pod: &Pod,
        ordinal: i64,
    ) -> Result<Option<ClaimIsGoing>, Error> {
        let waits = crate::pods::phase(pod) == "Pending" && !crate::pods::is_terminating(pod);
        let going = match waits && ordinals::is_wanted(wanted.spec, ordinal) {
            true => self.create_claims(key, wanted, ordinal).await?,
            false => None,
        };
        for (_, claim) in claims::wanted(wanted.set, wanted.spec, ordinal) {
            let Some(claim) = self.claim(key, &claim) else { continue };
            if let Some(owners) = claims::owners(&claim, wanted.set, wanted.spec, pod) {
                let metadata = &claim.metadata;
                let patch = Patch::Merge(json!({"metadata": {
                    "uid": metadata.uid,
                    "resourceVersion": metadata.resource_version,
                    "ownerReferences": owners,
                }}));
                let name = metadata.name.as_deref().unwrap_or_default();
                let patched = self.claims(key).patch(name, &PatchParams::default(), &patch).await;
                let patched = patched.unless_gone("changing the owner of a claim")?;
                let mark = |it: &_| self.informers.persistent_volume_claims.mark(it);
                patched.iter().for_each(|it| self.claim_owners.written(key, mark(it)));
            }
        }
        Ok(going)
    }

    fn claim(
        &self,
        key: &ObjectKey,
        wanted: &PersistentVolumeClaim,
    ) -> Option<Arc<PersistentVolumeClaim>> {
        let name = wanted.metadata.name.as_deref().unwrap_or_default();
        self.informers.persistent_volume_claims.get(&ObjectKey::new(&key.namespace, name))
    }

    /// A claim that goes with the pod that had the name before.
    fn old_claim(
        &self,
        key: &ObjectKey,
        wanted: &Wanted<'_>,
        pod: &Pod,
        ordinal: i64,
    ) -> Option<ClaimIsGoing> {
        let mut claims = claims::wanted(wanted.set, wanted.spec, ordinal);
        let old = claims.find(|(_, claim)| {
            let there = self.claim(key, claim);
            there.is_some_and(|there| claims::is_stale(wanted.spec, &there.metadata, pod))
        });
        old.map(|(_, claim)| ClaimIsGoing(claim.metadata.name.unwrap_or_default()))
    }

    /// One of the claims, if it is there and on its way out.
    async fn create_claims(
        &self,
        key: &ObjectKey,
        wanted: &Wanted<'_>,
        ordinal: i64,
    ) -> Result<Option<ClaimIsGoing>, Error> {
        let mut going = None;
        for (_, claim) in claims::wanted(wanted.set, wanted.spec, ordinal) {
            match self.claim(key, &claim) {
                Some(there) if there.metadata.deletion_timestamp.is_some() => {
                    going = Some(ClaimIsGoing(claim.metadata.name.unwrap_or_default()));
                }
                Some(_) => {}
                None => self.create_claim(key, wanted.set, &claim, ordinal).await?,
            }
        }
        Ok(going)
    }

    async fn create_claim(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        claim: &PersistentVolumeClaim,
        ordinal: i64,
    ) -> Result<(), Error> {
        let created = self.claims(key).create(&PostParams::default(), claim).await;
        if created.as_ref().is_err_and(|error| code(error) == Some(409)) {
            return Ok(());
        }
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let pod = ordinals::pod_name(set, ordinal);
        let of_set = set.metadata.name.as_deref().unwrap_or_default();
        let what = format!("create Claim {name} Pod {pod} in StatefulSet {of_set}");
        match &created {
            Ok(_) => {
                let message = format!("{what} success");
                self.recorder.about(set, EventType::Normal, "SuccessfulCreate", message);
            }
            Err(error) => {
                let message = format!("{what} failed error: {}", reason(error));
                self.recorder.about(set, EventType::Warning, "FailedCreate", message);
            }
        }
        created.unless_terminating("creating a claim").map(drop)
    }

    fn claims(&self, key: &ObjectKey) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        set: &StatefulSet,
        status: &StatefulSetStatus,
    ) -> Result<(), Error> {
        if set.status.as_ref() == Some(status) {
            return Ok(());
        }
        let api = Api::<StatefulSet>::namespaced(self.client.clone(), &key.namespace);
        let counts = StatefulSetStatus { conditions: None, ..status.clone() };
        let patch = Patch::Merge(json!({"metadata": {"uid": set.metadata.uid}, "status": counts}));
        let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
        let written = written.unless_gone("writing the status")?;
        let mark = |it: &_| self.informers.stateful_sets.mark(it);
        written.iter().for_each(|it| self.statuses.written(key, mark(it)));
        Ok(())
    }

    async fn forget_old(
        &self,
        key: &ObjectKey,
        spec: &StatefulSetSpec,
        revisions: &Revisions,
        status: &StatefulSetStatus,
        owned: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let mut used: BTreeSet<String> =
            owned.iter().map(|pod| identity::revision(pod).to_owned()).collect();
        used.extend(status.current_revision.clone());
        let limit = spec.revision_history_limit.unwrap_or(DEFAULT_HISTORY);
        self.history.delete(key, &revisions.forgotten(&used, limit)).await
    }
}

#[cfg(test)]
mod tests;
