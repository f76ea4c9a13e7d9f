//! Keeps as many pods as a ReplicaSet says, or a ReplicationController.
//!
//! *Flow*: claim the pods (adopt orphans that match, release owned ones that no longer do), compare the
//! number of active ones with `spec.replicas`, create or delete the difference in parallel, write the
//! status.
//!
//! *Guarantees*: no more pods than wanted are created, however far the store lags behind, because the
//! set's own writes are waited for before the next pods are created or deleted, those too whose answer
//! was lost. If they take long to come back, the status is written meanwhile from what is seen. A pod that is promised
//! to the set is waited for, and not made ([`crate::adoption`]).

mod replicated;
mod status;

use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{Pod, ReplicationController};
use kube::api::{Patch, PatchParams};
use kube::{Api, Client};
use serde_json::json;

use crate::adoption;
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::indexes::SelectsNothing;
use crate::informers::Informers;
use crate::owners::controller_of;
use crate::pod_control::{self, Claims, PodControl, pod_of, victims};
use crate::pods;
use replicated::Replicated;
use status::Failure;

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

/// Pods created or deleted for one set in one go.
const BURST: usize = 500;

pub(super) fn register(context: &Context) -> Registered {
    register_kind::<ReplicaSet>(context)
}

pub(super) fn register_replication_controllers(context: &Context) -> Registered {
    register_kind::<ReplicationController>(context)
}

fn register_kind<K: Replicated>(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let (pods, sets) = (&context.informers.pods, K::all(&context.informers));
    let changed = queue.clone();
    sets.on_change(move |change: &Change<K>| {
        change.latest().into_iter().for_each(|set| changed.add(ObjectKey::of(set.meta())));
    });
    pod_control::watch(pods, sets, &queue);
    Registered::new(ReplicaSets::<K>::new(context), queue).reads(pods).reads(sets)
}

struct ReplicaSets<K: Replicated = ReplicaSet> {
    client: Client,
    clock: Clock,
    informers: Informers,
    control: PodControl<K>,
    claims: Claims<K, Pod>,
}

impl<K: Replicated> ReplicaSets<K> {
    fn new(context: &Context) -> Self {
        let (client, informers) = (context.client(), context.informers.clone());
        let recorder = context.recorder(K::CONTROLLER);
        let control = PodControl::new(client.clone(), recorder, informers.pods.clone());
        let claims = control.claims(pods::is_active);
        Self { client, clock: context.clock, informers, control, claims }
    }
}

#[async_trait::async_trait]
impl<K: Replicated> Controller for ReplicaSets<K> {
    fn name(&self) -> &'static str {
        K::CONTROLLER
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(owner) = K::all(&self.informers).get(key) else {
            self.control.forget(key);
            return Ok(Next::Change);
        };
        let selector = owner.selector().ok_or(SelectsNothing)?;
        self.control.settle(key, &owner).await?;
        let may_act = self.control.shows_own_writes(key);
        if !may_act && self.control.waited(key) < UNSEEN {
            return Ok(Next::After(UNSEEN));
        }
        let set = owner.as_set();
        // Before the own pods are read: one that is handed over meanwhile is counted twice, and not overlooked.
        let promised = adoption::outstanding(&set, |pod| self.pod(key, pod)).len();
        let owned = match may_act {
            true => self.claims.claim(key, &owner, &selector).await?,
            false => self.claims.owned(&owner, &selector),
        };
        let may_act = may_act && !adoption::is_behind(&set, &owned);
        let managed = match set.metadata.deletion_timestamp {
            None if may_act => self.manage(key, &owner, &active(&owned), promised).await,
            _ => Ok(()),
        };
        let next = self.write_status(key, &set, &owned, managed.as_ref().err()).await?;
        managed.map_err(|failure| failure.error)?;
        Ok(if may_act && promised == 0 { next } else { next.or_after(UNSEEN) })
    }
}

fn active(pods: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
    pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect()
}

/// How many pods are missing, and how many are too many. What is promised may never come, so nothing is deleted for it.
fn difference(set: &ReplicaSet, active: usize, promised: usize) -> (usize, usize) {
    let wanted = set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or_default();
    (wanted.saturating_sub(active + promised), active.saturating_sub(wanted))
}

impl<K: Replicated> ReplicaSets<K> {
    async fn manage(
        &self,
        key: &ObjectKey,
        owner: &K,
        active: &[Arc<Pod>],
        promised: usize,
    ) -> Result<(), Failure> {
        let set = &*owner.as_set();
        let (missing, surplus) = difference(set, active.len(), promised);
        if missing > 0 {
            let template = set.spec.as_ref().and_then(|spec| spec.template.clone());
            let pods = vec![pod_of(owner, &template.unwrap_or_default()); missing.min(BURST)];
            let created = self.control.create(key, owner, &pods).await;
            return created.map_err(|error| Failure { reason: "FailedCreate", error });
        }
        let surplus = surplus.min(BURST);
        let victims =
            victims::choose(active, &self.related(set, active), surplus, self.clock.now());
        let deleted = self.control.delete(key, owner, &victims).await;
        deleted.map_err(|error| Failure { reason: "FailedDelete", error })
    }

    fn pod(&self, set: &ObjectKey, name: &str) -> Option<Arc<Pod>> {
        self.informers.pods.get(&ObjectKey::new(&set.namespace, name))
    }

    /// The active pods of all sets of the same controller: when a Deployment moves from one set to another,
    /// the pods of both are counted to see which node is the fullest.
    fn related(&self, set: &ReplicaSet, own: &[Arc<Pod>]) -> Vec<Arc<Pod>> {
        let Some(controller) = controller_of(&set.metadata) else { return own.to_vec() };
        let Informers { pods, replica_sets, .. } = &self.informers;
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        let siblings = replica_sets.controlled_by(namespace, &controller.uid);
        let uids = siblings.iter().filter_map(|set| set.metadata.uid.as_deref());
        uids.flat_map(|uid| active(&pods.controlled_by(namespace, uid))).collect()
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
            let api = Api::<K>::namespaced(self.client.clone(), &key.namespace);
            let patch =
                Patch::Merge(json!({"metadata": {"uid": set.metadata.uid}, "status": status}));
            let written = api.patch_status(&key.name, &PatchParams::default(), &patch).await;
            written.unless_gone("writing the status")?;
        }
        Ok(next)
    }
}

#[cfg(test)]
mod handovers;
#[cfg(test)]
mod tests;
