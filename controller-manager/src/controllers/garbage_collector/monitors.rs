//! Follows the metadata of every object of every kind and keeps the graph up to date.

use std::collections::{HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use api_types::meta::ObjectMeta;
use futures::{Stream, StreamExt};
use kube::Client;
use kube::runtime::watcher::{Config, Event};
use kube::runtime::{WatchStreamExt, watcher};
use listwatch::{Lists, News, gone};
use parking_lot::{Mutex, RwLock};
use tokio::task::{AbortHandle, JoinError, JoinSet};

use super::graph::{Graph, Object, Uid};
use crate::discovery::{Discovered, Discovery, GroupKind, PERIOD, Resources};
use crate::frame::{ObjectKey, WorkQueue};

/// How soon to ask again when the API server did not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The graph, and the kinds it is made of.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    pub(super) graph: Mutex<Graph>,
    kinds: RwLock<HashMap<GroupKind, Kind>>,
}

#[derive(Debug)]
struct Kind {
    found: Discovered,
    /// Everything that exists of it has been seen once.
    listed: bool,
    /// Tells its watch from an earlier one.
    number: u64,
    watch: Option<AbortHandle>,
}

impl Drop for Kind {
    fn drop(&mut self) {
        self.watch.iter().for_each(AbortHandle::abort);
    }
}

impl Monitors {
    /// The resource of a kind.
    pub(super) fn resource(&self, kind: &GroupKind) -> Option<Discovered> {
        self.kinds.read().get(kind).map(|kind| kind.found.clone())
    }

    /// Whether the graph has, or had at some time, all objects of the kind, as far as it can.
    pub(super) fn is_listed(&self, kind: &GroupKind) -> bool {
        let is_complete = |kind: &Kind| kind.listed || !kind.found.is_collectable();
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
        // The watch before is not heard from here on, so what the graph has now is what it has seen.
        let before = self.kinds.write().remove(kind);
        let number = watches.next_number();
        let listed = before.is_some_and(|before| before.listed);
        let new = Kind { found: found.clone(), listed, number, watch: None };
        self.kinds.write().insert(kind.clone(), new);
        if !found.is_collectable() {
            return;
        }
        let events = watcher(found.api(watches.client.clone(), ""), Config::default());
        let events = events.default_backoff().map(|event| event.map(metadata_alone));
        let watch = Watch::new(kind, number);
        let following = self.clone().follow(watch, events, watches.queue.clone());
        let handle = watches.tasks.spawn(following);
        if let Some(kind) = self.kinds.write().get_mut(kind) {
            kind.watch = Some(handle);
        }
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

    async fn follow(
        self: Arc<Self>,
        mut watch: Watch,
        events: impl Stream<Item = watcher::Result<Event<ObjectMeta>>> + Send,
        queue: Arc<WorkQueue>,
    ) {
        let mut events = pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take_in(event, &mut watch, &queue),
                Err(error) => {
                    let kind = &watch.kind.kind;
                    tracing::debug!(kind, error = &error as &dyn std::error::Error, "watching");
                }
            }
        }
    }

    fn take_in(&self, event: Event<ObjectMeta>, watch: &mut Watch, queue: &WorkQueue) {
        let mut graph = self.graph.lock();
        if !self.is_current(watch) {
            return;
        }
        let (complete, gone, there) = match watch.lists.take_in(event) {
            None => return,
            Some(News::Applied(object)) => (false, vec![], vec![object]),
            Some(News::Deleted(object)) => (false, vec![uid(&object)], vec![]),
            // What the graph has was shown by this watch, or by one of an earlier version.
            Some(News::Listed(all)) => {
                (true, gone(graph.of_kind(&watch.kind), all.iter().map(uid)), all)
            }
        };
        let mut affected: Vec<Uid> = gone.iter().flat_map(|uid| graph.remove(uid)).collect();
        for metadata in there {
            let object = Object::new(watch.kind.clone(), &metadata);
            affected.extend(graph.apply(&uid(&metadata), object));
        }
        drop(graph);
        if complete && let Some(kind) = self.kinds.write().get_mut(&*watch.kind) {
            kind.listed = true;
        }
        affected.into_iter().for_each(|uid| queue.add(ObjectKey::cluster(uid)));
    }

    fn is_current(&self, watch: &Watch) -> bool {
        self.kinds.read().get(&*watch.kind).is_some_and(|kind| kind.number == watch.number)
    }
}

/// A watch of one kind.
struct Watch {
    kind: Arc<GroupKind>,
    number: u64,
    lists: Lists<ObjectMeta>,
}

impl Watch {
    fn new(kind: &GroupKind, number: u64) -> Self {
        Self { kind: Arc::new(kind.clone()), number, lists: Lists::default() }
    }
}

fn uid(metadata: &ObjectMeta) -> Uid {
    metadata.uid.clone().unwrap_or_default()
}

fn metadata_alone<T>(event: Event<T>) -> Event<ObjectMeta>
where
    T: kube::Resource,
{
    let metadata = |mut object: T| std::mem::take(object.meta_mut());
    match event {
        Event::Apply(object) => Event::Apply(metadata(object)),
        Event::Delete(object) => Event::Delete(metadata(object)),
        Event::Init => Event::Init,
        Event::InitApply(object) => Event::InitApply(metadata(object)),
        Event::InitDone => Event::InitDone,
    }
}

/// The watches of all kinds.
struct Watches {
    tasks: JoinSet<()>,
    numbers: u64,
    client: Client,
    queue: Arc<WorkQueue>,
}

impl Watches {
    fn new(client: Client, queue: Arc<WorkQueue>) -> Self {
        Self { tasks: JoinSet::new(), numbers: 0, client, queue }
    }

    fn next_number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
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
impl Monitors {
    /// Knows these kinds, and has seen no object.
    pub(super) fn know(&self, resources: &Resources) {
        for found in &resources.all {
            let kind = Kind { found: found.clone(), listed: true, number: 0, watch: None };
            self.kinds.write().insert(found.group_kind(), kind);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(uid: &str) -> ObjectMeta {
        ObjectMeta { uid: Some(uid.to_owned()), ..ObjectMeta::default() }
    }

    #[tokio::test]
    async fn kinds_come_and_go_with_discovery_unless_their_server_is_only_away() {
        let plane = testkit::ControlPlane::start().await;
        let found = Discovery::new(plane.client()).fresh().await.unwrap();
        let monitors = Arc::new(Monitors::default());
        let mut watches = Watches::new(plane.client(), Arc::default());
        monitors.take_on(&found, &mut watches);
        let sets = GroupKind::new("apps/v1", "ReplicaSet");
        assert!(monitors.resource(&sets).is_some());
        let without: Vec<_> =
            found.all.iter().filter(|found| found.group_kind() != sets).cloned().collect();
        let set = Object::new(Arc::new(sets.clone()), &object("set"));
        monitors.graph.lock().apply("set", set);

        let away = Resources { all: without.clone(), failing: vec!["apps/v1".to_owned()] };
        monitors.take_on(&away, &mut watches);
        assert!(monitors.resource(&sets).is_some());
        monitors.take_on(&Resources { all: without, failing: Vec::new() }, &mut watches);
        assert!(monitors.resource(&sets).is_none());
        assert!(monitors.graph.lock().get("set").is_none());
    }

    #[tokio::test]
    async fn a_new_version_of_a_kind_is_compared_with_what_the_old_one_has_shown() {
        let plane = testkit::ControlPlane::start().await;
        let found = Discovery::new(plane.client()).fresh().await.unwrap();
        let sets = GroupKind::new("apps/v1", "ReplicaSet");
        let set = found.all.iter().find(|found| found.group_kind() == sets).unwrap().clone();
        let monitors = Arc::new(Monitors::default());
        let mut watches = Watches::new(plane.client(), Arc::default());
        let mut old = set.clone();
        old.resource.version = "v0".to_owned();
        monitors.follow_kind(&sets, &old, &mut watches);
        let mut earlier = Watch::new(&sets, 1);
        monitors.take_in(Event::Apply(object("gone")), &mut earlier, &watches.queue);
        assert!(monitors.graph.lock().get("gone").is_some());

        monitors.follow_kind(&sets, &set, &mut watches);
        monitors.take_in(Event::Apply(object("late")), &mut earlier, &watches.queue);
        assert!(monitors.graph.lock().get("late").is_none(), "it is not heard any more");
        testkit::wait::until("the new list is compared", async || {
            let gone = monitors.graph.lock().get("gone").is_none();
            gone.then_some(()).ok_or(())
        })
        .await;
    }
}
