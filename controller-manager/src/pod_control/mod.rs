//! The pods of owners of whatever kind: which are an owner's own, making and deleting them, and waiting until one's
//! own writes are seen before counting again.
//!
//! *Guarantees*: an owner that makes and deletes pods only while [`PodControl::shows_own_writes`] never has more than
//! it wanted, however far the store lags behind, and though answers are lost.

mod claim;
mod finalizer;
mod slow_start;
pub(crate) mod victims;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::{Pod, PodTemplateSpec};
use api_types::meta::ObjectMeta;
use component::events::{EventType, Recorder};
use futures::future::join_all;
use kube::api::{DeleteParams, ListParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use parking_lot::Mutex;

use crate::frame::{
    Change, Error, Expectations, Informer, ObjectKey, Step, WorkQueue, is_terminating, reason,
};
use crate::indexes::Selecting;
use crate::owners::{Owner, controller_of, controller_reference_of, is_controlled_by};

pub(crate) use claim::Claims;
pub(crate) use finalizer::remove_finalizer;

/// Has the owners that a change of a pod concerns put into the queue: its controller, or else all that would adopt it.
pub(crate) fn watch<O: Owner + Selecting>(
    pods: &Informer<Pod>,
    owners: &Arc<Informer<O>>,
    queue: &Arc<WorkQueue>,
) {
    let (owners, queue) = (owners.clone(), queue.clone());
    pods.on_change(move |change: &Change<Pod>| {
        for pod in change.versions() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            match controller_of(&pod.metadata) {
                Some(owner) if owner.kind == owners.kind() => {
                    queue.add(ObjectKey::new(namespace, &owner.name));
                }
                Some(_) => {}
                None => owners
                    .selecting(&pod.metadata)
                    .iter()
                    .for_each(|owner| queue.add(ObjectKey::of(owner.meta()))),
            }
        }
    });
}

/// Makes and deletes the pods of owners of one kind. Owners are told apart by their keys.
pub(crate) struct PodControl<O: Owner> {
    client: Client,
    recorder: Recorder,
    pods: Arc<Informer<Pod>>,
    expectations: Arc<Expectations>,
    /// Owners of which a pod may have been created though the answer says nothing of it.
    unanswered: Mutex<HashSet<ObjectKey>>,
    kind: O::DynamicType,
}

impl<O: Owner> PodControl<O> {
    pub(crate) fn new(client: Client, recorder: Recorder, pods: Arc<Informer<Pod>>) -> Self
    where
        O::DynamicType: Default,
    {
        Self::of(O::DynamicType::default(), client, recorder, pods)
    }

    /// For owners of this kind.
    pub(crate) fn of(
        kind: O::DynamicType,
        client: Client,
        recorder: Recorder,
        pods: Arc<Informer<Pod>>,
    ) -> Self {
        let (expectations, unanswered) = (Arc::default(), Mutex::default());
        Self { client, recorder, pods, expectations, unanswered, kind }
    }

    /// Adopts and releases pods of the same owners.
    pub(crate) fn claims(&self, may_be_adopted: fn(&Pod) -> bool) -> Claims<O, Pod> {
        Claims::of(
            self.kind.clone(),
            self.client.clone(),
            self.pods.clone(),
            self.expectations.clone(),
            may_be_adopted,
        )
    }

    /// Whether the store shows all that was written for the owner. To be asked before the pods are read: they are
    /// then no older than the answer.
    pub(crate) fn shows_own_writes(&self, key: &ObjectKey) -> bool {
        self.expectations.are_met(key, &self.pods)
    }

    /// How long ago something was written for the owner that the store does not show.
    pub(crate) fn waited(&self, key: &ObjectKey) -> Duration {
        self.expectations.waited(key)
    }

    /// Forgets an owner that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.expectations.forget(key);
        self.unanswered.lock().remove(key);
    }

    /// Finds out what has become of creations that were not answered, and waits for it like for others.
    pub(crate) async fn settle(&self, key: &ObjectKey, owner: &O) -> Result<(), Error> {
        if !self.unanswered.lock().contains(key) {
            return Ok(());
        }
        let api = Api::<PartialObjectMeta<Pod>>::namespaced(self.client.clone(), &key.namespace);
        let all = api.list(&ListParams::default()).await.step("looking for created pods")?;
        let uid = owner.meta().uid.as_deref().unwrap_or_default();
        for pod in all.items.iter().filter(|pod| is_controlled_by(&pod.metadata, uid)) {
            self.expectations.written(key, self.pods.mark_of(&pod.metadata));
        }
        self.unanswered.lock().remove(key);
        Ok(())
    }

    /// Makes the pods, all at once, but after a start that is slow: a template that the API server refuses costs
    /// one request and not hundreds.
    pub(crate) async fn create(
        &self,
        key: &ObjectKey,
        owner: &O,
        pods: &[Pod],
    ) -> Result<(), Error> {
        for batch in slow_start::batches(pods) {
            let creations = batch.iter().map(|pod| self.create_one(key, owner, pod));
            join_all(creations).await.into_iter().collect::<Result<Vec<()>, Error>>()?;
        }
        Ok(())
    }

    async fn create_one(&self, key: &ObjectKey, owner: &O, pod: &Pod) -> Result<(), Error> {
        let created = self.api(key).create(&PostParams::default(), pod).await;
        if let Err(error) = &created
            && !is_terminating(error)
        {
            let message = format!("Error creating: {}", reason(error));
            self.tell(owner, EventType::Warning, "FailedCreate", message);
        }
        let created = created.unless_terminating("creating a pod").inspect_err(|error| {
            if !error.is_refusal() {
                self.unanswered.lock().insert(key.clone());
            }
        });
        // In a namespace that is on its way out there is nothing more to do.
        let Some(created) = created? else { return Ok(()) };
        self.expectations.written(key, self.pods.mark(&created));
        let message = format!("Created pod: {}", created.metadata.name.unwrap_or_default());
        self.tell(owner, EventType::Normal, "SuccessfulCreate", message);
        Ok(())
    }

    /// Deletes the pods, all at once.
    pub(crate) async fn delete(
        &self,
        key: &ObjectKey,
        owner: &O,
        pods: &[Arc<Pod>],
    ) -> Result<(), Error> {
        let deletions = pods.iter().map(|pod| self.delete_one(key, owner, pod));
        join_all(deletions).await.into_iter().collect()
    }

    async fn delete_one(&self, key: &ObjectKey, owner: &O, pod: &Pod) -> Result<(), Error> {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let this_one = Preconditions { uid: pod.metadata.uid.clone(), ..Preconditions::default() };
        let how = DeleteParams::default().preconditions(this_one);
        let deleted = self.api(key).delete(&name, &how).await.unless_gone("deleting a pod");
        let deleted = deleted.inspect_err(|error| {
            let message = format!("Error deleting: {}", error.reason());
            self.tell(owner, EventType::Warning, "FailedDelete", message);
        })?;
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        self.expectations.deleted(key, ObjectKey::of(&pod.metadata), uid);
        if deleted.is_some() {
            let message = format!("Deleted pod: {name}");
            self.tell(owner, EventType::Normal, "SuccessfulDelete", message);
        }
        Ok(())
    }

    /// Takes this finalizer from the pods, all at once. The uids of those that do not have it any more.
    pub(crate) async fn remove_finalizer(
        &self,
        key: &ObjectKey,
        pods: &[Arc<Pod>],
        finalizer: &str,
    ) -> (HashSet<String>, Result<(), Error>) {
        let one = async |pod: &Arc<Pod>| {
            let left = remove_finalizer(&self.client, pod, finalizer).await?;
            left.iter().for_each(|pod| self.expectations.written(key, self.pods.mark(pod)));
            Ok(pod.metadata.uid.clone().unwrap_or_default())
        };
        let all = join_all(pods.iter().map(one)).await;
        let (mut free, mut result) = (HashSet::new(), Ok(()));
        for it in all {
            match it {
                Ok(uid) => drop(free.insert(uid)),
                Err(error) => result = Err(error),
            }
        }
        (free, result)
    }

    fn tell(&self, owner: &O, type_: EventType, reason: &str, message: String) {
        self.recorder.record(&owner.object_ref(&self.kind), type_, reason, message);
    }

    fn api(&self, key: &ObjectKey) -> Api<Pod> {
        Api::namespaced(self.client.clone(), &key.namespace)
    }
}

/// A pod as the template says. Its name is made by the API server out of the owner's, cut so that the
/// random end has room.
pub(crate) fn pod_of<O: Owner>(owner: &O, template: &PodTemplateSpec) -> Pod
where
    O::DynamicType: Default,
{
    pod_of_kind(&O::DynamicType::default(), owner, template)
}

/// The same for an owner of this kind.
pub(crate) fn pod_of_kind<O: Owner>(
    kind: &O::DynamicType,
    owner: &O,
    template: &PodTemplateSpec,
) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    let name = owner.meta().name.as_deref().unwrap_or_default();
    let reference = controller_reference_of(owner, kind);
    let metadata = ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: owner.meta().namespace.clone(),
        labels: given.labels,
        annotations: given.annotations,
        finalizers: given.finalizers,
        owner_references: reference.map(|reference| vec![reference]),
        ..ObjectMeta::default()
    };
    Pod { metadata, spec: template.spec.clone(), status: None }
}

#[cfg(test)]
mod tests;
