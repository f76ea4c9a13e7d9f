//! Deletes what has lost its owners, and carries out foreground and orphaning deletions, over all kinds
//! that discovery knows.
//!
//! *Flow*: the monitors keep a graph of all objects. It only says where to look: who has all owners in it
//! is left alone without a question. Otherwise the object and the owners that are missing are read from
//! the API server, and what is done names the version that was read.
//!
//! *Guarantees*: nothing is deleted because of an owner that is merely not known (yet): it must be absent
//! from the API server, by its uid, and its kind must be discovered and listed. An owner that orphans its
//! dependents, or waits for them, is let go only after all kinds were looked through in the API server
//! itself for dependents: the graph may lag behind, all the more after a start.

mod decision;
mod fault;
mod graph;
mod live;
mod monitors;
mod owners;
#[cfg(test)]
mod unknown_kinds;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use api_types::meta::ObjectMeta;
use futures::{StreamExt, TryStreamExt, stream};
use kube::Client;
use tokio::task::JoinSet;

use crate::context::Context;
use crate::discovery::{Discovered, PERIOD};
use crate::frame::{Controller, Error, Next, ObjectKey, Registered, WorkQueue};
use decision::{Action, Dependents, OwnerState, decide};
use graph::{Concern, FOREGROUND, Graph, ORPHAN, Object, blocks};
pub(super) use monitors::Monitors;
use owners::Owners;

const NAME: &str = "garbage-collector";
/// How soon to look again while the graph lags behind.
const LAG: Duration = Duration::from_secs(1);
/// So many dependents of one owner are released at a time.
const PARALLEL: usize = 50;

/// The keys of this controller's queue are uids.
pub(super) fn register(
    context: &Context,
    monitors: &Arc<Monitors>,
    tasks: &mut JoinSet<()>,
) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let (client, discovery) = (context.client(), context.discovery.clone());
    let monitors = monitors.clone();
    tasks.spawn(monitors.clone().run(discovery.clone(), client.clone(), queue.clone()));
    let controller = GarbageCollector {
        owners: Owners::new(client.clone(), monitors.clone()),
        dependents: live::Dependents::new(client.clone(), discovery),
        client,
        monitors,
        queue: queue.clone(),
    };
    Registered::new(controller, queue)
}

struct GarbageCollector {
    client: Client,
    monitors: Arc<Monitors>,
    owners: Owners,
    dependents: live::Dependents,
    queue: Arc<WorkQueue>,
}

#[async_trait::async_trait]
impl Controller for GarbageCollector {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let uid = key.name.as_str();
        let (concern, known) = {
            let graph = self.monitors.graph.lock();
            (graph.concern(uid), graph.get(uid).cloned())
        };
        let Some(known) = known.filter(|_| concern != Concern::Nothing) else {
            return Ok(Next::Change);
        };
        if let (Concern::Owners, Some(doubt)) = (concern, self.owners.doubt(&known)) {
            return Ok(after_doubt(doubt));
        }
        let Some((found, metadata)) = self.read(&known, uid).await? else {
            return Ok(Next::Change);
        };
        let object = Object::new(known.kind, &metadata);
        if object.waits_for(ORPHAN) {
            self.release_dependents(uid, &object).await?;
            self.remove_finalizer(&found, &metadata, ORPHAN).await?;
            Ok(Next::Change)
        } else if object.waits_for_dependents() {
            self.delete_in_foreground(uid, &object, &found, &metadata).await
        } else {
            self.collect(uid, &object, &found, &metadata).await
        }
    }
}

impl GarbageCollector {
    /// The object as it is now; `None` if it is gone, or its kind is.
    async fn read(
        &self,
        object: &Object,
        uid: &str,
    ) -> Result<Option<(Discovered, ObjectMeta)>, Error> {
        let Some(found) = self.monitors.resource(&object.kind) else { return Ok(None) };
        let api = found.api(self.client.clone(), &object.namespace);
        let current = live::read(&api, &object.name, uid).await?;
        Ok(current.map(|metadata| (found, metadata)))
    }

    async fn collect(
        &self,
        uid: &str,
        object: &Object,
        found: &Discovered,
        metadata: &ObjectMeta,
    ) -> Result<Next, Error> {
        let states = self.owners.states(object).await?;
        let dependents = dependents_of(&self.monitors.graph.lock(), uid);
        match decide(object, &states, dependents) {
            Action::Keep if states.contains(&OwnerState::Invalid) => {}
            Action::Keep => return Ok(self.after_keeping(uid)),
            Action::Later(doubt) => return Ok(after_doubt(doubt)),
            Action::DropReferences(uids) => self.drop_references(found, metadata, &uids).await?,
            Action::Delete(policy) => self.delete(found, metadata, policy).await?,
            Action::UnblockAndDelete => self.unblock_and_delete(found, metadata).await?,
        }
        Ok(Next::Change)
    }

    /// An owner that the graph does not have would go unnoticed.
    fn after_keeping(&self, uid: &str) -> Next {
        match self.monitors.graph.lock().concern(uid) {
            Concern::Nothing => Next::Change,
            _ => Next::After(PERIOD),
        }
    }

    /// The object goes when no dependent holds it up; until then, the dependents are looked at.
    async fn delete_in_foreground(
        &self,
        uid: &str,
        object: &Object,
        found: &Discovered,
        metadata: &ObjectMeta,
    ) -> Result<Next, Error> {
        let (blocked, living) = {
            let graph = self.monitors.graph.lock();
            (graph.is_blocked(uid), graph.living_dependents(uid))
        };
        living.into_iter().for_each(|dependent| self.queue.add(ObjectKey::cluster(dependent)));
        if blocked {
            return Ok(Next::Change);
        }
        let dependents = self.dependents.of(uid, &object.namespace).await?;
        let references = dependents.iter().map(|owned| owned.metadata.owner_references.as_deref());
        if references.flatten().any(|references| blocks(references, uid)) {
            return Ok(Next::After(LAG));
        }
        self.remove_finalizer(found, metadata, FOREGROUND).await.map(|()| Next::Change)
    }

    async fn release_dependents(&self, uid: &str, object: &Object) -> Result<(), Error> {
        let dependents = self.dependents.of(uid, &object.namespace).await?;
        let releases: Vec<_> = dependents.iter().map(|owned| self.release(uid, owned)).collect();
        stream::iter(releases).buffer_unordered(PARALLEL).try_collect().await
    }
}

fn after_doubt(doubt: OwnerState) -> Next {
    match doubt {
        OwnerState::Undiscovered => Next::After(PERIOD),
        _ => Next::After(LAG),
    }
}

fn dependents_of(graph: &Graph, uid: &str) -> Dependents {
    match (graph.has_dependents(uid), graph.has_waiting_dependents(uid)) {
        (_, true) => Dependents::Waiting,
        (true, false) => Dependents::Some,
        (false, false) => Dependents::None,
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use serde_json::{Value, json};
    use testkit::ControlPlane;

    use super::*;
    use crate::discovery::{Discovery, GroupKind};

    /// A collector that knows all kinds, and no object.
    async fn collector(plane: &ControlPlane) -> GarbageCollector {
        let discovery = Arc::new(Discovery::new(plane.client()));
        let monitors = Arc::new(Monitors::default());
        monitors.know(&discovery.fresh().await.unwrap());
        GarbageCollector {
            client: plane.client(),
            owners: Owners::new(plane.client(), monitors.clone()),
            dependents: live::Dependents::new(plane.client(), discovery),
            monitors,
            queue: Arc::default(),
        }
    }

    fn maps(plane: &ControlPlane) -> Api<ConfigMap> {
        Api::namespaced(plane.client(), "default")
    }

    async fn create(plane: &ControlPlane, name: &str, owners: Value) -> ObjectMeta {
        let map = json!({"metadata": {"name": name, "ownerReferences": owners}});
        let map = serde_json::from_value(map).unwrap();
        maps(plane).create(&PostParams::default(), &map).await.unwrap().metadata
    }

    fn owned_by(kind: &str, name: &str, uid: Option<&str>) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": name, "uid": uid.unwrap_or("gone")}])
    }

    /// What is done about an object of which the graph knows, but not of its owners.
    async fn reconcile(collector: &GarbageCollector, metadata: &ObjectMeta) -> Next {
        let uid = metadata.uid.clone().unwrap();
        let kind = Arc::new(GroupKind::new("v1", "ConfigMap"));
        collector.monitors.graph.lock().apply(&uid, Object::new(kind, metadata));
        collector.reconcile(&ObjectKey::cluster(uid)).await.unwrap()
    }

    #[tokio::test]
    async fn an_object_is_looked_at_again_while_less_is_known_of_its_owner_than_there_is() {
        let plane = ControlPlane::start().await;
        let collector = collector(&plane).await;
        let owner = create(&plane, "owner", json!([])).await;
        let owned = owned_by("ConfigMap", "owner", owner.uid.as_deref());
        let owned = create(&plane, "owned", owned).await;
        assert_eq!(reconcile(&collector, &owned).await, Next::After(PERIOD));
        let strange = create(&plane, "strange", owned_by("Unheard", "owner", None)).await;
        assert_eq!(reconcile(&collector, &strange).await, Next::After(PERIOD));
        for kept in ["owned", "strange"] {
            maps(&plane).get(kept).await.unwrap();
        }
    }

    /// It may have got an owner meanwhile.
    #[tokio::test]
    async fn what_was_changed_since_it_was_looked_at_is_not_deleted() {
        let plane = ControlPlane::start().await;
        let collector = collector(&plane).await;
        let seen = create(&plane, "a", owned_by("ConfigMap", "owner", None)).await;
        let found = collector.monitors.resource(&GroupKind::new("v1", "ConfigMap")).unwrap();
        let mut adopted = maps(&plane).get("a").await.unwrap();
        adopted.metadata.owner_references = None;
        maps(&plane).replace("a", &PostParams::default(), &adopted).await.unwrap();
        let deleted = collector.delete(&found, &seen, decision::Policy::Background).await;
        assert!(deleted.unwrap_err().is_conflict());
        maps(&plane).get("a").await.unwrap();
    }
}
