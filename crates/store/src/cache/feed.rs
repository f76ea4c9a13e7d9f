//! Filling the cache: loading it from the store, following the store's watch, and going on after either
//! breaks.

use std::{
    collections::HashMap,
    num::NonZero,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use async_stream::try_stream;
use futures::{Stream, StreamExt, TryStreamExt};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    collection::Collection,
    object::{Item, Object},
    shared::{Shared, collection_of},
};
use crate::{Entry, Event, Events, Page, Query, Revision, StoreError};

/// How many entries one request of a load asks for.
const PAGE: usize = 500;
/// How many events that are there already are made visible together.
const BURST: usize = 256;

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The task that follows the store, which ends when nobody has this any more.
#[derive(Debug)]
pub(super) struct Feed {
    task: AbortHandle,
    /// Its sender is the task's.
    alive: watch::Receiver<()>,
}

impl Feed {
    /// Starts it.
    pub(super) fn of<T: Object + Send + Sync + 'static>(shared: Arc<Shared<T>>) -> Self {
        let (living, alive) = watch::channel(());
        let following = tokio::spawn(async move {
            let _living = living;
            follow(shared).await;
        });
        Self { task: following.abort_handle(), alive }
    }

    /// Waits until the task has died.
    pub(super) async fn lost(&self) {
        let _ = self.alive.clone().wait_for(|()| false).await;
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What goes on being fed while somebody has it.
pub(super) struct Fed<T> {
    pub(super) shared: Arc<Shared<T>>,
    #[expect(dead_code, reason = "it is there to be held")]
    pub(super) feed: Arc<Feed>,
}

/// Follows the store for as long as the cache lives.
async fn follow<T: Object + Send + Sync + 'static>(shared: Arc<Shared<T>>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let before = shared.revision();
        let broken = shared.follow_once().await;
        let Err(error) = shared.recover(broken).await else {
            pause = FIRST_PAUSE;
            continue;
        };
        if shared.revision() > before {
            pause = FIRST_PAUSE;
        }
        tracing::warn!(%error, revision = %shared.revision(), "cache lost the store, trying again");
        tokio::time::sleep(pause).await;
        pause = (2 * pause).min(LONGEST_PAUSE);
    }
}

/// What was loaded, in the order of the keys.
struct Loaded<T> {
    items: Vec<Arc<Item<T>>>,
    /// The entry that was written last.
    newest: Option<Entry>,
    revision: Revision,
}

impl<T: Object + Send + Sync + 'static> Shared<T> {
    /// Loads the cache for the first time. It begins a window's length before the present, or as far back
    /// as the store remembers, so that readers can go on after a restart of this program.
    pub(super) async fn load_with_history(
        self: &Arc<Self>,
        latest: Revision,
    ) -> Result<(), StoreError> {
        let past = latest.0.saturating_sub(self.options.window as u64).max(1);
        let mut loaded = self.load(Some(Revision(past))).await;
        if let Err(StoreError::Compacted { oldest }) = loaded {
            loaded = self.load(Some(oldest)).await;
        }
        if let Err(StoreError::Compacted { .. }) = loaded {
            loaded = self.load(None).await;
        }
        loaded
    }

    /// Replaces the cache's contents by the store's, and expires all readers.
    async fn load(self: &Arc<Self>, at: Option<Revision>) -> Result<(), StoreError> {
        let loaded = self.fetch(at).await?;
        self.replace(loaded);
        Ok(())
    }

    /// Everything below the root, as of one revision. Pages are decoded on all processors while the next are fetched, and
    /// let go then.
    async fn fetch(self: &Arc<Self>, at: Option<Revision>) -> Result<Loaded<T>, StoreError> {
        let decoders = std::thread::available_parallelism().map_or(1, NonZero::get);
        let decoded = self.pages(at).map_ok(|page| self.decode(page)).try_buffered(decoders);
        decoded.try_fold(Loaded::default(), async |loaded, page| Ok(loaded.and(page))).await
    }

    fn pages(&self, at: Option<Revision>) -> impl Stream<Item = Result<Page, StoreError>> {
        let mut query = Query { after: None, limit: Some(PAGE), at };
        try_stream! {
            loop {
                let page = self.store.list(&self.options.root, query.clone()).await?;
                query.at = Some(page.revision);
                query.after = page.entries.last().map(|entry| entry.key.to_string());
                let more = page.more;
                yield page;
                if !more {
                    break;
                }
            }
        }
    }

    async fn decode(self: &Arc<Self>, page: Page) -> Result<Loaded<T>, StoreError> {
        let shared = Arc::clone(self);
        let decode = move || {
            let newest = page.entries.iter().max_by_key(|entry| entry.revision).cloned();
            let items = page.entries.iter().map(|entry| shared.item(entry)).collect();
            Loaded { items, newest, revision: page.revision }
        };
        let decoding = tokio::task::spawn_blocking(decode).await;
        decoding.map_err(|error| StoreError::Corrupt(error.to_string()))
    }

    fn replace(&self, loaded: Loaded<T>) {
        let Loaded { items, newest, revision } = loaded;
        *self.last.lock() = newest.map(Event::Put);
        let mut loaded = sort(items);
        let mut collections = self.collections.write();
        collections.origin = revision;
        for name in loaded.keys() {
            collections.get_or_create(name, &self.options);
        }
        for (name, collection) in &collections.by_name {
            collection.reload(loaded.remove(name).unwrap_or_default(), revision);
        }
        self.all.reload(Vec::new(), revision);
        self.progress.send_replace(revision);
        collections.by_name.values().for_each(|collection| collection.wake());
        self.all.wake();
    }

    /// The cache's form of an entry. Not even one of the same key and revision can be taken instead: after a
    /// restore, these say nothing about the contents.
    pub(super) fn item(&self, entry: &Entry) -> Arc<Item<T>> {
        let object = (self.decode)(entry);
        Arc::new(Item { key: Arc::clone(&entry.key), revision: entry.revision, object })
    }

    /// Applies the store's changes until its watch breaks.
    async fn follow_once(&self) -> StoreError {
        match self.resume().await {
            Ok(events) => {
                self.following.store(true, Ordering::Relaxed);
                let broken = self.drain(events).await;
                self.following.store(false, Ordering::Relaxed);
                broken
            }
            Err(error) => error,
        }
    }

    /// A watch from where the cache is. A store that is behind the cache, or has another history, was set
    /// back to a backup: then our revisions mean something else there.
    async fn resume(&self) -> Result<Events, StoreError> {
        let latest = self.store.revision().await?;
        if latest < self.revision() || !self.is_continued().await? {
            tracing::warn!(%latest, known = %self.revision(), "store was set back");
            return Err(StoreError::Compacted { oldest: latest });
        }
        self.store.watch(self.revision()).await
    }

    /// Whether the last change that was seen is part of the store's history. If that is compacted, the watch
    /// will show whether it matters.
    async fn is_continued(&self) -> Result<bool, StoreError> {
        let last = self.last.lock().clone();
        let Some(last) = last else { return Ok(true) };
        match self.store.remembers(&last).await {
            Err(StoreError::Compacted { .. }) => Ok(true),
            answer => answer,
        }
    }

    async fn drain(&self, events: Events) -> StoreError {
        let mut bursts = events.ready_chunks(BURST);
        while let Some(burst) = bursts.next().await {
            let (events, error) = split(burst);
            self.apply_all(events);
            if let Some(error) = error {
                return error;
            }
        }
        StoreError::Unavailable("the store ended the watch".into())
    }

    /// What to do when the watch has broken: load anew if it can't be resumed.
    async fn recover(self: &Arc<Self>, broken: StoreError) -> Result<(), StoreError> {
        match broken {
            StoreError::Compacted { .. } => self.load(None).await,
            error => Err(error),
        }
    }

    /// Order: first the collections, then the revision up to which they are whole, then their readers.
    fn apply_all(&self, events: Vec<Event>) {
        let Some(last) = events.last().cloned() else { return };
        let revision = last.revision();
        *self.last.lock() = Some(last);
        let mut touched: Vec<Arc<Collection<T>>> = Vec::new();
        for event in events {
            let Some(collection) = self.apply(event) else { continue };
            if !touched.iter().any(|known| Arc::ptr_eq(known, &collection)) {
                touched.push(collection);
            }
        }
        self.progress.send_replace(revision);
        touched.iter().for_each(|collection| collection.wake());
        self.all.wake();
    }

    /// Applies a change; gives the collection that it changed, if it is one of ours.
    fn apply(&self, event: Event) -> Option<Arc<Collection<T>>> {
        let (key, revision) = (Arc::clone(event.key()), event.revision());
        let name = collection_of(&key).filter(|_| key.starts_with(&self.options.root))?;
        let collection = self.collection(name);
        let new = match event {
            Event::Put(entry) => Some(self.item(&entry)),
            Event::Delete { .. } => None,
        };
        self.all.record(collection.apply(&key, revision, new)?);
        Some(collection)
    }
}

/// The events of a burst, and the error that ended it.
fn split(burst: Vec<Result<Event, StoreError>>) -> (Vec<Event>, Option<StoreError>) {
    let mut events = Vec::with_capacity(burst.len());
    for event in burst {
        match event {
            Ok(event) => events.push(event),
            Err(error) => return (events, Some(error)),
        }
    }
    (events, None)
}

impl<T> Default for Loaded<T> {
    fn default() -> Self {
        Self { items: Vec::new(), newest: None, revision: Revision(0) }
    }
}

impl<T> Loaded<T> {
    /// With what follows.
    fn and(mut self, mut next: Self) -> Self {
        self.items.append(&mut next.items);
        let is_newer = |entry: &Entry| {
            self.newest.as_ref().is_none_or(|newest| newest.revision < entry.revision)
        };
        if let Some(newest) = next.newest.filter(is_newer) {
            self.newest = Some(newest);
        }
        self.revision = next.revision;
        self
    }
}

fn sort<T>(items: Vec<Arc<Item<T>>>) -> HashMap<Arc<str>, Vec<Arc<Item<T>>>> {
    let mut sorted: HashMap<Arc<str>, Vec<_>> = HashMap::new();
    for item in items {
        let Some(name) = collection_of(&item.key) else { continue };
        match sorted.get_mut(name) {
            Some(items) => items.push(item),
            None => drop(sorted.insert(name.into(), vec![item])),
        }
    }
    sorted
}
