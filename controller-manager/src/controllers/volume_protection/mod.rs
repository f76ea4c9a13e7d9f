//! Lets go of claims once no pod uses them, and of volumes once no claim has them (Kubernetes: `pvc-protection-controller`
//! and `pv-protection-controller`). The API server gives both their finalizers when they are made.

use std::sync::Arc;

use api_types::api::core::v1::{PersistentVolume, PersistentVolumeClaim, Pod};
use api_types::meta::ObjectMeta;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::context::Context;
use crate::frame::{Change, Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use crate::informers::Informers;
use crate::pods;

const NAME: &str = "volume-protection-controller";
const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let informers = context.informers.clone();
    let Informers { pods, persistent_volume_claims, persistent_volumes, .. } = &context.informers;
    let to = queue.clone();
    persistent_volume_claims.on_change(move |change: &Change<PersistentVolumeClaim>| {
        change.latest().into_iter().for_each(|claim| to.add(ObjectKey::of(&claim.metadata)));
    });
    let to = queue.clone();
    persistent_volumes.on_change(move |change: &Change<PersistentVolume>| {
        change.latest().into_iter().for_each(|volume| to.add(ObjectKey::of(&volume.metadata)));
    });
    let to = queue.clone();
    pods.on_change(move |change: &Change<Pod>| {
        for pod in change.versions() {
            let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
            pods::claims(pod).for_each(|claim| to.add(ObjectKey::new(namespace, claim)));
        }
    });
    Registered::new(Protection { client: context.client(), informers }, queue)
        .reads(pods)
        .reads(persistent_volume_claims)
        .reads(persistent_volumes)
}

struct Protection {
    client: Client,
    informers: Informers,
}

#[async_trait::async_trait]
impl Controller for Protection {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Informers { persistent_volumes, persistent_volume_claims, .. } = &self.informers;
        if key.namespace.is_empty() {
            let Some(volume) = persistent_volumes.get(key) else { return Ok(Next::Change) };
            let left = left(&volume.metadata, OF_VOLUMES).filter(|_| !is_bound(&volume));
            let api = Api::<PersistentVolume>::all(self.client.clone());
            return write(api, &volume.metadata, left).await;
        }
        let Some(claim) = persistent_volume_claims.get(key) else { return Ok(Next::Change) };
        let left = left(&claim.metadata, OF_CLAIMS).filter(|_| !self.is_used(key));
        // The store may not know yet of a pod that has just got a node.
        if left.is_some() && self.is_found_used(key).await? {
            return Ok(Next::Change);
        }
        let api = Api::<PersistentVolumeClaim>::namespaced(self.client.clone(), &key.namespace);
        write(api, &claim.metadata, left).await
    }
}

impl Protection {
    fn is_used(&self, claim: &ObjectKey) -> bool {
        let uses = |pod: &Pod| uses(pod, &claim.name);
        !self.informers.pods.filter_in(&claim.namespace, uses).is_empty()
    }

    /// The same, by the API server.
    async fn is_found_used(&self, claim: &ObjectKey) -> Result<bool, Error> {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &claim.namespace);
        let pods = pods.list(&ListParams::default()).await.step("looking for pods of a claim")?;
        Ok(pods.items.iter().any(|pod| uses(pod, &claim.name)))
    }
}

/// Until it has ended. One without a node gets none, nor does a kubelet start one, once the claim is to go.
fn uses(pod: &Pod, claim: &str) -> bool {
    pods::node_of(pod).is_some()
        && !pods::is_finished(pod)
        && pods::claims(pod).any(|name| name == claim)
}

fn is_bound(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Bound")
}

/// The finalizers but this one, of an object that is to go.
fn left(metadata: &ObjectMeta, finalizer: &str) -> Option<Vec<String>> {
    metadata.deletion_timestamp.as_ref()?;
    let all = metadata.finalizers.clone()?;
    all.iter().any(|it| it == finalizer).then_some(())?;
    Some(all.into_iter().filter(|it| it != finalizer).collect())
}

async fn write<K>(
    api: Api<K>,
    metadata: &ObjectMeta,
    left: Option<Vec<String>>,
) -> Result<Next, Error>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let Some(left) = left else { return Ok(Next::Change) };
    let patch = Patch::Merge(json!({"metadata": {
        "uid": metadata.uid, "resourceVersion": metadata.resource_version, "finalizers": left,
    }}));
    let name = metadata.name.as_deref().unwrap_or_default();
    let patched = api.patch(name, &PatchParams::default(), &patch).await;
    patched.unless_gone("letting go of storage").map(|_| Next::Change)
}

#[cfg(test)]
mod tests;
