//! What a request does to the tables, within a transaction.

use redb::{ReadableTable, Table, WriteTransaction};

use super::schema::{
    CHANGES, COMPACTED, COUNTERS, HISTORY_BYTES, REVISION, Stored, VERSIONS, Version, counter,
    size, version_at,
};
use crate::{Expect, Guard, Revision, StoreError};

/// How many revisions are trimmed at most in one transaction.
const TRIM: usize = 4000;

/// The outer error is the disk's and fails the transaction, the inner one is the requester's.
type Outcome = Result<Result<Revision, StoreError>, redb::Error>;

/// The tables of a write transaction, and its counters.
pub(super) struct Tables<'t> {
    changes: Table<'t, u64, Stored>,
    versions: Table<'t, Version, bool>,
    counters: Table<'t, &'static str, u64>,
    revision: u64,
    compacted: u64,
    history_bytes: u64,
    changed: bool,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, redb::Error> {
        let counters = transaction.open_table(COUNTERS)?;
        Ok(Self {
            changes: transaction.open_table(CHANGES)?,
            versions: transaction.open_table(VERSIONS)?,
            revision: counter(&counters, REVISION)?,
            compacted: counter(&counters, COMPACTED)?,
            history_bytes: counter(&counters, HISTORY_BYTES)?,
            counters,
            changed: false,
        })
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    /// Saves the counters; `false` if there is nothing to commit.
    pub(super) fn close(mut self) -> Result<bool, redb::Error> {
        if self.changed {
            self.counters.insert(REVISION, self.revision)?;
            self.counters.insert(COMPACTED, self.compacted)?;
            self.counters.insert(HISTORY_BYTES, self.history_bytes)?;
        }
        Ok(self.changed)
    }

    pub(super) fn put(
        &mut self,
        key: &str,
        value: &[u8],
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Outcome {
        if let Some(expect) = expect {
            let current = self.current(key)?;
            if !expect.is_met(current) {
                return Ok(Err(StoreError::Conflict { key: key.into(), current }));
            }
        }
        for Guard { key, revision } in guards {
            let current = self.current(key)?;
            if current != Some(*revision) {
                return Ok(Err(StoreError::GuardFailed { key: key.clone(), current }));
            }
        }
        self.append(key, Some(value)).map(Ok)
    }

    pub(super) fn delete(&mut self, key: &str, expect: Option<Revision>) -> Outcome {
        match self.current(key)? {
            None => Ok(Err(StoreError::NotFound { key: key.into() })),
            current if expect.is_some() && expect != current => {
                Ok(Err(StoreError::Conflict { key: key.into(), current }))
            }
            Some(_) => self.append(key, None).map(Ok),
        }
    }

    /// The revision of a key, writes of this transaction included.
    fn current(&self, key: &str) -> Result<Option<Revision>, redb::Error> {
        Ok(version_at(&self.versions, key, u64::MAX)?.map(Revision))
    }

    pub(super) fn compact(&mut self, before: Revision) -> Outcome {
        if before.0 > self.revision {
            return Ok(Err(StoreError::Future { revision: before }));
        }
        self.compact_to(before.0)?;
        Ok(Ok(Revision(self.compacted)))
    }

    /// Writes what is there already.
    pub(super) fn touch(&mut self) -> Outcome {
        self.changed = true;
        Ok(Ok(Revision(self.revision)))
    }

    /// Compacts as much as is kept too much.
    pub(super) fn trim(&mut self, keep_bytes: u64) -> Result<(), redb::Error> {
        let mut excess = self.history_bytes.saturating_sub(keep_bytes);
        if excess == 0 {
            return Ok(());
        }
        let mut oldest = self.compacted;
        for change in self.changes.range(self.compacted + 1..)?.take(TRIM) {
            let (at, change) = change?;
            oldest = at.value();
            excess = excess.saturating_sub(size(change.value()));
            if excess == 0 {
                break;
            }
        }
        self.compact_to(oldest)
    }

    fn append(&mut self, key: &str, value: Option<&[u8]>) -> Result<Revision, redb::Error> {
        self.revision += 1;
        self.changed = true;
        self.changes.insert(self.revision, (key, value))?;
        self.history_bytes += size((key, value));
        self.versions.insert((key, self.revision), value.is_some())?;
        Ok(Revision(self.revision))
    }

    /// Each change up to `revision` makes the version before it needless, and itself if it is a deletion.
    fn compact_to(&mut self, revision: u64) -> Result<(), redb::Error> {
        if revision <= self.compacted {
            return Ok(());
        }
        for Superseding { at, key, deleted, size } in self.changes_up_to(revision)? {
            self.history_bytes = self.history_bytes.saturating_sub(size);
            let before = self.versions.range((key.as_str(), 0)..(key.as_str(), at))?.next_back();
            let before = before.transpose()?.map(|(version, _)| version.value().1);
            for needless in before.into_iter().chain(deleted.then_some(at)) {
                self.versions.remove((key.as_str(), needless))?;
                self.changes.remove(needless)?;
            }
        }
        self.compacted = revision;
        self.changed = true;
        Ok(())
    }

    fn changes_up_to(&self, revision: u64) -> Result<Vec<Superseding>, redb::Error> {
        let range = self.changes.range(self.compacted + 1..=revision)?;
        range
            .map(|change| {
                let (at, change) = change?;
                let (key, value) = change.value();
                let (key, size) = (key.to_owned(), size((key, value)));
                Ok(Superseding { at: at.value(), key, deleted: value.is_none(), size })
            })
            .collect()
    }
}

/// A change that makes the one before it needless.
struct Superseding {
    at: u64,
    key: String,
    deleted: bool,
    size: u64,
}
