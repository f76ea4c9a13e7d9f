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

/// Looking a version up costs about as much as reading so many.
const MANY_VERSIONS: usize = 16;

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
        let limit = query.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        // One more than asked for tells whether there are more.
        let enough = limit.saturating_add(1);
        let keys = self.keys(prefix, query.after.as_deref(), at, enough).map_err(failure)?;
        let entries = keys.iter().take(limit).map(|(_, version)| self.entry(*version));
        let more = keys.len() > limit;
        Ok(Page {
            entries: entries.collect::<Result<_, _>>()?,
            revision: Revision(at),
            more,
            remaining: (!more).then_some(0),
        })
    }

    /// Whether a change is part of the history. One that is compacted may be.
    pub(super) fn remembers(&self, change: &Event) -> Result<bool, StoreError> {
        let revision = change.revision().0;
        if revision <= self.compacted {
            return Ok(true);
        }
        let found = self.changes.get(revision).map_err(failure)?;
        Ok(found.is_some_and(|found| event(revision, found.value()) == *change))
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

    /// The first `enough` keys of a prefix that existed at a revision.
    fn keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: u64,
        enough: usize,
    ) -> Result<Keys, redb::Error> {
        let mut keys = Keys::new();
        let mut last = after.filter(|after| *after >= prefix).map(str::to_owned);
        while keys.len() < enough {
            let start = match &last {
                Some(last) => Bound::Excluded((last.as_str(), u64::MAX)),
                None => Bound::Included((prefix, 0)),
            };
            let Some(key) = self.scan(start, prefix, at, enough, &mut keys)? else { break };
            keys.extend(version_at(&self.versions, &key, at)?.map(|at| (key.as_str().into(), at)));
            last = Some(key);
        }
        Ok(keys)
    }

    /// Reads the index on from a place. The versions of one key follow one another, so the last one seen that
    /// is not too new decides. A key of so many versions that it is cheaper to look its version up than to
    /// read on ends it, and is returned.
    fn scan(
        &self,
        start: Bound<(&str, u64)>,
        prefix: &str,
        at: u64,
        enough: usize,
        keys: &mut Keys,
    ) -> Result<Option<String>, redb::Error> {
        let mut run = Run::default();
        for version in self.versions.range::<(&str, u64)>((start, Bound::Unbounded))? {
            let (version, exists) = version?;
            let (key, revision) = version.value();
            if run.key != key {
                run.end(keys);
                if keys.len() >= enough || !key.starts_with(prefix) {
                    return Ok(None);
                }
            }
            if run.note(key, revision, at, exists.value()) > MANY_VERSIONS {
                return Ok(Some(run.key));
            }
        }
        run.end(keys);
        Ok(None)
    }

    fn entry(&self, version: u64) -> Result<Entry, StoreError> {
        let change = self.changes.get(version).map_err(failure)?;
        match change.map(|change| event(version, change.value())) {
            Some(Event::Put(entry)) => Ok(entry),
            _ => Err(StoreError::Corrupt(format!("the value of revision {version} is missing"))),
        }
    }
}

/// The versions of one key, as they are read.
#[derive(Default)]
struct Run {
    key: String,
    count: usize,
    live: Option<u64>,
}

impl Run {
    /// Takes note of the next version; gives how many there were.
    fn note(&mut self, key: &str, revision: u64, at: u64, exists: bool) -> usize {
        if self.key != key {
            *self = Self { key: key.to_owned(), ..Self::default() };
        }
        if revision <= at {
            self.live = exists.then_some(revision);
        }
        self.count += 1;
        self.count
    }

    fn end(&mut self, keys: &mut Keys) {
        keys.extend(self.live.take().map(|revision| (self.key.as_str().into(), revision)));
    }
}

fn event(revision: u64, (key, value): (&str, Option<&[u8]>)) -> Event {
    let (key, revision) = (Arc::from(key), Revision(revision));
    match value {
        Some(value) => Event::Put(Entry { key, value: Bytes::copy_from_slice(value), revision }),
        None => Event::Delete { key, revision },
    }
}
