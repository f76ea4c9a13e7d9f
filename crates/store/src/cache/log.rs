//! The latest changes of a collection: a ring that readers follow with cursors.

use std::{collections::VecDeque, sync::Arc};

use super::Change;
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
    window: usize,
}

impl<T> Log<T> {
    pub(super) fn new(start: Revision, window: usize) -> Self {
        Self { changes: VecDeque::new(), forgotten: 0, start, window }
    }

    /// Where a reader begins that knows everything up to a revision.
    pub(super) fn seek(&self, after: Revision) -> Result<Cursor, StoreError> {
        if after < self.start {
            return Err(StoreError::Compacted { oldest: self.start });
        }
        let known = self.changes.partition_point(|change| change.revision <= after);
        Ok(self.forgotten + known as Cursor)
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
        self.changes.push_back(change);
        if self.changes.len() > self.window {
            self.forget_first();
        }
    }

    /// Begins anew after a gap: no reader can go on.
    pub(super) fn restart(&mut self, start: Revision) {
        self.forgotten = self.end() + 1;
        self.changes.clear();
        self.start = start;
    }

    fn forget_first(&mut self) {
        if let Some(first) = self.changes.pop_front() {
            self.forgotten += 1;
            self.start = first.revision;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(window: usize, revisions: &[u64]) -> Log<()> {
        let mut log = Log::new(Revision(1), window);
        for revision in revisions {
            push(&mut log, *revision);
        }
        log
    }

    fn push(log: &mut Log<()>, revision: u64) {
        let (revision, previous) = (Revision(revision), Revision(0));
        log.push(Arc::new(Change { revision, previous, old: None, new: None }));
    }

    fn read(log: &Log<()>, cursor: Cursor) -> Vec<u64> {
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
