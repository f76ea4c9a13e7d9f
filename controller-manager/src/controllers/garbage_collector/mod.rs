//! Deletes what has lost its owners, and carries out foreground and orphaning deletions, over all kinds
//! that discovery knows.
//!
//! The graph is only a hint where to look: before anything is deleted, the object and its owners are
//! read from the API server, and the deletion names the version that was read.

mod decision;
mod graph;
mod monitor;

use std::sync::Arc;

use api_types::meta::{ObjectMeta, OwnerReference};
use futures::future::try_join_all;
use kube::Client;
use kube::api::{DeleteParams, Patch, PatchParams, Preconditions};
use serde_json::json;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::discovery::Discovered;
use crate::frame::{Controller, Error, Next, ObjectKey, Registered, Step, WorkQueue};
use decision::{Action, OwnerState, Policy, decide};
use graph::{FOREGROUND, ORPHAN, Object};
use monitor::Monitor;

const NAME: &str = "garbage-collector";

/// The keys of this controller's queue are uids.
pub(super) fn register(context: &Context, tasks: &mut JoinSet<()>) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let monitor = Arc::new(Monitor::default());
    tasks.spawn(monitor.clone().run(context.client(), queue.clone()));
    let controller = GarbageCollector { client: context.client(), monitor, queue: queue.clone() };
    Registered::new(controller, queue)
}

struct GarbageCollector {
    client: Client,
    monitor: Arc<Monitor>,
    queue: Arc<WorkQueue>,
}

#[async_trait::async_trait]
impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    fn workers(&self) -> usize {
        20
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let uid = key.name.as_str();
        let known = self.monitor.graph.lock().get(uid).cloned();
        let Some(known) = known else { return Ok(Next::Change) };
        let Some((found, metadata)) = self.read(&known, uid).await? else {
            return Ok(Next::Change);
        };
        let object = Object::new(&known.api_version, &known.kind, &metadata);
        if object.waits_for(ORPHAN) {
            self.release_dependents(uid).await?;
            self.remove_finalizer(&found, &metadata, ORPHAN).await?;
        } else if object.waits_for(FOREGROUND) {
            self.delete_in_foreground(uid, &found, &metadata).await?;
        } else {
            self.collect(uid, &found, &object, &metadata).await?;
        }
        Ok(Next::Change)
    }
}

impl GarbageCollector {
    /// The object as it is now; `None` if it is gone, or its kind is.
    async fn read(
        &self,
        object: &Object,
        uid: &str,
    ) -> Result<Option<(Discovered, ObjectMeta)>, Error> {
        let Some(found) = self.monitor.resource(&object.api_version, &object.kind) else {
            return Ok(None);
        };
        let api = found.api(self.client.clone(), &object.namespace);
        let current = api.get_opt(&object.name).await.step("reading an object")?;
        let same = current.filter(|current| current.metadata.uid.as_deref() == Some(uid));
        Ok(same.map(|current| (found, current.metadata)))
    }

    async fn collect(
        &self,
        uid: &str,
        found: &Discovered,
        object: &Object,
        metadata: &ObjectMeta,
    ) -> Result<(), Error> {
        let states = object.owners.iter().map(|owner| self.state_of(owner, object));
        let states = try_join_all(states).await?;
        let has_dependents = !self.monitor.graph.lock().dependents(uid).is_empty();
        match decide(object, &states, has_dependents) {
            Action::Keep => Ok(()),
            Action::DropReferences(uids) => self.drop_references(found, metadata, &uids).await,
            Action::Delete(policy) => self.delete(found, metadata, policy).await,
        }
    }

    /// A kind that nobody knows cannot be judged; its objects count as there.
    async fn state_of(
        &self,
        owner: &OwnerReference,
        dependent: &Object,
    ) -> Result<OwnerState, Error> {
        if let Some(known) = self.monitor.graph.lock().get(&owner.uid) {
            let reachable = known.namespace.is_empty() || known.namespace == dependent.namespace;
            if reachable {
                return Ok(state(known.waits_for(FOREGROUND)));
            }
        }
        let Some(found) = self.monitor.resource(&owner.api_version, &owner.kind) else {
            return Ok(OwnerState::Solid);
        };
        if found.is_namespaced() && dependent.namespace.is_empty() {
            return Ok(OwnerState::Solid);
        }
        let api = found.api(self.client.clone(), &dependent.namespace);
        let current = api.get_opt(&owner.name).await.step("reading an owner")?;
        let same = current.filter(|current| current.metadata.uid.as_deref() == Some(&owner.uid));
        Ok(same.map_or(OwnerState::Absent, |current| {
            state(
                Object::new(&owner.api_version, &owner.kind, &current.metadata)
                    .waits_for(FOREGROUND),
            )
        }))
    }

    async fn delete(
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

    /// The object goes when no dependent holds it up; until then, the dependents are looked at.
    async fn delete_in_foreground(
        &self,
        uid: &str,
        found: &Discovered,
        metadata: &ObjectMeta,
    ) -> Result<(), Error> {
        let (blocked, dependents) = {
            let graph = self.monitor.graph.lock();
            (graph.is_blocked(uid), graph.dependents(uid))
        };
        let living = dependents.into_iter().filter(|(_, dependent)| !dependent.deleting);
        living.for_each(|(dependent, _)| self.queue.add(ObjectKey::cluster(dependent)));
        if blocked {
            return Ok(());
        }
        self.remove_finalizer(found, metadata, FOREGROUND).await
    }

    async fn release_dependents(&self, uid: &str) -> Result<(), Error> {
        let dependents = self.monitor.graph.lock().dependents(uid);
        let releases =
            dependents.iter().map(|(dependent, object)| self.release(uid, dependent, object));
        try_join_all(releases).await.map(|_| ())
    }

    async fn release(&self, owner: &str, uid: &str, dependent: &Object) -> Result<(), Error> {
        match self.read(dependent, uid).await? {
            Some((found, metadata)) => {
                self.drop_references(&found, &metadata, &[owner.to_owned()]).await
            }
            None => Ok(()),
        }
    }

    async fn drop_references(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        owners: &[String],
    ) -> Result<(), Error> {
        let references = metadata.owner_references.iter().flatten();
        let left: Vec<_> =
            references.filter(|reference| !owners.contains(&reference.uid)).collect();
        self.patch(found, metadata, json!({"ownerReferences": left})).await
    }

    async fn remove_finalizer(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        finalizer: &str,
    ) -> Result<(), Error> {
        let left: Vec<_> =
            metadata.finalizers.iter().flatten().filter(|mine| *mine != finalizer).collect();
        self.patch(found, metadata, json!({"finalizers": left})).await
    }

    /// Lists are replaced as a whole, so the patch is tied to the version that was read.
    async fn patch(
        &self,
        found: &Discovered,
        metadata: &ObjectMeta,
        mut change: serde_json::Value,
    ) -> Result<(), Error> {
        let key = ObjectKey::of(metadata);
        change["uid"] = json!(metadata.uid);
        change["resourceVersion"] = json!(metadata.resource_version);
        let api = found.api(self.client.clone(), &key.namespace);
        let patch = Patch::Merge(json!({"metadata": change}));
        let patched = api.patch(&key.name, &PatchParams::default(), &patch).await;
        patched.unless_gone("changing the metadata of an object").map(|_| ())
    }
}

fn state(waiting: bool) -> OwnerState {
    if waiting { OwnerState::Waiting } else { OwnerState::Solid }
}
