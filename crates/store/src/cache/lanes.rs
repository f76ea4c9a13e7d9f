//! The changes of a collection by its trigger: who watches objects of one value of it (a kubelet the pods of its node)
//! reads, and is woken by, those changes alone. There is a lane for each value that somebody watches.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::watch;

use super::{
    log::{Cursor, Log},
    object::{Change, Item, Object},
};
use crate::{Revision, StoreError};

/// So many lanes may have no reader before anybody looks for such.
const FEW: usize = 16;

/// The lanes of a collection.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    by_value: HashMap<Box<str>, Lane<T>>,
    /// Those with changes of which their readers have not been told.
    touched: Vec<Box<str>>,
    /// How many lanes there may be before those without a reader are dropped: twice as many as were left the last
    /// time, so that opening one costs the same whatever their number.
    enough: usize,
}

/// The changes of one value that are in the log too, from a place in the log on.
#[derive(Debug)]
struct Lane<T> {
    changes: VecDeque<Arc<Change<T>>>,
    /// From here on the log was looked through.
    begin: Cursor,
    /// The cursor of the first change, as the lane's readers count. It starts at `begin`: no more changes than the log
    /// has counted so far can ever be put in front.
    first: Cursor,
    wake: watch::Sender<()>,
}

impl<T> Default for Lanes<T> {
    fn default() -> Self {
        Self { by_value: HashMap::new(), touched: Vec::new(), enough: FEW }
    }
}

impl<T: Object> Lanes<T> {
    /// Where a reader of a value begins that knows everything up to a revision, and what wakes it. The lane lasts at
    /// least as long as somebody has that. What it costs is to look at the changes since, if nobody has yet.
    pub(super) fn open(
        &mut self,
        value: &str,
        after: Revision,
        log: &Log<T>,
    ) -> Result<(Cursor, watch::Receiver<()>), StoreError> {
        let begin = log.seek(after)?;
        self.drop_unread();
        let lane = self.by_value.entry(value.into()).or_insert_with(|| Lane::at(log.end()));
        lane.reach_back(value, begin, log);
        let known = lane.changes.partition_point(|change| change.revision <= after);
        Ok((lane.first + known as Cursor, lane.wake.subscribe()))
    }

    fn drop_unread(&mut self) {
        if self.by_value.len() >= self.enough {
            self.by_value.retain(|_, lane| lane.wake.receiver_count() > 0);
            self.enough = 2 * self.by_value.len().max(FEW / 2);
        }
    }

    /// Adds a change that was added to the log.
    pub(super) fn push(&mut self, change: &Arc<Change<T>>) {
        for value in self.concerned(change) {
            if let Some(lane) = self.by_value.get_mut(&value) {
                lane.changes.push_back(Arc::clone(change));
                self.touched.push(value);
            }
        }
    }

    /// Forgets a change that the log has forgotten.
    pub(super) fn forget(&mut self, change: &Arc<Change<T>>) {
        for value in self.concerned(change) {
            let Some(lane) = self.by_value.get_mut(&value) else { continue };
            if lane.changes.front().is_some_and(|first| Arc::ptr_eq(first, change)) {
                lane.changes.pop_front();
                lane.first += 1;
            }
        }
    }

    /// The lanes that a change belongs to: all if nobody knows what the object was watched by, or is from now on. Then
    /// each reader is told, so that no less can be looked at.
    fn concerned(&self, change: &Change<T>) -> Vec<Box<str>> {
        if is_unknown(change) {
            return self.by_value.keys().cloned().collect();
        }
        let known = values(change).filter(|value| self.by_value.contains_key(*value));
        known.map(Into::into).collect()
    }

    /// Begins anew after a gap: no reader can go on.
    pub(super) fn restart(&mut self) {
        for (value, lane) in &mut self.by_value {
            lane.first = lane.end() + 1;
            lane.changes.clear();
            self.touched.push(value.clone());
        }
    }

    /// The changes of a value from a cursor on.
    pub(super) fn read(
        &self,
        value: &str,
        cursor: Cursor,
        log: &Log<T>,
    ) -> Result<impl Iterator<Item = &Arc<Change<T>>>, StoreError> {
        let lane = self.by_value.get(value);
        let known = lane.and_then(|lane| cursor.checked_sub(lane.first));
        let known = known.ok_or(StoreError::Compacted { oldest: log.start() })?;
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        Ok(lane.into_iter().flat_map(|lane| &lane.changes).skip(known))
    }

    pub(super) fn end(&self, value: &str) -> Option<Cursor> {
        self.by_value.get(value).map(Lane::end)
    }

    /// Wakes the readers of those with new changes.
    pub(super) fn wake(&mut self) {
        for value in self.touched.drain(..) {
            if let Some(lane) = self.by_value.get(&value) {
                lane.wake.send_replace(());
            }
        }
    }
}

impl<T: Object> Lane<T> {
    fn at(end: Cursor) -> Self {
        Self { changes: VecDeque::new(), begin: end, first: end, wake: watch::Sender::default() }
    }

    /// Adds what is in the log from an earlier place on. Readers' cursors stay where they are.
    fn reach_back(&mut self, value: &str, begin: Cursor, log: &Log<T>) {
        let is_its =
            |change: &&Arc<Change<T>>| is_unknown(change) || values(change).any(|its| its == value);
        for change in log.between(begin, self.begin).rev().filter(is_its) {
            self.changes.push_front(Arc::clone(change));
            self.first -= 1;
        }
        self.begin = self.begin.min(begin);
    }

    fn end(&self) -> Cursor {
        self.first + self.changes.len() as Cursor
    }
}

fn is_unknown<T: Object>(change: &Change<T>) -> bool {
    let mut items = change.old.iter().chain(&change.new);
    items.any(|item| item.object.trigger().is_none())
}

/// The values that an object had before a change and has after it: one or two.
fn values<T: Object>(change: &Change<T>) -> impl Iterator<Item = &str> {
    let (old, new) = (value(change.old.as_ref()), value(change.new.as_ref()));
    old.into_iter().chain(new.filter(|new| old != Some(new)))
}

fn value<T: Object>(item: Option<&Arc<Item<T>>>) -> Option<&str> {
    item.and_then(|item| item.object.trigger())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Options;

    #[test]
    fn values_that_nobody_watches_any_more_are_forgotten() {
        let log = Log::<usize>::new(Revision(1), &Options::default());
        let mut lanes = Lanes::default();
        let mut open = |value: usize| lanes.open(&value.to_string(), Revision(1), &log).unwrap().1;
        let watched: Vec<_> = (0..100).map(&mut open).collect();
        (100..10_000).map(&mut open).for_each(drop);
        assert!(lanes.by_value.len() <= 2 * watched.len());
        assert!((0..100).all(|value| lanes.end(&value.to_string()).is_some()));
    }
}
