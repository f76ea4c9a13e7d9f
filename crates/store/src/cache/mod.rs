//! A cache of the whole store, which answers all lists and watches of the API server.
//!
//! It follows the store with **one** watch of all keys. As every revision of the store is an event of that
//! watch, the cache can wait until it has seen a given one: that is what makes a list from it linearizable.
//!
//! Keys are sorted into collections by their first three segments, `/registry/<group>/<resource>/`. Each
//! has its objects, in a form that was made once per revision, and a log of its latest changes.
//! A watcher is a cursor in such a log.
//!
//! *Guarantees*: a list is the state as of its revision; a watch after it continues it without a gap or a
//! repetition, or ends with `Compacted`. *Errors*: when the store can't be reached, lists and watches go on
//! with what is known; only [`Cache::catch_up`] and [`Cache::wait_for`] fail.

mod collection;
mod feed;
mod labels;
mod lanes;
mod latest;
mod log;
mod ordered;
mod subscription;

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::{sync::watch, task::AbortHandle, time::timeout};

use self::{collection::Collection, latest::Latest};
pub use self::{ordered::Range, subscription::Subscription};
use crate::{Entry, Event, Revision, Store, StoreError};

/// The longest wait for a revision.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest that catching up may take.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(7);

/// What the cache keeps.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many changes of each collection are kept for watchers.
    pub window: usize,
    /// How much the states before these changes may weigh together, for each collection.
    pub window_bytes: usize,
    /// Keys below this prefix are kept; changes of others only move the revision.
    pub root: String,
}

impl Default for Options {
    fn default() -> Self {
        Self { window: 4096, window_bytes: 64 << 20, root: "/registry/".into() }
    }
}

/// What the cache has to know of an object.
pub trait Object {
    /// About how many bytes of memory it takes.
    fn weight(&self) -> usize;

    /// The labels that it can be listed by, in one order; `None` if they can't be read.
    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        Some(std::iter::empty())
    }

    /// What it can be watched by; `None` if it can't be read.
    fn trigger(&self) -> Option<&str> {
        None
    }
}

/// What is kept of an object that can't be read is little.
impl<T: Object, E> Object for Result<T, E> {
    fn weight(&self) -> usize {
        self.as_ref().map_or(0, T::weight)
    }

    fn labels(&self) -> Option<impl Iterator<Item = (&str, &str)>> {
        self.as_ref().ok()?.labels()
    }

    fn trigger(&self) -> Option<&str> {
        self.as_ref().ok()?.trigger()
    }
}

impl Object for String {
    fn weight(&self) -> usize {
        self.len()
    }
}

/// An object in the form that the readers want, made once for each revision.
#[derive(Debug)]
pub struct Item<T> {
    /// Its key.
    pub key: Arc<str>,
    /// The revision that wrote it.
    pub revision: Revision,
    /// What `decode` made of its bytes.
    pub object: T,
}

/// A change of one object. At least one of `old` and `new` is there.
#[derive(Debug)]
pub struct Change<T> {
    /// The revision of the change.
    pub revision: Revision,
    /// The revision of the change before it in the same collection. For the first change after the cache
    /// was loaded, the revision that it was loaded at.
    pub previous: Revision,
    /// The object before; absent if this created it.
    pub old: Option<Arc<Item<T>>>,
    /// The object after; absent if this deleted it.
    pub new: Option<Arc<Item<T>>>,
}

impl<T> Change<T> {
    /// The key of the object.
    pub fn key(&self) -> &str {
        self.new.as_ref().or(self.old.as_ref()).map_or("", |item| &item.key)
    }
}

/// The objects below a prefix as of one revision, in key order.
#[derive(Debug)]
pub struct Snapshot<T> {
    /// The revision as of which the items are; a watch after it continues them.
    pub revision: Revision,
    /// The items.
    pub items: Range<Arc<Item<T>>>,
}

/// See the module. Dropping it (and all subscriptions) ends the watch of the store.
pub struct Cache<T> {
    shared: Arc<Shared<T>>,
    latest: Latest,
    feed: AbortHandle,
    /// Its sender is the feed's.
    alive: watch::Receiver<()>,
}

/// What the cache and the task that feeds it have in common.
struct Shared<T> {
    store: Arc<dyn Store>,
    options: Options,
    decode: Box<dyn Fn(&Entry) -> T + Send + Sync>,
    collections: RwLock<Collections<T>>,
    /// The changes of all collections, without items.
    all: Arc<Collection<T>>,
    /// The last change that was seen, or the newest of the objects that were loaded.
    last: Mutex<Option<Event>>,
    /// Up to this revision every collection is whole. One may be further already.
    progress: watch::Sender<Revision>,
    /// Whether the store is being watched.
    following: AtomicBool,
}

struct Collections<T> {
    by_name: HashMap<Arc<str>, Arc<Collection<T>>>,
    /// The revision of the latest load: a collection that is first met now has not changed since.
    origin: Revision,
}

impl<T: Object + Send + Sync + 'static> Cache<T> {
    /// Loads the store and follows it. `decode` is called once for each revision of an object.
    pub async fn start(
        store: Arc<dyn Store>,
        options: Options,
        decode: impl Fn(&Entry) -> T + Send + Sync + 'static,
    ) -> Result<Arc<Self>, StoreError> {
        let latest = store.revision().await?;
        let shared = Arc::new(Shared::new(Arc::clone(&store), options, decode));
        shared.load_with_history(latest).await?;
        let (living, alive) = watch::channel(());
        let following = feed::follow(Arc::clone(&shared));
        let feed = tokio::spawn(async move {
            let _living = living;
            following.await
        });
        let feed = feed.abort_handle();
        let cache = Arc::new(Self { shared, latest: Latest::new(store), feed, alive });
        cache.wait_for(latest).await?;
        Ok(cache)
    }

    /// The revision up to which every change is in the cache.
    pub fn revision(&self) -> Revision {
        self.shared.revision()
    }

    /// Whether the store's changes come in, as far as is known.
    pub fn is_following(&self) -> bool {
        self.shared.following.load(Ordering::Relaxed)
    }

    /// Waits until the cache is never again as new as the store, which is or is not there: what feeds it has died.
    pub async fn lost(&self) {
        let _ = self.alive.clone().wait_for(|()| false).await;
    }

    /// Waits until the cache has reached a revision.
    ///
    /// *Errors*: `Unavailable` if that takes too long, because the store can't be reached or the revision
    /// is in the future.
    pub async fn wait_for(&self, revision: Revision) -> Result<(), StoreError> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut progress = self.shared.progress.subscribe();
        match timeout(PATIENCE, progress.wait_for(|reached| *reached >= revision)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(StoreError::Unavailable(format!(
                "the cache is at revision {} and has not reached {revision} in {} s",
                self.revision(),
                PATIENCE.as_secs()
            ))),
        }
    }

    /// Waits until the cache has all that was acknowledged before the call. Who lists after that reads
    /// linearizably.
    ///
    /// *Errors*: `Unavailable` if the store doesn't answer in time. The time is for all of it: an answer may
    /// have to wait for that of somebody who asked before.
    pub async fn catch_up(&self) -> Result<Revision, StoreError> {
        let catching_up = async {
            let revision = self.latest.get().await?;
            self.wait_for(revision).await?;
            Ok(revision)
        };
        timeout(CATCH_UP_PATIENCE, catching_up).await.unwrap_or_else(|_| {
            let seconds = CATCH_UP_PATIENCE.as_secs();
            Err(StoreError::Unavailable(format!("the store gave no answer within {seconds} s")))
        })
    }

    /// The object of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Item<T>>> {
        self.shared.get(key)
    }

    /// The objects below a prefix, which is a collection or a namespace in it and ends with `/`.
    pub fn list(&self, prefix: &str) -> Snapshot<T> {
        self.list_having(prefix, std::iter::empty())
    }

    /// The same, as far as they may have all these labels: others can be among them.
    pub fn list_having<'a>(
        &self,
        prefix: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Snapshot<T> {
        // Before the look for the collection: one that is met later has nothing up to this revision.
        let revision = self.revision();
        let collection = collection_of(prefix).and_then(|name| self.shared.known(name));
        let Some(collection) = collection else {
            return Snapshot { revision, items: Range::default() };
        };
        collection.list(prefix, labels, || self.revision())
    }

    /// The objects below a prefix that come after a key, as they were at a revision. `None` if not all of what has
    /// changed since is in the window, or it has not been reached.
    pub fn list_at(&self, prefix: &str, after: &str, revision: Revision) -> Option<Snapshot<T>> {
        let reached = revision <= self.revision();
        let collection = self.shared.collection(collection_of(prefix)?);
        collection.list_at(prefix, after, revision).filter(|_| reached)
    }

    /// The changes after a revision below a prefix, which is a collection or a namespace in it and ends
    /// with `/`. Fails with `Compacted` if they are not all in the window.
    pub fn watch(
        self: &Arc<Self>,
        prefix: &str,
        after: Revision,
    ) -> Result<Subscription<T>, StoreError> {
        self.watch_value(prefix, None, after)
    }

    /// The same, only of objects whose trigger has this value or had it: all if absent.
    pub fn watch_value(
        self: &Arc<Self>,
        prefix: &str,
        value: Option<&str>,
        after: Revision,
    ) -> Result<Subscription<T>, StoreError> {
        let collection = self.shared.collection(collection_of(prefix).unwrap_or(prefix));
        Subscription::new(Arc::clone(self), collection, prefix, value, after)
    }

    /// The changes of all collections after a revision, or as far back as they are known, and the revision after which
    /// that is. What is known now is not forgotten while it is read.
    pub fn recall_all(self: &Arc<Self>, after: Revision) -> (Revision, Subscription<T>) {
        Subscription::recall(Arc::clone(self), Arc::clone(&self.shared.all), after)
    }
}

impl<T> Drop for Cache<T> {
    fn drop(&mut self) {
        self.feed.abort();
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = *self.shared.progress.borrow();
        f.debug_struct("Cache").field("revision", &revision).finish_non_exhaustive()
    }
}

impl<T: Object + Send + Sync + 'static> Shared<T> {
    fn new(
        store: Arc<dyn Store>,
        options: Options,
        decode: impl Fn(&Entry) -> T + Send + Sync + 'static,
    ) -> Self {
        let origin = Revision(0);
        Self {
            store,
            decode: Box::new(decode),
            collections: RwLock::new(Collections { by_name: HashMap::new(), origin }),
            all: Arc::new(Collection::new(origin, &options)),
            last: Mutex::new(None),
            options,
            progress: watch::Sender::new(origin),
            following: AtomicBool::new(false),
        }
    }

    fn revision(&self) -> Revision {
        *self.progress.borrow()
    }

    fn get(&self, key: &str) -> Option<Arc<Item<T>>> {
        self.known(collection_of(key)?)?.get(key)
    }

    fn known(&self, name: &str) -> Option<Arc<Collection<T>>> {
        self.collections.read().by_name.get(name).cloned()
    }

    fn collection(&self, name: &str) -> Arc<Collection<T>> {
        let create = || self.collections.write().get_or_create(name, &self.options);
        self.known(name).unwrap_or_else(create)
    }
}

impl<T: Object> Collections<T> {
    fn get_or_create(&mut self, name: &str, options: &Options) -> Arc<Collection<T>> {
        let create = || Arc::new(Collection::new(self.origin, options));
        Arc::clone(self.by_name.entry(name.into()).or_insert_with(create))
    }
}

/// The collection of a key: its first three segments.
fn collection_of(key: &str) -> Option<&str> {
    let (end, _) = key.match_indices('/').nth(3)?;
    Some(&key[..=end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collection_is_the_first_three_segments() {
        for key in ["/registry/core/pods/n1/a", "/registry/core/pods/n1/", "/registry/core/pods/"] {
            assert_eq!(collection_of(key), Some("/registry/core/pods/"));
        }
        assert_eq!(collection_of("/registry/core/nodes/a"), Some("/registry/core/nodes/"));
        assert_eq!(collection_of("/registry/core/pods"), None);
    }
}
