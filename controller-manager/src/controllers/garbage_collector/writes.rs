//! What the collector does to objects. Each write is tied to the version that was looked at.

use api_types::meta::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;

use super::GarbageCollector;
use super::decision::Policy;
use super::fault::Fault;
use super::live::{self, Owned};
use crate::discovery::Discovered;
use crate::frame::{Error, ObjectKey, Step};

/// How often a release is tried that others get in the way of.
const ATTEMPTS: usize = 8;

impl GarbageCollector {
    pub(super) async fn delete(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        policy: Policy,
    ) -> Result<(), Error> {
        let key = ObjectKey::of(metadata);
        tracing::info!(kind = found.resource.kind, object = %key, ?policy, "deleting what nobody owns");
        let this_version = Preconditions {
            uid: metadata.uid.clone(),
            resource_version: metadata.resource_version.clone(),
        };
        let how = match policy {
            Policy::Background => DeleteParams::background(),
            Policy::Foreground => DeleteParams::foreground(),
            Policy::Orphan => DeleteParams::orphan(),
        };
        let api = found.api(self.client.clone(), &key.namespace);
        let deleted = api.delete(&key.name, &how.preconditions(this_version)).await;
        deleted.unless_gone("deleting an object without owners").map(|_| ())
    }

    /// Owners that own each other: this one gives way.
    pub(super) async fn unblock_and_delete(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
    ) -> Result<(), Error> {
        let references = metadata.owner_references.iter().flatten().cloned();
        let unblocking = references
            .map(|owner| OwnerReference { block_owner_deletion: Some(false), ..owner })
            .collect::<Vec<_>>();
        let change = json!({"ownerReferences": unblocking});
        match self.patch(found, metadata, change).await? {
            Some(unblocked) => self.delete(found, &unblocked, Policy::Foreground).await,
            None => Ok(()),
        }
    }

    /// Takes the owner's reference away from an object, whatever else happens to that object.
    pub(super) async fn release(&self, owner: &str, owned: &Owned) -> Result<(), Error> {
        let key = ObjectKey::of(&owned.metadata);
        let uid = owned.metadata.uid.as_deref().unwrap_or_default();
        let api = owned.found.api(self.client.clone(), &key.namespace);
        let mut current = Some(owned.metadata.clone());
        for _ in 0..ATTEMPTS {
            let Some(metadata) = current else { return Ok(()) };
            match self.drop_references(&owned.found, &metadata, &[owner.to_owned()]).await {
                Err(error) if error.is_conflict() => {}
                released => return released,
            }
            current = live::read(&api, &key.name, uid).await?;
        }
        Err(Fault::Contended.into())
    }

    pub(super) async fn drop_references(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        owners: &[String],
    ) -> Result<(), Error> {
        let references = metadata.owner_references.iter().flatten();
        let left: Vec<_> =
            references.filter(|reference| !owners.contains(&reference.uid)).collect();
        self.patch(found, metadata, json!({"ownerReferences": left})).await.map(|_| ())
    }

    pub(super) async fn remove_finalizer(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        finalizer: &str,
    ) -> Result<(), Error> {
        let left: Vec<_> =
            metadata.finalizers.iter().flatten().filter(|mine| *mine != finalizer).collect();
        self.patch(found, metadata, json!({"finalizers": left})).await.map(|_| ())
    }

    /// Lists are replaced as a whole, so the patch is tied to the version that was read. `None` if the object
    /// is gone.
    async fn patch(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        mut change: serde_json::Value,
    ) -> Result<Option<ObjectMeta>, Error> {
        let key = ObjectKey::of(metadata);
        change["uid"] = json!(metadata.uid);
        change["resourceVersion"] = json!(metadata.resource_version);
        let api = found.api(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"metadata": change}));
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        let patched = patched.unless_gone("changing the metadata of an object")?;
        Ok(patched.map(|object| object.metadata))
    }
}
