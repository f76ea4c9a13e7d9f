//! Follows the metadata of every object of every kind and keeps the graph up to date.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use api_machinery::quota::GroupResource;
use api_types::meta::ObjectMeta;
use kube::Client;
use kube::api::DynamicObject;
use kube::core::PartialObjectMeta;
use kube::runtime::watcher::Config;
use kube::runtime::{WatchStreamExt, watcher};
use parking_lot::{Mutex, RwLock};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::graph::{Graph, Object, Uid};
use crate::discovery::{Discovered, Discovery, GroupKind, PERIOD, Resources};
use crate::frame::{Change, Informer, ObjectKey, WorkQueue};

/// How soon to ask again when the API server did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// An object, of which only the metadata is of interest here.
type Metadata = PartialObjectMeta<DynamicObject>;

/// The graph, and the kinds it is made of.
#[derive(Debug, Default)]
pub(crate) struct Monitors {
    pub(super) graph: Mutex<Graph>,
    kinds: RwLock<HashMap<GroupKind, Kind>>,
    removals: RwLock<Vec<Removal>>,
}

/// Is told of objects that are gone: of which resource (its group and plural) and namespace.
struct Removal(Box<OnRemoval>);

type OnRemoval = dyn Fn(GroupResource<'_>, &str) + Send + Sync;

impl fmt::Debug for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Removal").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Kind {
    found: Discovered,
    /// It stays when the kind is found in another version, which is then compared with what the one before has shown.
    objects: Arc<Informer<Metadata>>,
    /// Held by the watch that is heard: one that is given up may take a moment to end.
    turn: Arc<tokio::sync::Mutex<()>>,
    watch: Option<AbortHandle>,
}

impl Drop for Kind {
    fn drop(&mut self) {
        self.watch.iter().for_each(AbortHandle::abort);
    }
}

impl Monitors {
    /// Has the removal of every object told, as long as its kind is followed.
    pub(crate) fn on_removal(&self, handler: impl Fn((&str, &str), &str) + Send + Sync + 'static) {
        self.removals.write().push(Removal(Box::new(handler)));
    }

    fn tell_of_removal(&self, kind: &GroupKind, change: &Change<Metadata>) {
        let (Some(old), None) = (&change.old, &change.new) else { return };
        let Some(found) = self.resource(kind) else { return };
        let namespace = old.metadata.namespace.as_deref().unwrap_or_default();
        let resource = (found.resource.group.as_str(), found.resource.plural.as_str());
        self.removals.read().iter().for_each(|removal| removal.0(resource, namespace));
    }

    /// The resource of a kind.
    pub(super) fn resource(&self, kind: &GroupKind) -> Option<Discovered> {
        self.kinds.read().get(kind).map(|kind| kind.found.clone())
    }

    /// Whether the graph has, or had at some time, all objects of the kind, as far as it can.
    pub(super) fn is_listed(&self, kind: &GroupKind) -> bool {
        let is_complete = |kind: &Kind| kind.objects.is_synced() || !kind.found.is_collectable();
        self.kinds.read().get(kind).is_some_and(is_complete)
    }

    /// Discovers and follows, for ever.
    pub(super) async fn run(
        self: Arc<Self>,
        discovery: Arc<Discovery>,
        client: Client,
        queue: Arc<WorkQueue>,
    ) {
        let mut watches = Watches::new(client, queue);
        loop {
            let pause = match discovery.fresh().await {
                Ok(resources) => {
                    self.take_on(&resources, &mut watches);
                    PERIOD
                }
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(error, "discovering resources");
                    RETRY
                }
            };
            let _ = tokio::time::timeout(pause, watches.failed()).await;
        }
    }

    /// Follows the kinds that are new or have another version, and no longer those that are gone.
    fn take_on(self: &Arc<Self>, resources: &Resources, watches: &mut Watches) {
        let mut gone: HashSet<GroupKind> = self.kinds.read().keys().cloned().collect();
        for found in &resources.all {
            let kind = found.group_kind();
            gone.remove(&kind);
            if self.resource(&kind).as_ref() != Some(found) {
                self.follow_kind(&kind, found, watches);
            }
        }
        for kind in gone {
            self.leave(&kind, &resources.failing, &watches.queue);
        }
    }

    fn follow_kind(self: &Arc<Self>, kind: &GroupKind, found: &Discovered, watches: &mut Watches) {
        let before = self.kinds.read().get(kind).map(|it| (it.objects.clone(), it.turn.clone()));
        let (objects, turn) =
            before.unwrap_or_else(|| (self.objects(kind, found, &watches.queue), Arc::default()));
        let watch = found.is_collectable().then(|| {
            let events = watcher(found.api(watches.client.clone(), ""), Config::default());
            let events = events.default_backoff().modify(slim);
            let (objects, turn) = (objects.clone(), turn.clone());
            watches.tasks.spawn(async move {
                let _turn = turn.lock().await;
                objects.follow(events).await;
            })
        });
        self.kinds
            .write()
            .insert(kind.clone(), Kind { found: found.clone(), objects, turn, watch });
    }

    /// The objects of a kind; the graph is told of each change, as long as they are followed.
    fn objects(
        self: &Arc<Self>,
        kind: &GroupKind,
        found: &Discovered,
        queue: &Arc<WorkQueue>,
    ) -> Arc<Informer<Metadata>> {
        let (monitors, queue, kind) = (Arc::downgrade(self), queue.clone(), Arc::new(kind.clone()));
        Arc::new_cyclic(|informer: &Weak<Informer<Metadata>>| {
            let (told, informer) = (Informer::of(&found.resource), informer.clone());
            told.on_change(move |change| {
                let Some(monitors) = monitors.upgrade() else { return };
                let affected = monitors.take_in(&kind, &informer, change);
                affected.into_iter().for_each(|uid| queue.add(ObjectKey::cluster(uid)));
                monitors.tell_of_removal(&kind, change);
            });
            told
        })
    }

    /// Who is worth a look.
    fn take_in(
        &self,
        kind: &Arc<GroupKind>,
        of: &Weak<Informer<Metadata>>,
        change: &Change<Metadata>,
    ) -> Vec<Uid> {
        let mut graph = self.graph.lock();
        let known = self.kinds.read().get(kind).map(|kind| Arc::downgrade(&kind.objects));
        // A kind that has been left, and whose watch is not quite at its end, is not heard.
        if known.is_none_or(|known| !known.ptr_eq(of)) {
            return Vec::new();
        }
        let uid = |object: &Arc<Metadata>| object.metadata.uid.clone().unwrap_or_default();
        let (before, now) = (change.old.as_ref().map(uid), change.new.as_ref().map(uid));
        let mut affected = Vec::new();
        if let Some(gone) = before.filter(|before| Some(before) != now.as_ref()) {
            affected.extend(graph.remove(&gone));
        }
        if let (Some(object), Some(uid)) = (&change.new, now) {
            affected.extend(graph.apply(&uid, Object::new(kind.clone(), &object.metadata)));
        }
        affected
    }

    /// A kind whose server is away for a while is not gone.
    fn leave(&self, kind: &GroupKind, failing: &[String], queue: &WorkQueue) {
        let Some(found) = self.resource(kind) else { return };
        if failing.contains(&found.resource.api_version) {
            return;
        }
        self.kinds.write().remove(kind);
        let mut graph = self.graph.lock();
        let uids = graph.of_kind(kind);
        let affected: Vec<Uid> = uids.iter().flat_map(|uid| graph.remove(uid)).collect();
        affected.into_iter().for_each(|uid| queue.add(ObjectKey::cluster(uid)));
    }
}

/// Objects may be many; what ownership has nothing to do with is not kept.
fn slim(object: &mut Metadata) {
    let all = std::mem::take(&mut object.metadata);
    object.metadata = ObjectMeta {
        namespace: all.namespace,
        name: all.name,
        uid: all.uid,
        resource_version: all.resource_version,
        owner_references: all.owner_references,
        deletion_timestamp: all.deletion_timestamp,
        finalizers: all.finalizers,
        ..ObjectMeta::default()
    };
}

/// The watches of all kinds.
struct Watches {
    tasks: JoinSet<()>,
    client: Client,
    queue: Arc<WorkQueue>,
}

impl Watches {
    fn new(client: Client, queue: Arc<WorkQueue>) -> Self {
        Self { tasks: JoinSet::new(), client, queue }
    }

    /// Never returns: a watch that panics makes a collector with a blind spot, so the panic goes on here.
    /// One that is left ends quietly.
    async fn failed(&mut self) -> std::convert::Infallible {
        loop {
            match self.tasks.join_next().await {
                Some(Err(error)) if error.is_panic() => resume(error),
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }
}

fn resume(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}

#[cfg(test)]
use kube::runtime::watcher::Event;

#[cfg(test)]
impl Monitors {
    /// Knows these kinds, and has seen no object.
    pub(super) fn know(&self, resources: &Resources) {
        for found in &resources.all {
            let objects = Arc::new(Informer::of(&found.resource));
            [Event::Init, Event::InitDone].into_iter().for_each(|event| objects.take_in(event));
            let (found, turn) = (found.clone(), Arc::default());
            let kind = Kind { found, objects, turn, watch: None };
            self.kinds.write().insert(kind.found.group_kind(), kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use testkit::{ControlPlane, wait};

    use super::*;

    fn object(uid: &str) -> Metadata {
        let metadata = json!({"namespace": "ns", "name": uid, "uid": uid, "resourceVersion": "1"});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    #[tokio::test]
    async fn kinds_come_and_go_with_discovery_unless_their_server_is_only_away() {
        let plane = ControlPlane::start().await;
        let found = Discovery::new(plane.client()).fresh().await.unwrap();
        let monitors = Arc::new(Monitors::default());
        let mut watches = Watches::new(plane.client(), Arc::default());
        monitors.take_on(&found, &mut watches);
        let sets = GroupKind::new("apps/v1", "ReplicaSet");
        assert!(monitors.resource(&sets).is_some());
        let without: Vec<_> =
            found.all.iter().filter(|found| found.group_kind() != sets).cloned().collect();
        let set = Object::new(Arc::new(sets.clone()), &object("set").metadata);
        monitors.graph.lock().apply("set", set);

        let away = Resources { all: without.clone(), failing: vec!["apps/v1".to_owned()] };
        monitors.take_on(&away, &mut watches);
        assert!(monitors.resource(&sets).is_some());
        monitors.take_on(&Resources { all: without, failing: Vec::new() }, &mut watches);
        assert!(monitors.resource(&sets).is_none());
        assert!(monitors.graph.lock().get("set").is_none());
    }

    /// What is needed to follow ReplicaSets.
    async fn sets() -> (ControlPlane, Arc<Monitors>, Watches, GroupKind, Discovered) {
        let plane = ControlPlane::start().await;
        let found = Discovery::new(plane.client()).fresh().await.unwrap();
        let sets = GroupKind::new("apps/v1", "ReplicaSet");
        let set = found.all.iter().find(|found| found.group_kind() == sets).unwrap().clone();
        let watches = Watches::new(plane.client(), Arc::default());
        (plane, Arc::default(), watches, sets, set)
    }

    #[tokio::test]
    async fn a_new_version_of_a_kind_is_compared_with_what_the_old_one_has_shown() {
        let (_plane, monitors, mut watches, sets, set) = sets().await;
        let mut old = set.clone();
        old.resource.version = "v0".to_owned();
        monitors.follow_kind(&sets, &old, &mut watches);
        let objects = monitors.kinds.read()[&sets].objects.clone();
        objects.take_in(Event::Apply(object("gone")));
        assert!(monitors.graph.lock().get("gone").is_some());

        monitors.follow_kind(&sets, &set, &mut watches);
        wait::until("the new list is compared", async || {
            let gone = monitors.graph.lock().get("gone").is_none();
            gone.then_some(()).ok_or(())
        })
        .await;
    }

    #[tokio::test]
    async fn an_object_that_takes_the_name_of_another_takes_its_place() {
        let (_plane, monitors, mut watches, sets, set) = sets().await;
        monitors.follow_kind(&sets, &set, &mut watches);
        let objects = monitors.kinds.read()[&sets].objects.clone();
        let mut second = object("second");
        second.metadata.name = Some("first".to_owned());
        second.metadata.resource_version = Some("2".to_owned());
        objects.take_in(Event::Apply(object("first")));
        objects.take_in(Event::Apply(second));
        let graph = monitors.graph.lock();
        assert!(graph.get("first").is_none() && graph.get("second").is_some());
    }

    #[tokio::test]
    async fn a_kind_that_is_left_is_not_heard_any_more() {
        let (_plane, monitors, mut watches, sets, set) = sets().await;
        monitors.follow_kind(&sets, &set, &mut watches);
        let objects = monitors.kinds.read()[&sets].objects.clone();
        monitors.leave(&sets, &[], &watches.queue);
        objects.take_in(Event::Apply(object("late")));
        assert!(monitors.graph.lock().get("late").is_none());
    }
}
