//! One collection: its objects, its latest changes, and the readers to wake.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    labels::Labels,
    lanes::Lanes,
    log::{Cursor, Log},
    object::{Change, Item, Items, Listed, Object, Options, Snapshot},
};
use crate::{Revision, StoreError};

/// A collection.
#[derive(Debug)]
pub(super) struct Collection<T> {
    state: RwLock<State<T>>,
    wake: watch::Sender<()>,
}

#[derive(Debug)]
struct State<T> {
    items: Items<T>,
    labels: Labels,
    log: Log<T>,
    lanes: Lanes<T>,
    /// The revision of the latest change. What happened before the load is not known in detail, so the
    /// load's revision stands for it: a listener that knows less sees a hole and asks.
    latest: Revision,
}

/// Which changes a reader follows, and up to where it has.
#[derive(Debug)]
pub(super) struct Reader {
    /// The value of the objects' trigger; all if absent.
    value: Option<Box<str>>,
    cursor: Cursor,
}

/// What is known, from a revision on, and how it goes on.
pub(super) struct Recalled<T> {
    pub(super) since: Revision,
    pub(super) known: VecDeque<Arc<Change<T>>>,
    pub(super) reader: Reader,
    pub(super) wakes: watch::Receiver<()>,
}

impl<T: Object> Collection<T> {
    /// An empty collection as of a revision.
    pub(super) fn new(start: Revision, options: &Options) -> Self {
        let log = Log::new(start, options);
        let (items, labels, lanes) = (Items::default(), Labels::default(), Lanes::default());
        let state = State { items, labels, log, lanes, latest: start };
        Self { state: RwLock::new(state), wake: watch::Sender::default() }
    }

    /// The revision of the latest change.
    pub(super) fn latest(&self) -> Revision {
        self.state.read().latest
    }

    pub(super) fn get(&self, key: &str) -> Option<Arc<Item<T>>> {
        self.state.read().items.get(key).cloned()
    }

    /// The items below a prefix, or those among them that may have all the labels. `observe` is called while no change
    /// can come in between, and gives the revision up to which all collections are whole.
    pub(super) fn list<'a>(
        &self,
        prefix: &str,
        labels: impl Iterator<Item = (&'a str, &'a str)>,
        observe: impl FnOnce() -> Revision,
    ) -> Snapshot<T> {
        let state = self.state.read();
        let (items, chosen) = (state.items.clone(), state.labels.having(labels));
        // The cache's revision can be behind a change that is in the collection already, and ahead of its latest
        // change: the list is as of the greater one.
        let revision = observe().max(state.latest);
        drop(state);
        let chosen = chosen.map(|keys| keys.below(prefix));
        Snapshot { revision, items: Listed { all: items.below(prefix), chosen } }
    }

    /// The items below a prefix and after a key as they were at a revision, if all changes since are known: those of now,
    /// with these undone.
    pub(super) fn list_at(
        &self,
        prefix: &str,
        after: &str,
        revision: Revision,
    ) -> Option<Snapshot<T>> {
        let state = self.state.read();
        let since = state.log.seek(revision).ok()?;
        let is_in = |change: &&Arc<Change<T>>| {
            let key = change.key();
            key.starts_with(prefix) && key > after
        };
        let changes = state.log.between(since, state.log.end()).filter(is_in);
        let changes: Vec<_> = changes.cloned().collect();
        let mut items = state.items.clone();
        drop(state);
        for change in changes.iter().rev() {
            match &change.old {
                Some(old) => drop(items.insert(Arc::clone(old))),
                None => drop(items.remove(change.key())),
            }
        }
        Some(Snapshot { revision, items: items.after(prefix, after).into() })
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
            Some(item) => state.items.insert(Arc::clone(item)),
            None => Some(state.items.remove(key)?),
        };
        state.labels.replace(old.as_ref(), new.as_ref());
        let previous = std::mem::replace(&mut state.latest, revision);
        let change = Arc::new(Change { revision, previous, old, new });
        state.record(Arc::clone(&change));
        Some(change)
    }

    /// Takes another form of an item that is there; `false` if that is not of the same revision.
    pub(super) fn mend(&self, item: &Arc<Item<T>>) -> bool {
        let mut state = self.state.write();
        let known = state.items.get(&item.key).cloned();
        let Some(known) = known.filter(|known| known.revision == item.revision) else {
            return false;
        };
        state.items.insert(Arc::clone(item));
        state.labels.replace(Some(&known), Some(item));
        true
    }

    /// Adds a change to the log alone: for the log of all collections.
    pub(super) fn record(&self, change: Arc<Change<T>>) {
        self.state.write().record(change);
    }

    /// Replaces everything after a gap, and expires all readers. The items are in the order of their keys.
    pub(super) fn reload(&self, items: Vec<Arc<Item<T>>>, revision: Revision) {
        let mut labels = Labels::default();
        items.iter().for_each(|item| labels.replace(None, Some(item)));
        let items = Items::of_sorted(items);
        let mut state = self.state.write();
        (state.items, state.labels, state.latest) = (items, labels, revision);
        state.log.restart(revision);
        state.lanes.restart();
    }

    /// A reader of the changes after a revision, those of one value of the trigger or all, and what wakes it.
    pub(super) fn follow(
        &self,
        value: Option<&str>,
        after: Revision,
    ) -> Result<(Reader, watch::Receiver<()>), StoreError> {
        let mut state = self.state.write();
        let State { log, lanes, .. } = &mut *state;
        let (cursor, wakes) = match value {
            Some(value) => lanes.open(value, after, log)?,
            None => (log.seek(after)?, self.wake.subscribe()),
        };
        Ok((Reader { value: value.map(Into::into), cursor }, wakes))
    }

    /// The changes after a revision, or as far back as they are kept, and a reader of those to come.
    pub(super) fn recall(&self, after: Revision) -> Recalled<T> {
        let state = self.state.read();
        let log = &state.log;
        let since = after.max(log.start());
        let known = log.changes().skip_while(|change| change.revision <= since).cloned().collect();
        let reader = Reader { value: None, cursor: log.end() };
        Recalled { since, known, reader, wakes: self.wake.subscribe() }
    }

    /// Appends up to `limit` changes that are wanted, and moves the reader behind what was looked at.
    pub(super) fn read(
        &self,
        reader: &mut Reader,
        limit: usize,
        wanted: impl Fn(&Change<T>) -> bool,
        into: &mut impl Extend<Arc<Change<T>>>,
    ) -> Result<(), StoreError> {
        let state = self.state.read();
        let mut seen = reader.cursor;
        let mut take = |changes: &mut dyn Iterator<Item = &Arc<Change<T>>>| {
            let changes = changes.inspect(|_| seen += 1);
            into.extend(changes.filter(|change| wanted(change)).take(limit).cloned());
        };
        match &reader.value {
            Some(value) => take(&mut state.lanes.read(value, reader.cursor, &state.log)?),
            None => take(&mut state.log.read(reader.cursor)?),
        }
        reader.cursor = seen;
        Ok(())
    }

    /// Whether there is nothing left for the reader.
    pub(super) fn is_read_by(&self, reader: &Reader) -> bool {
        let state = self.state.read();
        let end = match &reader.value {
            Some(value) => state.lanes.end(value),
            None => Some(state.log.end()),
        };
        end == Some(reader.cursor)
    }

    /// Wakes the readers, after changes.
    pub(super) fn wake(&self) {
        self.wake.send_replace(());
        self.state.write().lanes.wake();
    }
}

impl<T: Object> State<T> {
    fn record(&mut self, change: Arc<Change<T>>) {
        self.lanes.push(&change);
        self.log.push(change);
        while let Some(forgotten) = self.log.trim() {
            self.lanes.forget(&forgotten);
        }
    }
}
