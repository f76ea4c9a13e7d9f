//! The latest changes of a collection: a ring that readers follow with cursors.

use std::{collections::VecDeque, sync::Arc};

use super::object::{Change, Object, Options};
use crate::{Revision, StoreError};

/// A reader's place in a log: the number of the next change to read, counted since the log was made.
pub(super) type Cursor = u64;

/// The latest changes, and where they begin.
#[derive(Debug)]
pub(super) struct Log<T> {
    changes: VecDeque<Arc<Change<T>>>,
    /// How many changes came before the first that is kept.
    forgotten: Cursor,
    /// Every change after this revision is kept.
    start: Revision,
    /// What is in memory for the sake of the log alone: the states before its changes.
    bytes: usize,
    window: usize,
    window_bytes: usize,
}

impl<T: Object> Log<T> {
    pub(super) fn new(start: Revision, options: &Options) -> Self {
        let &Options { window, window_bytes, .. } = options;
        Self { changes: VecDeque::new(), forgotten: 0, start, bytes: 0, window, window_bytes }
    }

    /// Where a reader begins that knows everything up to a revision.
    pub(super) fn seek(&self, after: Revision) -> Result<Cursor, StoreError> {
        if after < self.start {
            return Err(StoreError::Compacted { oldest: self.start });
        }
        let known = self.changes.partition_point(|change| change.revision <= after);
        Ok(self.forgotten + known as Cursor)
    }

    /// Every change after this revision is kept.
    pub(super) fn start(&self) -> Revision {
        self.start
    }

    pub(super) fn changes(&self) -> impl Iterator<Item = &Arc<Change<T>>> {
        self.changes.iter()
    }

    /// The changes from a cursor on up to another, as far as they are kept.
    pub(super) fn between(
        &self,
        from: Cursor,
        to: Cursor,
    ) -> impl DoubleEndedIterator<Item = &Arc<Change<T>>> {
        let place = |cursor: Cursor| {
            let place = cursor.saturating_sub(self.forgotten);
            usize::try_from(place).unwrap_or(usize::MAX).min(self.changes.len())
        };
        let (from, to) = (place(from), place(to));
        self.changes.range(from.min(to)..to)
    }

    pub(super) fn end(&self) -> Cursor {
        self.forgotten + self.changes.len() as Cursor
    }

    /// The changes from a cursor on, the oldest first.
    pub(super) fn read(
        &self,
        cursor: Cursor,
    ) -> Result<impl Iterator<Item = &Arc<Change<T>>>, StoreError> {
        let known = cursor
            .checked_sub(self.forgotten)
            .ok_or(StoreError::Compacted { oldest: self.start })?;
        Ok(self.changes.iter().skip(usize::try_from(known).unwrap_or(usize::MAX)))
    }

    pub(super) fn push(&mut self, change: Arc<Change<T>>) {
        self.bytes += weight(&change);
        self.changes.push_back(change);
    }

    /// Forgets the first change if there are too many. The latest is kept, however much it weighs.
    pub(super) fn trim(&mut self) -> Option<Arc<Change<T>>> {
        if self.changes.len() <= 1 || !self.is_too_much() {
            return None;
        }
        let first = self.changes.pop_front()?;
        self.forgotten += 1;
        self.bytes -= weight(&first);
        self.start = first.revision;
        Some(first)
    }

    fn is_too_much(&self) -> bool {
        self.changes.len() > self.window || self.bytes > self.window_bytes
    }

    /// Begins anew after a gap: no reader can go on.
    pub(super) fn restart(&mut self, start: Revision) {
        self.forgotten = self.end() + 1;
        self.changes.clear();
        self.bytes = 0;
        self.start = start;
    }
}

fn weight<T: Object>(change: &Change<T>) -> usize {
    change.old.as_ref().map_or(0, |old| old.object.weight())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::Item;

    impl Object for usize {
        fn weight(&self) -> usize {
            *self
        }
    }

    fn log(window: usize, revisions: &[u64]) -> Log<usize> {
        let options = Options { window, window_bytes: 100, ..Options::default() };
        let mut log = Log::new(Revision(1), &options);
        for revision in revisions {
            push(&mut log, *revision);
        }
        log
    }

    fn push(log: &mut Log<usize>, revision: u64) {
        push_over(log, revision, None);
    }

    /// Pushes a change of something that weighed so much.
    fn push_over(log: &mut Log<usize>, revision: u64, weight: Option<usize>) {
        let (revision, previous) = (Revision(revision), Revision(0));
        let item = |object| Arc::new(Item { key: "/a".into(), revision, object });
        let old = weight.map(item);
        log.push(Arc::new(Change { revision, previous, old, new: None }));
        while log.trim().is_some() {}
    }

    fn read(log: &Log<usize>, cursor: Cursor) -> Vec<u64> {
        log.read(cursor).unwrap().map(|change| change.revision.0).collect()
    }

    #[test]
    fn a_reader_gets_what_follows_the_revision_that_it_knows() {
        let log = log(10, &[3, 5, 9]);
        assert_eq!(read(&log, log.seek(Revision(1)).unwrap()), [3, 5, 9]);
        assert_eq!(read(&log, log.seek(Revision(4)).unwrap()), [5, 9]);
        assert_eq!(read(&log, log.seek(Revision(9)).unwrap()), [0; 0]);
    }

    #[test]
    fn a_reader_behind_the_window_is_expired() {
        let mut log = log(2, &[3, 5, 9]);
        let expired = Err(StoreError::Compacted { oldest: Revision(3) });
        assert_eq!(log.seek(Revision(2)), expired);
        let slow = log.seek(Revision(3)).unwrap();
        assert_eq!(read(&log, slow), [5, 9]);
        push(&mut log, 11);
        assert_eq!(log.read(slow).map(drop), Err(StoreError::Compacted { oldest: Revision(5) }));
    }

    #[test]
    fn the_window_is_as_long_as_its_bytes_allow() {
        let mut log = log(10, &[3]);
        for (revision, weight) in [(4, 60), (5, 30), (6, 10)] {
            push_over(&mut log, revision, Some(weight));
        }
        assert_eq!(read(&log, log.seek(Revision(1)).unwrap()), [3, 4, 5, 6], "that is just enough");
        push_over(&mut log, 7, Some(1));
        assert_eq!(log.seek(Revision(3)), Err(StoreError::Compacted { oldest: Revision(4) }));
        assert_eq!(read(&log, log.seek(Revision(4)).unwrap()), [5, 6, 7]);
        push_over(&mut log, 8, Some(1000));
        assert_eq!(read(&log, log.seek(Revision(7)).unwrap()), [8], "the latest is kept anyway");
        push_over(&mut log, 9, Some(100));
        assert_eq!(read(&log, log.seek(Revision(8)).unwrap()), [9]);
        log.restart(Revision(20));
        push_over(&mut log, 21, Some(100));
        push_over(&mut log, 22, None);
        assert_eq!(read(&log, log.seek(Revision(20)).unwrap()), [21, 22]);
    }

    #[test]
    fn a_restart_expires_all_readers() {
        let mut log = log(10, &[3, 5]);
        let cursor = log.seek(Revision(5)).unwrap();
        log.restart(Revision(20));
        assert!(log.read(cursor).is_err());
        assert!(log.seek(Revision(19)).is_err());
        push(&mut log, 21);
        assert_eq!(read(&log, log.seek(Revision(20)).unwrap()), [21]);
    }
}
