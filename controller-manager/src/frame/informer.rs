//! A store of all objects of one kind that follows the API server, shared by every controller that
//! needs the kind.
//!
//! kube-runtime's reflector is not used because three things are needed that it does not give: handlers
//! that see the object *before and after* (a pod that changes its labels leaves one selector and enters
//! another), finding objects without walking through all, and a [`Mark`] to wait for one's own
//! writes to come back.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Bound;
use std::sync::Arc;

use api_types::meta::ObjectMeta;
use futures::{Stream, StreamExt};
use kube::Resource;
use kube::runtime::watcher::{self, Event};
use listwatch::{Lists, News};
use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::watch;

use super::index::Index;
use super::{ObjectKey, Term};

/// A kind an informer can follow: one of our types, or one that is known only when it is found.
pub trait Watched:
    Resource<DynamicType: Clone + Send + Sync> + Clone + fmt::Debug + Send + Sync + 'static
{
    /// What the object is found by.
    fn terms(&self) -> Vec<Term> {
        Vec::new()
    }
}

/// An object before and after. At least one is there.
#[derive(Debug)]
pub struct Change<K> {
    /// The object before; `None` if it is new.
    pub old: Option<Arc<K>>,
    /// The object now; `None` if it is gone.
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The versions that there are.
    pub fn versions(&self) -> impl Iterator<Item = &Arc<K>> {
        self.old.iter().chain(&self.new)
    }

    /// The newest version that there is.
    pub fn latest(&self) -> Option<&Arc<K>> {
        self.new.as_ref().or(self.old.as_ref())
    }
}

/// A moment in the history of a kind: that of a write of ours. See [`Informer::has_seen`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    revision: u64,
    lists_begun: u64,
}

/// Whether everything that exists of a kind has been seen once.
#[derive(Clone, Debug)]
pub struct Synced {
    /// The kind, in the plural.
    pub kind: String,
    synced: watch::Receiver<bool>,
}

impl Synced {
    /// Whether it has.
    pub fn is_reached(&self) -> bool {
        *self.synced.borrow()
    }

    /// Returns when it has.
    pub async fn reached(mut self) {
        if self.synced.wait_for(|synced| *synced).await.is_err() {
            // The store is gone, and nothing will ever be seen in it.
            std::future::pending().await
        }
    }
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

/// The store.
pub struct Informer<K> {
    kind: String,
    plural: String,
    state: RwLock<State<K>>,
    handlers: RwLock<Vec<Handler<K>>>,
    synced: watch::Sender<bool>,
}

/// A look at the store that is the same however often one looks.
pub struct View<'a, K>(RwLockReadGuard<'a, State<K>>);

struct State<K> {
    objects: BTreeMap<ObjectKey, Arc<K>>,
    index: Index,
    /// The newest version that `objects` is known to have.
    revision: u64,
    lists: Lists<K>,
    lists_begun: u64,
    lists_done: u64,
}

impl<K> fmt::Debug for Informer<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Informer").field("objects", &self.state.read().objects.len()).finish()
    }
}

impl<K: Watched<DynamicType: Default>> Default for Informer<K> {
    fn default() -> Self {
        Self::of(&K::DynamicType::default())
    }
}

impl<K: Watched> Informer<K> {
    /// A store of the objects of this kind.
    pub fn of(kind: &K::DynamicType) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            index: Index::default(),
            revision: 0,
            lists: Lists::default(),
            lists_begun: 0,
            lists_done: 0,
        };
        Self {
            kind: K::kind(kind).into_owned(),
            plural: K::plural(kind).into_owned(),
            state: RwLock::new(state),
            handlers: RwLock::default(),
            synced: watch::Sender::new(false),
        }
    }

    /// The kind, as references name it.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Calls the handler with every change from now on. It must be quick: it runs within the stream.
    pub fn on_change(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        self.handlers.write().push(Box::new(handler));
    }

    /// One object.
    pub fn get(&self, key: &ObjectKey) -> Option<Arc<K>> {
        self.state.read().objects.get(key).cloned()
    }

    /// All objects.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.state.read().objects.values().cloned().collect()
    }

    /// The objects that the predicate picks.
    pub fn filter(&self, pick: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.state.read().objects.values().filter(|object| pick(object)).cloned().collect()
    }

    /// The objects of a namespace that the predicate picks.
    pub fn filter_in(&self, namespace: &str, pick: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        self.view().filter_in(namespace, pick)
    }

    /// The objects with a term.
    pub fn with(&self, term: &Term) -> Vec<Arc<K>> {
        self.view().with(term)
    }

    /// What is known at one moment. Nothing is taken in while it is held.
    pub fn view(&self) -> View<'_, K> {
        View(self.state.read())
    }

    /// Whether everything that exists has been seen once.
    pub fn is_synced(&self) -> bool {
        *self.synced.borrow()
    }

    /// Tells when everything that exists has been seen once.
    pub fn synced(&self) -> Synced {
        Synced { kind: self.plural.clone(), synced: self.synced.subscribe() }
    }

    /// The mark of an object that was just written: as the API server returned it.
    pub fn mark(&self, written: &K) -> Mark {
        self.mark_of(written.meta())
    }

    /// The mark of an object that was just written or read, by its metadata.
    pub fn mark_of(&self, metadata: &ObjectMeta) -> Mark {
        Mark { revision: version(metadata), lists_begun: self.state.read().lists_begun }
    }

    /// Whether the store contains what was written at the mark, or something newer: the version has
    /// come by, or a list that began later is complete.
    pub fn has_seen(&self, mark: &Mark) -> bool {
        let state = self.state.read();
        state.revision >= mark.revision || state.lists_done > mark.lists_begun
    }

    /// Follows a stream for ever. Errors are the stream's business; it goes on by itself.
    pub async fn follow(&self, events: impl Stream<Item = watcher::Result<Event<K>>> + Send) {
        let mut events = std::pin::pin!(events);
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => self.take_in(event),
                Err(error) => {
                    let kind = self.kind();
                    tracing::debug!(kind, error = &error as &dyn std::error::Error, "watching");
                }
            }
        }
    }

    /// Takes in one event.
    pub fn take_in(&self, event: Event<K>) {
        let all_is_seen = matches!(event, Event::InitDone);
        let changes = self.state.write().take_in(event);
        let handlers = self.handlers.read();
        for change in &changes {
            handlers.iter().for_each(|handler| handler(change));
        }
        // By the handlers, too.
        if all_is_seen {
            self.synced.send_replace(true);
        }
    }
}

impl<K> fmt::Debug for View<'_, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("objects", &self.0.objects.len()).finish()
    }
}

impl<K> View<'_, K> {
    /// The objects of a namespace that the predicate picks.
    pub fn filter_in(&self, namespace: &str, pick: impl Fn(&K) -> bool) -> Vec<Arc<K>> {
        let first = ObjectKey::new(namespace, "");
        let from = self.0.objects.range((Bound::Included(&first), Bound::Unbounded));
        let here = from.take_while(|(key, _)| key.namespace == namespace);
        here.filter(|(_, object)| pick(object)).map(|(_, object)| object.clone()).collect()
    }

    /// The objects with a term.
    pub fn with(&self, term: &Term) -> Vec<Arc<K>> {
        self.0.index.get(term).filter_map(|key| self.0.objects.get(key)).cloned().collect()
    }

    /// Of some terms, the one that the fewest objects have.
    pub fn rarest(&self, terms: Vec<Term>) -> Option<Term> {
        self.0.index.rarest(terms)
    }
}

impl<K: Watched> State<K> {
    fn take_in(&mut self, event: Event<K>) -> Vec<Change<K>> {
        self.lists_begun += u64::from(matches!(event, Event::Init));
        match self.lists.take_in(event) {
            None => Vec::new(),
            Some(News::Applied(object)) => self.applied(object).into_iter().collect(),
            Some(News::Deleted(object)) => self.deleted(&object).into_iter().collect(),
            Some(News::Listed(objects)) => self.listed(objects),
        }
    }

    fn applied(&mut self, object: K) -> Option<Change<K>> {
        self.revision = self.revision.max(revision(&object));
        let new = Arc::new(object);
        let key = ObjectKey::of(new.meta());
        let old = self.objects.insert(key.clone(), new.clone());
        self.index.update(&key, terms(old.as_deref()), new.terms());
        let change = Change { old, new: Some(new) };
        is_change(&change).then_some(change)
    }

    fn deleted(&mut self, object: &K) -> Option<Change<K>> {
        self.revision = self.revision.max(revision(object));
        let key = ObjectKey::of(object.meta());
        let old = self.objects.remove(&key)?;
        self.index.update(&key, old.terms(), Vec::new());
        Some(Change { old: Some(old), new: None })
    }

    /// The list replaces everything; what is new, other or missing in it has changed. So is the newest
    /// version: a store that was set back begins again with smaller ones.
    fn listed(&mut self, objects: Vec<K>) -> Vec<Change<K>> {
        self.lists_done = self.lists_begun;
        self.revision = objects.iter().map(revision).max().unwrap_or_default();
        let keyed = objects.into_iter().map(|it| (ObjectKey::of(it.meta()), Arc::new(it)));
        let mut before = std::mem::replace(&mut self.objects, keyed.collect());
        self.index = Index::default();
        for (key, object) in &self.objects {
            self.index.update(key, Vec::new(), object.terms());
        }
        let now = self.objects.iter();
        let mut changes: Vec<_> = now
            .map(|(key, new)| Change { old: before.remove(key), new: Some(new.clone()) })
            .filter(is_change)
            .collect();
        changes.extend(before.into_values().map(|old| Change { old: Some(old), new: None }));
        changes
    }
}

fn terms<K: Watched>(object: Option<&K>) -> Vec<Term> {
    object.map(K::terms).unwrap_or_default()
}

fn is_change<K: Watched>(change: &Change<K>) -> bool {
    let version = |object: &Option<Arc<K>>| {
        object.as_ref().map(|object| object.meta().resource_version.clone())
    };
    change.old.is_none() || version(&change.old) != version(&change.new)
}

/// Versions are numbers that grow over the whole store.
fn revision<K: Resource>(object: &K) -> u64 {
    version(object.meta())
}

fn version(metadata: &ObjectMeta) -> u64 {
    metadata.resource_version.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::ConfigMap;
    use serde_json::json;

    use super::*;

    fn map(name: &str, version: u64) -> ConfigMap {
        let metadata =
            json!({"namespace": "ns", "name": name, "resourceVersion": version.to_string()});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    /// An informer, and what its handlers have seen, as `name:old->new`.
    fn recorded() -> (Informer<ConfigMap>, Arc<RwLock<Vec<String>>>) {
        let informer = Informer::default();
        let seen: Arc<RwLock<Vec<String>>> = Arc::default();
        let recorder = Arc::clone(&seen);
        informer.on_change(move |change: &Change<ConfigMap>| {
            let name = change.latest().unwrap().metadata.name.clone().unwrap();
            let version =
                |object: &Option<Arc<ConfigMap>>| object.as_ref().map_or(0, |o| revision(&**o));
            recorder.write().push(format!(
                "{name}:{}->{}",
                version(&change.old),
                version(&change.new)
            ));
        });
        (informer, seen)
    }

    fn check(events: Vec<Event<ConfigMap>>, expected: &[&str]) -> Informer<ConfigMap> {
        let (informer, seen) = recorded();
        events.into_iter().for_each(|event| informer.take_in(event));
        assert_eq!(*seen.read(), expected);
        informer
    }

    #[test]
    fn handlers_see_objects_before_and_after() {
        check(
            vec![Event::Apply(map("a", 1)), Event::Apply(map("a", 2)), Event::Delete(map("a", 3))],
            &["a:0->1", "a:1->2", "a:2->0"],
        );
    }

    #[test]
    fn a_list_is_compared_with_what_was_known() {
        let informer = check(
            vec![
                Event::Apply(map("same", 1)),
                Event::Apply(map("newer", 2)),
                Event::Apply(map("gone", 3)),
                Event::Init,
                Event::InitApply(map("same", 1)),
                Event::InitApply(map("newer", 5)),
                Event::InitApply(map("new", 6)),
                Event::InitDone,
            ],
            &["same:0->1", "newer:0->2", "gone:0->3", "new:0->6", "newer:2->5", "gone:3->0"],
        );
        assert_eq!(informer.list().len(), 3);
    }

    #[test]
    fn all_is_seen_when_the_handlers_have_seen_it_too() {
        let informer = Arc::new(Informer::<ConfigMap>::default());
        let (seen, asked): (Arc<RwLock<Vec<bool>>>, _) = (Arc::default(), informer.clone());
        let recorder = seen.clone();
        informer.on_change(move |_| recorder.write().push(asked.is_synced()));
        for event in [Event::Init, Event::InitApply(map("a", 1)), Event::InitDone] {
            informer.take_in(event);
        }
        assert_eq!((&**seen.read(), informer.is_synced()), (&[false][..], true));
    }

    #[test]
    fn a_mark_is_seen_when_its_version_comes_by_or_a_later_list_is_complete() {
        let informer = Informer::default();
        let mark = informer.mark(&map("mine", 7));
        informer.take_in(Event::Apply(map("other", 6)));
        assert!(!informer.has_seen(&mark));
        informer.take_in(Event::Apply(map("other", 8)));
        assert!(informer.has_seen(&mark));

        let mark = informer.mark(&map("mine", 20));
        informer.take_in(Event::Init);
        assert!(!informer.has_seen(&mark));
        informer.take_in(Event::InitDone);
        assert!(informer.has_seen(&mark), "it was created and deleted while nobody looked");
    }

    #[test]
    fn a_list_under_way_shows_nothing() {
        let informer = Informer::default();
        informer.take_in(Event::Apply(map("old", 3)));
        let (mine, seen) = (informer.mark(&map("mine", 7)), informer.mark(&map("old", 3)));
        informer.take_in(Event::Init);
        informer.take_in(Event::InitApply(map("other", 9)));
        assert!(!informer.has_seen(&mine), "what the list shows cannot be read yet");
        assert!(informer.has_seen(&seen), "what is known stays known");
        informer.take_in(Event::InitApply(map("mine", 7)));
        informer.take_in(Event::InitDone);
        assert!(informer.has_seen(&mine));
        assert!(informer.get(&ObjectKey::new("ns", "mine")).is_some());
    }

    #[test]
    fn a_store_that_was_set_back_is_waited_for_again() {
        let informer = Informer::default();
        informer.take_in(Event::Apply(map("a", 900)));
        for event in [Event::Init, Event::InitApply(map("a", 5)), Event::InitDone] {
            informer.take_in(event);
        }
        assert!(!informer.has_seen(&informer.mark(&map("mine", 7))));
    }

    #[test]
    fn a_list_that_began_before_the_write_does_not_prove_anything() {
        let informer = Informer::default();
        informer.take_in(Event::Init);
        let mark = informer.mark(&map("mine", 20));
        informer.take_in(Event::InitDone);
        assert!(!informer.has_seen(&mark));
    }

    #[test]
    fn a_namespace_is_read_alone() {
        let informer = Informer::default();
        for namespace in ["a", "b", "c"] {
            let mut object = map("x", 1);
            object.metadata.namespace = Some(namespace.to_owned());
            informer.take_in(Event::Apply(object));
        }
        let found = informer.filter_in("b", |_| true);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].metadata.namespace.as_deref(), Some("b"));
    }
}
