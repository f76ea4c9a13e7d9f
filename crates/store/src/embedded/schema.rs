//! The tables of the file, and the conversion of redb's errors.
//!
//! As in etcd, a value is kept once, under the revision that wrote it; the versions of a key are an index
//! into these changes.

use std::path::Path;

use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageError, TableDefinition,
    TableError,
};

use crate::StoreError;

/// A key, and its value or `None` for a deletion.
pub(super) type Stored = (&'static str, Option<&'static [u8]>);
/// A key at a revision.
pub(super) type Version = (&'static str, u64);

/// Revision → what it changed. Entries at or before the compacted revision are there only while they are
/// a key's latest; all later ones are there.
pub(super) const CHANGES: TableDefinition<'_, u64, Stored> = TableDefinition::new("changes");
/// (key, revision) → whether the key exists from then on (`false`: deleted).
pub(super) const VERSIONS: TableDefinition<'_, Version, bool> = TableDefinition::new("versions");
/// The counters below.
pub(super) const COUNTERS: TableDefinition<'_, &str, u64> = TableDefinition::new("counters");

/// The latest revision.
pub(super) const REVISION: &str = "revision";
/// The oldest revision whose state can be read, and after which a watch can begin.
pub(super) const COMPACTED: &str = "compacted";
/// The bytes of all changes after the compacted revision.
pub(super) const HISTORY_BYTES: &str = "history_bytes";
/// The layout of the file; another number cannot be read by this program.
const FORMAT: &str = "format";
const THIS_FORMAT: u64 = 1;

/// The revision of an empty store, as in etcd: 0 stays free to mean "none".
pub(super) const FIRST: u64 = 1;

/// Creates the tables of a new file, or checks the format of an old one.
pub(super) fn prepare(database: &Database) -> Result<(), redb::Error> {
    if is_prepared(database)? {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    {
        let mut counters = transaction.open_table(COUNTERS)?;
        let changes = transaction.open_table(CHANGES)?;
        transaction.open_table(VERSIONS)?;
        if counters.get(FORMAT)?.is_none() {
            counters.insert(FORMAT, THIS_FORMAT)?;
            counters.insert(REVISION, FIRST)?;
            counters.insert(COMPACTED, FIRST)?;
        }
        let compacted = counter(&counters, COMPACTED)?;
        counters.insert(HISTORY_BYTES, bytes_after(&changes, compacted)?)?;
    }
    transaction.commit()?;
    Ok(())
}

/// Whether the file has all that this program counts on. The first version did not count its bytes.
fn is_prepared(database: &Database) -> Result<bool, redb::Error> {
    let counters = match database.begin_read()?.open_table(COUNTERS) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(false),
        counters => counters?,
    };
    match counters.get(FORMAT)?.map(|format| format.value()) {
        None | Some(THIS_FORMAT) => Ok(counters.get(HISTORY_BYTES)?.is_some()),
        Some(other) => Err(redb::Error::Corrupted(format!("unknown format {other}"))),
    }
}

fn bytes_after(
    changes: &impl ReadableTable<u64, Stored>,
    revision: u64,
) -> Result<u64, redb::Error> {
    changes.range(revision + 1..)?.map(|change| Ok(size(change?.1.value()))).sum()
}

/// What a change counts for: its bytes, and something for its places in the tables.
pub(super) fn size((key, value): (&str, Option<&[u8]>)) -> u64 {
    const PLACES: usize = 64;
    (2 * key.len() + value.map_or(0, <[u8]>::len) + PLACES) as u64
}

/// The value of a counter.
pub(super) fn counter(
    counters: &impl ReadableTable<&'static str, u64>,
    name: &str,
) -> Result<u64, redb::Error> {
    let value = counters.get(name)?.map(|value| value.value());
    value.ok_or_else(|| redb::Error::Corrupted(format!("counter {name} is missing")))
}

/// The revision that wrote a key last, at or before `at`; `None` if it did not exist then.
pub(super) fn version_at(
    versions: &impl ReadableTable<Version, bool>,
    key: &str,
    at: u64,
) -> Result<Option<u64>, redb::Error> {
    let Some(latest) = versions.range((key, 0)..=(key, at))?.next_back() else {
        return Ok(None);
    };
    let (version, exists) = latest?;
    Ok(exists.value().then_some(version.value().1))
}

/// Why a request failed that redb could not do.
pub(super) fn failure(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(what) => StoreError::Corrupt(what),
        other => StoreError::Unavailable(other.to_string()),
    }
}

/// Why the file could not be opened.
pub(super) fn open_failure(path: &Path, error: DatabaseError) -> StoreError {
    use std::io::ErrorKind::{InvalidData, UnexpectedEof};
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::InUse(path.to_string())
        }
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(error.kind(), InvalidData | UnexpectedEof) =>
        {
            StoreError::Unavailable(format!("cannot open {path}: {error}"))
        }
        error => StoreError::Corrupt(format!("{path}: {error}")),
    }
}
