//! Lets the pods of a Deployment's template take over from those of the template before, through ReplicaSets.
//!
//! *Flow*: claim the sets, find or make the one with the Deployment's template, give one of them more or fewer pods
//! ([`plan`]), write the status and the revision.
//!
//! *Guarantees*: the sets together are never to have more pods than `maxSurge` allows, and no pod that serves is taken away
//! while fewer would than `maxUnavailable` allows: a step is taken only when the store shows those before, and every write
//! to a set names the version that it was worked out from.

mod plan;
mod proportions;
mod rolling;
mod sets;
mod status;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStatus, ReplicaSet};
use api_types::api::core::v1::Pod;
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::core::PartialObjectMeta;
use kube::{Api, Client};
use parking_lot::Mutex;
use serde_json::json;

use self::plan::Action;
use self::sets::{REVISION, Sets, replicas};
use self::status::Outcome;
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Expectations, Next, ObjectKey, Registered, Step, WorkQueue, code,
};
use crate::indexes::Selecting;
use crate::informers::Informers;
use crate::owners::{controller_of, is_controlled_by};
use crate::pod_control::Claims;
use crate::pods;

const NAME: &str = "deployment-controller";

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { pods, replica_sets, deployments, .. } = &context.informers;
    watch(&context.informers, &queue);
    let registered = Registered::new(Deployments::new(context), queue);
    registered.reads(deployments).reads(replica_sets).reads(pods)
}

fn watch(informers: &Informers, queue: &Arc<WorkQueue>) {
    let to = queue.clone();
    informers.deployments.on_change(move |change: &Change<Deployment>| {
        change.latest().into_iter().for_each(|it| to.add(ObjectKey::of(&it.metadata)));
    });
    let (deployments, to) = (informers.deployments.clone(), queue.clone());
    informers.replica_sets.on_change(move |change: &Change<ReplicaSet>| {
        for set in change.versions() {
            match owner(&set.metadata) {
                Some(key) => to.add(key),
                None if controller_of(&set.metadata).is_none() => {
                    let all = deployments.selecting(&set.metadata);
                    all.iter().for_each(|it| to.add(ObjectKey::of(&it.metadata)));
                }
                None => {}
            }
        }
    });
    // With `Recreate` the last old pod is waited for.
    let (sets, to) = (informers.replica_sets.clone(), queue.clone());
    informers.pods.on_change(move |change: &Change<Pod>| {
        let is_over = change.new.as_ref().is_none_or(|pod| pods::is_finished(pod));
        for pod in change.versions().filter(|_| is_over) {
            let Some(controller) = controller_of(&pod.metadata) else { continue };
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            let set = sets.get(&ObjectKey::new(namespace, &controller.name));
            let key = set.and_then(|set| owner(&set.metadata));
            key.into_iter().for_each(|key| to.add(key));
        }
    });
}

/// The Deployment that the set belongs to.
fn owner(metadata: &api_types::meta::ObjectMeta) -> Option<ObjectKey> {
    let owner = controller_of(metadata).filter(|owner| owner.kind == "Deployment")?;
    Some(ObjectKey::new(metadata.namespace.as_deref().unwrap_or_default(), &owner.name))
}

struct Deployments {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
    claims: Claims<Deployment, ReplicaSet>,
    /// What was written to sets.
    expectations: Arc<Expectations>,
    /// Deployments of which a set may have been written though the answer says nothing of it.
    unanswered: Mutex<HashSet<ObjectKey>>,
}

#[async_trait::async_trait]
impl Controller for Deployments {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(deployment) = self.informers.deployments.get(key) else {
            self.expectations.forget(key);
            self.unanswered.lock().remove(key);
            return Ok(Next::Change);
        };
        let (Some(selector), Some(spec)) = (deployment.selector(), sets::spec(&deployment)) else {
            return Ok(Next::Change);
        };
        self.settle(key, &deployment).await?;
        if !self.expectations.are_met(key, &self.informers.replica_sets) {
            return Ok(Next::After(UNSEEN));
        }
        let owned = self.claims.claim(key, &deployment, &selector).await?;
        let sets = Sets::of(&deployment, owned);
        let (outcome, acted) = match deployment.metadata.deletion_timestamp {
            Some(_) => (Outcome::Found, Ok(())),
            None => self.act(key, &deployment, spec, &sets).await,
        };
        if acted.as_ref().is_err_and(|error| !error.is_refusal()) {
            self.unanswered.lock().insert(key.clone());
        }
        let (status, deadline) = status::of(&deployment, spec, &sets, &outcome, self.clock.now());
        self.write_status(key, &deployment, &status).await?;
        if sets.new.is_some() || matches!(outcome, Outcome::Created(_)) {
            self.write_revision(key, &deployment, sets.revision()).await?;
        }
        acted?;
        Ok(deadline.map_or(Next::Change, Next::After))
    }
}

impl Deployments {
    fn new(context: &Context) -> Self {
        let informers = context.informers.clone();
        let expectations = Arc::<Expectations>::default();
        let claims = Claims::of(
            (),
            context.client(),
            informers.replica_sets.clone(),
            expectations.clone(),
            sets::is_living,
        );
        Self {
            client: context.client(),
            clock: context.clock,
            informers,
            recorder: context.recorder(NAME),
            claims,
            expectations,
            unanswered: Mutex::default(),
        }
    }

    /// Finds out what has become of writes that were not answered, and waits for it like for others.
    async fn settle(&self, key: &ObjectKey, deployment: &Deployment) -> Result<(), Error> {
        if !self.unanswered.lock().contains(key) {
            return Ok(());
        }
        let api =
            Api::<PartialObjectMeta<ReplicaSet>>::namespaced(self.client.clone(), &key.namespace);
        let all = api.list(&ListParams::default()).await.step("looking for written ReplicaSets")?;
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        for set in all.items.iter().filter(|set| is_controlled_by(&set.metadata, uid)) {
            self.expectations.written(key, self.informers.replica_sets.mark_of(&set.metadata));
        }
        self.unanswered.lock().remove(key);
        Ok(())
    }

    fn written(&self, key: &ObjectKey, set: &ReplicaSet) {
        self.expectations.written(key, self.informers.replica_sets.mark(set));
    }

    async fn act(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        spec: &DeploymentSpec,
        sets: &Sets,
    ) -> (Outcome, Result<(), Error>) {
        let mut outcome = Outcome::Found;
        for action in plan::actions(deployment, spec, sets, self.old_pods_run(sets)) {
            let done = match action {
                Action::Create(set) => {
                    let created = self.create(key, deployment, &set).await;
                    outcome = match &created {
                        Ok(outcome) => outcome.clone(),
                        Err(error) => Outcome::CannotCreate(error.reason()),
                    };
                    created.map(drop)
                }
                Action::Change { set, replicas, annotations, min_ready_seconds } => {
                    let mut patch = json!({
                        "metadata": {"uid": set.metadata.uid, "resourceVersion": set.metadata.resource_version,
                                     "annotations": annotations},
                        "spec": {"replicas": replicas},
                    });
                    if let Some(seconds) = min_ready_seconds {
                        patch["spec"]["minReadySeconds"] = json!(seconds);
                    }
                    self.change(key, deployment, &set, replicas, patch).await
                }
                Action::Delete(set) => self.delete(&set).await,
            };
            if let Err(error) = done {
                return (outcome, Err(error));
            }
        }
        (outcome, Ok(()))
    }

    /// Those on their way out included.
    fn old_pods_run(&self, sets: &Sets) -> bool {
        sets.old.iter().any(|set| {
            let uid = set.metadata.uid.as_deref().unwrap_or_default();
            let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
            let pods = self.informers.pods.controlled_by(namespace, uid);
            pods.iter().any(|pod| !pods::is_finished(pod))
        })
    }

    async fn create(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        set: &ReplicaSet,
    ) -> Result<Outcome, Error> {
        let name = set.metadata.name.clone().unwrap_or_default();
        match self.sets(set).create(&PostParams::default(), set).await {
            Err(error) if code(&error) == Some(409) => {
                self.existing(key, deployment, set, &name).await
            }
            created => {
                let created = created.unless_terminating("creating a ReplicaSet");
                let created = created.inspect_err(|error| {
                    let why = error.reason();
                    let told = format!("Failed to create new replica set {name:?}: {why}");
                    let reason = "ReplicaSetCreateError";
                    self.recorder.about(deployment, EventType::Warning, reason, told);
                })?;
                // In a namespace that is on its way out there is nothing more to do.
                let Some(created) = created else { return Ok(Outcome::Found) };
                self.written(key, &created);
                self.tell_scaled(deployment, &name, 0, replicas(set));
                Ok(Outcome::Created(name))
            }
        }
    }

    /// There is one of that name: it may be ours, and the store not show it yet.
    async fn existing(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        set: &ReplicaSet,
        name: &str,
    ) -> Result<Outcome, Error> {
        let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
        let there = self.sets(set).get(name).await.step("reading a ReplicaSet")?;
        let is_ours = is_controlled_by(&there.metadata, uid);
        self.written(key, &there);
        let same = Sets::of(deployment, vec![Arc::new(there)]).new.is_some();
        Ok(if is_ours && same { Outcome::Found } else { Outcome::Collision })
    }

    async fn change(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        set: &ReplicaSet,
        size: i32,
        patch: serde_json::Value,
    ) -> Result<(), Error> {
        let name = set.metadata.name.as_deref().unwrap_or_default();
        let patch = Patch::Merge(patch);
        let changed = self.sets(set).patch(name, &PatchParams::default(), &patch).await;
        if let Some(changed) = changed.unless_gone("scaling a ReplicaSet")? {
            self.written(key, &changed);
            self.tell_scaled(deployment, name, replicas(set), size);
        }
        Ok(())
    }

    fn tell_scaled(&self, deployment: &Deployment, set: &str, from: i32, to: i32) {
        let direction = match to.cmp(&from) {
            std::cmp::Ordering::Greater => "up",
            std::cmp::Ordering::Less => "down",
            std::cmp::Ordering::Equal => return,
        };
        let message = format!("Scaled {direction} replica set {set} from {from} to {to}");
        self.recorder.about(deployment, EventType::Normal, "ScalingReplicaSet", message);
    }

    async fn delete(&self, set: &ReplicaSet) -> Result<(), Error> {
        let this_one = Preconditions {
            uid: set.metadata.uid.clone(),
            // Somebody may have scaled it meanwhile.
            resource_version: set.metadata.resource_version.clone(),
        };
        let params = DeleteParams::background().preconditions(this_one);
        let name = set.metadata.name.as_deref().unwrap_or_default();
        self.sets(set).delete(name, &params).await.unless_gone("deleting a ReplicaSet").map(drop)
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        status: &DeploymentStatus,
    ) -> Result<(), Error> {
        if deployment.status.as_ref() == Some(status) {
            return Ok(());
        }
        let new = Deployment { status: Some(status.clone()), ..deployment.clone() };
        let api = Api::<Deployment>::namespaced(self.client.clone(), &key.namespace);
        let written = api.replace_status(&key.name, &PostParams::default(), &new).await;
        written.unless_gone("writing the status").map(drop)
    }

    async fn write_revision(
        &self,
        key: &ObjectKey,
        deployment: &Deployment,
        revision: i64,
    ) -> Result<(), Error> {
        let annotations = deployment.metadata.annotations.as_ref();
        let revision = revision.to_string();
        if annotations.and_then(|all| all.get(REVISION)) == Some(&revision) {
            return Ok(());
        }
        let patch = Patch::Merge(json!({"metadata": {
            "uid": deployment.metadata.uid, "annotations": {REVISION: revision},
        }}));
        let api = Api::<Deployment>::namespaced(self.client.clone(), &key.namespace);
        let written = api.patch(&key.name, &PatchParams::default(), &patch).await;
        written.unless_gone("writing the revision").map(drop)
    }

    fn sets(&self, set: &ReplicaSet) -> Api<ReplicaSet> {
        let namespace = set.metadata.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
