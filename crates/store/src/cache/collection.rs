//! One collection: its objects, its latest changes, and the readers to wake.

use std::{collections::BTreeMap, ops::Bound, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    Change, Item, Options, Weigh,
    log::{Cursor, Log},
};
use crate::{Revision, StoreError};

/// The objects of a collection by key.
pub(super) type Items<T> = BTreeMap<Arc<str>, Arc<Item<T>>>;

/// A collection.
#[derive(Debug)]
pub(super) struct Collection<T> {
    state: RwLock<State<T>>,
    wake: watch::Sender<()>,
}

#[derive(Debug)]
struct State<T> {
    items: Items<T>,
    log: Log<T>,
    /// The revision of the latest change. What happened before the load is not known in detail, so the
    /// load's revision stands for it: a listener that knows less sees a hole and asks.
    latest: Revision,
}

impl<T: Weigh> Collection<T> {
    /// An empty collection as of a revision.
    pub(super) fn new(start: Revision, options: &Options) -> Self {
        let log = Log::new(start, options);
        let state = State { items: Items::new(), log, latest: start };
        Self { state: RwLock::new(state), wake: watch::Sender::default() }
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Item<T>>> {
        self.state.read().items.get(key).cloned()
    }

    /// The items below a prefix, and the revision of the collection's latest change. `observe` is called
    /// while no change can come in between.
    pub(super) fn list<R>(
        &self,
        prefix: &str,
        observe: impl FnOnce() -> R,
    ) -> (Vec<Arc<Item<T>>>, Revision, R) {
        let state = self.state.read();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let below =
            state.items.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        (below.map(|(_, item)| Arc::clone(item)).collect(), state.latest, observe())
    }

    /// Takes over the new state of a key. `None` if nothing changed: the key was not there to be deleted.
    pub(super) fn apply(
        &self,
        key: &Arc<str>,
        revision: Revision,
        new: Option<Arc<Item<T>>>,
    ) -> Option<Arc<Change<T>>> {
        let mut state = self.state.write();
        let old = match &new {
            Some(item) => state.items.insert(Arc::clone(key), Arc::clone(item)),
            None => Some(state.items.remove(key)?),
        };
        let previous = std::mem::replace(&mut state.latest, revision);
        let change = Arc::new(Change { revision, previous, old, new });
        state.log.push(Arc::clone(&change));
        Some(change)
    }

    /// Adds a change to the log alone: for the log of all collections.
    pub(super) fn record(&self, change: Arc<Change<T>>) {
        self.state.write().log.push(change);
    }

    /// Replaces everything after a gap, and expires all readers.
    pub(super) fn reload(&self, items: Items<T>, revision: Revision) {
        let mut state = self.state.write();
        state.items = items;
        state.latest = revision;
        state.log.restart(revision);
    }

    pub(super) fn seek(&self, after: Revision) -> Result<Cursor, StoreError> {
        self.state.read().log.seek(after)
    }

    /// Appends up to `limit` changes from a cursor on that are wanted, and moves the cursor behind what
    /// was looked at.
    pub(super) fn read(
        &self,
        cursor: &mut Cursor,
        limit: usize,
        wanted: impl Fn(&Change<T>) -> bool,
        into: &mut impl Extend<Arc<Change<T>>>,
    ) -> Result<(), StoreError> {
        let state = self.state.read();
        let mut seen = *cursor;
        let changes = state.log.read(*cursor)?.inspect(|_| seen += 1);
        into.extend(changes.filter(|change| wanted(change)).take(limit).cloned());
        *cursor = seen;
        Ok(())
    }

    pub(super) fn is_read_up_to(&self, cursor: Cursor) -> bool {
        self.state.read().log.end() == cursor
    }

    /// Wakes the readers, after changes.
    pub(super) fn wake(&self) {
        self.wake.send_replace(());
    }

    pub(super) fn wakes(&self) -> watch::Receiver<()> {
        self.wake.subscribe()
    }
}
