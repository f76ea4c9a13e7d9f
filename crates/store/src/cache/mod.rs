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
mod object;
mod ordered;
mod shared;
mod subscription;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::time::timeout;

use self::{
    feed::{Fed, Feed},
    latest::Latest,
    shared::{Shared, collection_of},
};
pub use self::{
    object::{Change, Item, Listed, Object, Options, Snapshot},
    subscription::Subscription,
};
use crate::{Entry, Revision, Store, StoreError};

/// The longest wait for a revision.
const PATIENCE: Duration = Duration::from_secs(10);

/// The longest that catching up may take.
const CATCH_UP_PATIENCE: Duration = Duration::from_secs(7);

/// See the module. Dropping it (and all subscriptions) ends the watch of the store.
pub struct Cache<T> {
    shared: Arc<Shared<T>>,
    latest: Latest,
    feed: Arc<Feed>,
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
        let feed = Arc::new(Feed::of(Arc::clone(&shared)));
        let cache = Arc::new(Self { shared, latest: Latest::new(store), feed });
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
        self.feed.lost().await;
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

    /// Decodes an entry anew, for one of the same revision that could not be read when it came; whether that is there. It is no
    /// change: who reads on from there is told nothing.
    pub fn mend(&self, entry: &Entry) -> bool {
        let collection = collection_of(&entry.key).and_then(|name| self.shared.known(name));
        collection.is_some_and(|collection| collection.mend(&self.shared.item(entry)))
    }

    /// The revision of the latest change of a collection, or of none. It is the same only if the collection is.
    pub fn latest(&self, prefix: &str) -> Revision {
        let collection = collection_of(prefix).and_then(|name| self.shared.known(name));
        collection.map_or(Revision(0), |collection| collection.latest())
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
            return Snapshot { revision, items: Listed::default() };
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
        Subscription::new(self.fed(), collection, prefix, value, after)
    }

    /// The changes of all collections after a revision, or as far back as they are known, and the revision after which
    /// that is. What is known now is not forgotten while it is read.
    pub fn recall_all(self: &Arc<Self>, after: Revision) -> (Revision, Subscription<T>) {
        Subscription::recall(self.fed(), Arc::clone(&self.shared.all), after)
    }

    fn fed(&self) -> Fed<T> {
        Fed { shared: Arc::clone(&self.shared), feed: Arc::clone(&self.feed) }
    }
}

impl<T> fmt::Debug for Cache<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let revision = *self.shared.progress.borrow();
        f.debug_struct("Cache").field("revision", &revision).finish_non_exhaustive()
    }
}
