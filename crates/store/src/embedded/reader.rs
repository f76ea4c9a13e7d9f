//! Reading: a consistent view of the file as of one commit.

use std::{ops::Bound, sync::Arc};

use bytes::Bytes;
use redb::{Database, ReadOnlyTable, ReadableDatabase};

use super::schema::{
    CHANGES, COMPACTED, COUNTERS, REVISION, Stored, VERSIONS, Version, counter, failure, version_at,
};
use crate::{Entry, Event, Page, Query, Revision, StoreError};

/// The file as of its last commit.
pub(super) struct Reader {
    changes: ReadOnlyTable<u64, Stored>,
    versions: ReadOnlyTable<Version, bool>,
    revision: u64,
    compacted: u64,
}

/// The live keys of a listing, each with the revision that wrote it.
type Keys = Vec<(Arc<str>, u64)>;

impl Reader {
    pub(super) fn open(database: &Database) -> Result<Self, StoreError> {
        Self::begin(database).map_err(failure)
    }

    fn begin(database: &Database) -> Result<Self, redb::Error> {
        let transaction = database.begin_read()?;
        let counters = transaction.open_table(COUNTERS)?;
        Ok(Self {
            changes: transaction.open_table(CHANGES)?,
            versions: transaction.open_table(VERSIONS)?,
            revision: counter(&counters, REVISION)?,
            compacted: counter(&counters, COMPACTED)?,
        })
    }

    pub(super) fn revision(&self) -> Revision {
        Revision(self.revision)
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let version = version_at(&self.versions, key, self.revision).map_err(failure)?;
        version.map(|version| self.entry(version)).transpose()
    }

    pub(super) fn list(&self, prefix: &str, query: &Query) -> Result<Page, StoreError> {
        let at = query.at.map_or(self.revision, |at| at.0);
        self.check_kept(at)?;
        if at > self.revision {
            return Err(StoreError::Future { revision: Revision(at) });
        }
        let keys = self.keys(prefix, query.after.as_deref(), at).map_err(failure)?;
        let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(keys.len());
        Ok(Page {
            entries: keys
                .iter()
                .take(limit)
                .map(|(_, version)| self.entry(*version))
                .collect::<Result<_, _>>()?,
            revision: Revision(at),
            remaining: keys.len().saturating_sub(limit),
        })
    }

    /// At most `limit` changes after a revision.
    pub(super) fn changes(&self, after: u64, limit: usize) -> Result<Vec<Event>, StoreError> {
        self.check_kept(after)?;
        let range = self.changes.range(after + 1..).map_err(failure)?;
        range
            .take(limit)
            .map(|change| {
                let (revision, change) = change.map_err(failure)?;
                Ok(event(revision.value(), change.value()))
            })
            .collect()
    }

    /// Fails if the history after a revision is not whole any more.
    pub(super) fn check_kept(&self, revision: u64) -> Result<(), StoreError> {
        if revision < self.compacted {
            return Err(StoreError::Compacted { oldest: Revision(self.compacted) });
        }
        Ok(())
    }

    /// The keys of a prefix that existed at a revision. The versions of one key follow one another in the
    /// index, so the last one seen that is not too new decides.
    fn keys(&self, prefix: &str, after: Option<&str>, at: u64) -> Result<Keys, redb::Error> {
        let mut keys = Keys::new();
        let start = match after.filter(|after| *after >= prefix) {
            Some(after) => Bound::Excluded((after, u64::MAX)),
            None => Bound::Included((prefix, 0)),
        };
        for version in self.versions.range::<(&str, u64)>((start, Bound::Unbounded))? {
            let (version, exists) = version?;
            let (key, revision) = version.value();
            if !key.starts_with(prefix) {
                break;
            }
            if revision <= at {
                note(&mut keys, key, revision, exists.value());
            }
        }
        Ok(keys)
    }

    fn entry(&self, version: u64) -> Result<Entry, StoreError> {
        let change = self.changes.get(version).map_err(failure)?;
        match change.map(|change| event(version, change.value())) {
            Some(Event::Put(entry)) => Ok(entry),
            _ => Err(StoreError::Corrupt(format!("the value of revision {version} is missing"))),
        }
    }
}

/// Takes note of the next version of a key: it replaces the one before it.
fn note(keys: &mut Keys, key: &str, revision: u64, exists: bool) {
    let known = match keys.last() {
        Some((last, _)) if **last == *key => keys.pop(),
        _ => None,
    };
    if exists {
        let key = known.map_or_else(|| Arc::from(key), |(key, _)| key);
        keys.push((key, revision));
    }
}

fn event(revision: u64, (key, value): (&str, Option<&[u8]>)) -> Event {
    let (key, revision) = (Arc::from(key), Revision(revision));
    match value {
        Some(value) => Event::Put(Entry { key, value: Bytes::copy_from_slice(value), revision }),
        None => Event::Delete { key, revision },
    }
}
