//! Gives claims volumes: those that are there, or directories of nodes that it makes into some (Kubernetes:
//! `pkg/controller/volume/persistentvolume`).
//!
//! *Flow*: work out what a claim is to have ([`decision`]); bind in three writes, the volume first, so that of two claims one
//! has it; the status last. A key without a namespace is a volume: its phase, and whether it goes with its claim.
//!
//! *Guarantees*: a volume is one claim's, since it says whose before the claim says which; writes name the version that they
//! were worked out from, and what was begun is gone on with at the next look.

mod decision;
mod provisioning;
mod removal;

use std::sync::Arc;

use api_machinery::volume_matching as matching;
use api_types::api::core::v1::{
    Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, Pod,
};
use api_types::api::storage::v1::StorageClass;
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue, code};
use crate::informers::Informers;
use crate::pods::{self, node_of};
use decision::{Action, Fate, Known};
use provisioning::{OF_NODE, claim_reference};

const NAME: &str = "persistentvolume-binder";
/// That it was this controller who said which.
const BOUND_BY_US: &str = "pv.kubernetes.io/bound-by-controller";
const COMPLETED: &str = "pv.kubernetes.io/bind-completed";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    watch_claims(&context.informers, &queue);
    watch_others(&context.informers, &queue);
    watch_pods(&context.informers, &queue);
    let Informers {
        persistent_volumes,
        persistent_volume_claims,
        storage_classes,
        pods,
        nodes,
        ..
    } = &context.informers;
    Registered::new(Binder::new(context), queue)
        .reads(persistent_volumes)
        .reads(persistent_volume_claims)
        .reads(storage_classes)
        .reads(pods)
        .reads(nodes)
}

fn watch_claims(informers: &Informers, queue: &Arc<WorkQueue>) {
    // Claims are known to whom volumes wake: together they would keep each other for ever.
    let (volumes, to) = (Arc::downgrade(&informers.persistent_volumes), queue.clone());
    informers.persistent_volume_claims.on_change(move |change: &Change<PersistentVolumeClaim>| {
        for claim in change.versions() {
            to.add(ObjectKey::of(&claim.metadata));
            let volume = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
            volume.into_iter().for_each(|volume| to.add(ObjectKey::cluster(volume)));
        }
        // Those too of which the claim does not say that it has them, or not yet.
        let (Some(claim), Some(volumes)) = (change.latest(), volumes.upgrade()) else { return };
        to.add(ObjectKey::cluster(provisioning::name(claim)));
        let key = ObjectKey::of(&claim.metadata);
        for volume in volumes.filter(|volume| to_claim(volume).as_ref() == Some(&key)) {
            to.add(ObjectKey::of(&volume.metadata));
        }
    });
}

fn watch_others(informers: &Informers, queue: &Arc<WorkQueue>) {
    let (claims, to) = (informers.persistent_volume_claims.clone(), queue.clone());
    let wake_pending = move |to: &WorkQueue| {
        for claim in claims.filter(|claim| !is_bound(claim)) {
            to.add(ObjectKey::of(&claim.metadata));
        }
    };
    let wake = wake_pending.clone();
    informers.persistent_volumes.on_change(move |change: &Change<PersistentVolume>| {
        for volume in change.versions() {
            to.add(ObjectKey::of(&volume.metadata));
            to_claim(volume).into_iter().for_each(|claim| to.add(claim));
        }
        wake(&to);
    });
    let (wake, to) = (wake_pending.clone(), queue.clone());
    informers.nodes.on_change(move |change: &Change<Node>| {
        // It may be that of a pod which was known before.
        if change.old.is_none() {
            wake(&to);
        }
        for volume in removal::done(change.old.as_deref(), change.new.as_deref()) {
            to.add(ObjectKey::new("", &volume));
        }
    });
    let to = queue.clone();
    informers.storage_classes.on_change(move |_: &Change<StorageClass>| wake_pending(&to));
}

fn watch_pods(informers: &Informers, queue: &Arc<WorkQueue>) {
    let to = queue.clone();
    informers.pods.on_change(move |change: &Change<Pod>| {
        let uses = |pod: Option<&Pod>| pod.is_some_and(uses_claims);
        // One that goes leaves it to the next to say where.
        let has_changed = uses(change.old.as_deref()) != uses(change.new.as_deref());
        if let Some(pod) = change.latest().filter(|_| has_changed) {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            pods::claims(pod).for_each(|name| to.add(ObjectKey::new(namespace, name)));
        }
    });
}

/// As far as it says where their volumes are to be.
fn uses_claims(pod: &Pod) -> bool {
    node_of(pod).is_some() && !pods::is_finished(pod)
}

fn is_bound(claim: &PersistentVolumeClaim) -> bool {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Bound") && claim.metadata.deletion_timestamp.is_none()
}

/// The claim that a volume says it is of.
fn to_claim(volume: &PersistentVolume) -> Option<ObjectKey> {
    let ObjectReference { namespace, name, .. } = matching::reference(volume)?;
    Some(ObjectKey::new(namespace.as_deref()?, name.as_deref()?))
}

struct Binder {
    client: Client,
    clock: Clock,
    informers: Informers,
    recorder: Recorder,
}

#[async_trait::async_trait]
impl Controller for Binder {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if key.namespace.is_empty() {
            if let Some(volume) = self.informers.persistent_volumes.get(key) {
                self.volume(&volume).await?;
            }
        } else {
            let claim = self.informers.persistent_volume_claims.get(key);
            if let Some(claim) = claim.filter(|it| it.metadata.deletion_timestamp.is_none()) {
                self.claim(key, &claim).await?;
            }
        }
        Ok(Next::Change)
    }
}

impl Binder {
    fn new(context: &Context) -> Self {
        Self {
            client: context.client(),
            clock: context.clock,
            informers: context.informers.clone(),
            recorder: context.recorder(NAME),
        }
    }

    async fn claim(&self, key: &ObjectKey, claim: &PersistentVolumeClaim) -> Result<(), Error> {
        let spec = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
        let class = ObjectKey::new("", matching::class(&claim.metadata, spec));
        let class = self.informers.storage_classes.get(&class);
        let volumes = self.informers.persistent_volumes.list();
        let node = self.node_of_consumer(key);
        let (class, node) = (class.as_deref(), node.as_deref());
        match (Known { claim, class, volumes: &volumes, node }).action() {
            Action::Bind(volume) => self.bind(claim, volume).await,
            Action::Provision(node) => self.provision(claim, class, node).await,
            Action::Lost { reason, message } => {
                self.recorder.about(claim, EventType::Warning, reason, message);
                self.write_claim_status(claim, json!({"phase": "Lost"})).await
            }
            Action::Wait { reason, message } => {
                let type_ =
                    if reason == "VolumeMismatch" { EventType::Warning } else { EventType::Normal };
                self.recorder.about(claim, type_, reason, message);
                Ok(())
            }
            Action::Nothing => Ok(()),
        }
    }

    /// Where the first pod that uses the claim is to run.
    fn node_of_consumer(&self, claim: &ObjectKey) -> Option<Arc<Node>> {
        let uses = |pod: &Pod| uses_claims(pod) && pods::claims(pod).any(|name| name == claim.name);
        let users = self.informers.pods.filter_in(&claim.namespace, uses);
        let first = users
            .iter()
            .min_by_key(|pod| (pod.metadata.creation_timestamp.clone(), pod.metadata.name.clone()));
        let node = node_of(first?)?.to_owned();
        self.informers.nodes.get(&ObjectKey::new("", &node))
    }

    async fn bind(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &Arc<PersistentVolume>,
    ) -> Result<(), Error> {
        let uid = matching::reference(volume).and_then(|reference| reference.uid.as_ref());
        if uid.is_none() || uid != claim.metadata.uid.as_ref() {
            let mut patch = json!({"spec": {"claimRef": claim_reference(claim)}});
            if matching::reference(volume).is_none() {
                patch["metadata"]["annotations"] = json!({BOUND_BY_US: "yes"});
            }
            self.patch_volume(volume, patch).await?;
        }
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let named = claim.spec.as_ref().and_then(|spec| spec.volume_name.as_deref());
        let annotations = claim.metadata.annotations.as_ref();
        let is_complete = annotations.is_some_and(|all| all.contains_key(COMPLETED));
        if named != Some(name) || !is_complete {
            let mut annotations = json!({COMPLETED: "yes"});
            if named != Some(name) {
                annotations[BOUND_BY_US] = json!("yes");
            }
            let patch = json!({
                "metadata": {"uid": claim.metadata.uid, "resourceVersion": claim.metadata.resource_version, "annotations": annotations},
                "spec": {"volumeName": name},
            });
            let api = self.claims(claim);
            let of_claim = claim.metadata.name.as_deref().unwrap_or_default();
            let patched = api.patch(of_claim, &PatchParams::default(), &Patch::Merge(patch)).await;
            if patched.unless_gone("binding a claim")?.is_none() {
                return Ok(());
            }
        }
        let spec = volume.spec.as_ref();
        let (modes, capacity) =
            (spec.and_then(|it| it.access_modes.clone()), spec.and_then(|it| it.capacity.clone()));
        let status = json!({"phase": "Bound", "accessModes": modes, "capacity": capacity});
        self.write_claim_status(claim, status).await
    }

    async fn write_claim_status(
        &self,
        claim: &PersistentVolumeClaim,
        status: Value,
    ) -> Result<(), Error> {
        let known = serde_json::to_value(&claim.status).unwrap_or_default();
        let mut fields = status.as_object().into_iter().flatten();
        if fields.all(|(field, value)| known[field] == *value) {
            return Ok(());
        }
        let patch = json!({"metadata": {"uid": claim.metadata.uid}, "status": status});
        let name = claim.metadata.name.as_deref().unwrap_or_default();
        let api = self.claims(claim);
        let written = api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        written.unless_gone("writing the status of a claim").map(drop)
    }

    /// A directory of the node, which its kubelet makes for the first pod.
    async fn provision(
        &self,
        claim: &PersistentVolumeClaim,
        class: Option<&StorageClass>,
        node: &Node,
    ) -> Result<(), Error> {
        if let Some(fault) = provisioning::fault(class) {
            let class = class.and_then(|class| class.metadata.name.as_deref()).unwrap_or_default();
            let message =
                format!("failed to provision volume with StorageClass {class:?}: {fault}");
            self.recorder.about(claim, EventType::Warning, "ProvisioningFailed", message);
            return Ok(());
        }
        let volume = provisioning::volume(claim, class, node);
        let created = self.volumes().create(&PostParams::default(), &volume).await;
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        match created {
            // It was made before, perhaps at another node, and is about to be seen.
            Err(error) if code(&error) == Some(409) => self.bind_made(claim, name).await,
            created => {
                created.step("making a volume")?;
                let message = format!("Successfully provisioned volume {name}");
                self.recorder.about(claim, EventType::Normal, "ProvisioningSucceeded", message);
                Ok(())
            }
        }
    }

    async fn bind_made(&self, claim: &PersistentVolumeClaim, name: &str) -> Result<(), Error> {
        let made = self.volumes().get_opt(name).await.step("reading a volume that was made")?;
        match made.filter(|made| matching::is_its_own(made, claim)) {
            Some(made) => self.bind(claim, &Arc::new(made)).await,
            None => Ok(()),
        }
    }

    async fn volume(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let claim =
            to_claim(volume).and_then(|key| self.informers.persistent_volume_claims.get(&key));
        let metadata = &volume.metadata;
        let is_going = metadata.deletion_timestamp.is_some();
        match decision::fate(volume, claim.as_deref()) {
            Fate::Phase(phase) => {
                self.write_phase(volume, phase).await?;
                // Whoever deletes a volume that is retained keeps what is on it.
                if is_going && phase != "Bound" { self.let_go(volume).await } else { Ok(()) }
            }
            Fate::Unbind => self.unbind(volume).await,
            Fate::Delete if is_going => {
                self.write_phase(volume, "Released").await?;
                self.empty(volume).await
            }
            Fate::Delete => {
                self.write_phase(volume, "Released").await?;
                let this_one =
                    Preconditions { uid: metadata.uid.clone(), ..Preconditions::default() };
                let how = DeleteParams::background().preconditions(this_one);
                let name = metadata.name.as_deref().unwrap_or_default();
                self.volumes().delete(name, &how).await.unless_gone("deleting a volume").map(drop)
            }
        }
    }

    /// Takes back that it is the claim's: all, if this controller said so, or which of its name.
    async fn unbind(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let annotations = volume.metadata.annotations.as_ref();
        let is_by_us = annotations.is_some_and(|all| all.contains_key(BOUND_BY_US));
        let patch = if is_by_us {
            json!({"metadata": {"annotations": {BOUND_BY_US: null}}, "spec": {"claimRef": null}})
        } else {
            json!({"spec": {"claimRef": {"uid": null, "resourceVersion": null}}})
        };
        self.patch_volume(volume, patch).await
    }

    /// Has the node take away what is on the volume, which then goes. What is on a node that is gone has gone with it.
    async fn empty(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let Some((node, path)) = removal::place(volume) else { return self.let_go(volume).await };
        let nodes = Api::<Node>::all(self.client.clone());
        // Asked itself: the store may not know yet what the node was told.
        let read = nodes.get_opt(&node).await.step("reading the node of a volume")?;
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let Some(there) = read else { return self.let_go(volume).await };
        match (removal::is_told(&there, name), removal::was_told(volume)) {
            (false, true) => self.let_go(volume).await,
            (true, true) => Ok(()),
            (is_told, _) => {
                if !is_told {
                    let told = json!({"metadata": {"annotations": {removal::key(name): path}}});
                    let params = PatchParams::default();
                    let patched = nodes.patch(&node, &params, &Patch::Merge(told)).await;
                    patched.step("telling a node what to remove")?;
                }
                let told = json!({"metadata": {"annotations": {removal::TOLD: node}}});
                self.patch_volume(volume, told).await
            }
        }
    }

    async fn let_go(&self, volume: &PersistentVolume) -> Result<(), Error> {
        let finalizers = volume.metadata.finalizers.clone().unwrap_or_default();
        if !finalizers.iter().any(|it| it == OF_NODE) {
            return Ok(());
        }
        let left: Vec<_> = finalizers.iter().filter(|it| *it != OF_NODE).collect();
        self.patch_volume(volume, json!({"metadata": {"finalizers": left}})).await
    }

    async fn write_phase(&self, volume: &PersistentVolume, phase: &str) -> Result<(), Error> {
        let known = volume.status.as_ref().and_then(|status| status.phase.as_deref());
        if known == Some(phase) {
            return Ok(());
        }
        let since = self.clock.now().to_string();
        let status = json!({"phase": phase, "lastPhaseTransitionTime": since});
        let patch = json!({"metadata": {"uid": volume.metadata.uid}, "status": status});
        let name = volume.metadata.name.as_deref().unwrap_or_default();
        let params = PatchParams::default();
        let written = self.volumes().patch_status(name, &params, &Patch::Merge(patch)).await;
        written.unless_gone("writing the phase of a volume").map(drop)
    }

    async fn patch_volume(&self, volume: &PersistentVolume, mut patch: Value) -> Result<(), Error> {
        let metadata = &volume.metadata;
        patch["metadata"]["uid"] = json!(metadata.uid);
        patch["metadata"]["resourceVersion"] = json!(metadata.resource_version);
        let name = metadata.name.as_deref().unwrap_or_default();
        let patched =
            self.volumes().patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        patched.step("binding a volume").map(drop)
    }

    fn volumes(&self) -> Api<PersistentVolume> {
        Api::all(self.client.clone())
    }

    fn claims(&self, claim: &PersistentVolumeClaim) -> Api<PersistentVolumeClaim> {
        let namespace = claim.metadata.namespace.as_deref().unwrap_or_default();
        Api::namespaced(self.client.clone(), namespace)
    }
}

#[cfg(test)]
mod tests;
