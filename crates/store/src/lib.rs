//! The store: revisioned bytes under string keys, with compare-and-swap and a log of changes.
//! Two backends behind one trait, and a cache over either. It knows no kinds.

#![warn(missing_docs)]

pub mod cache;
pub mod embedded;
pub mod etcd;

use std::{fmt, str::FromStr, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The number of a change. It grows by one with each change of the whole store, and is what the API
/// calls `resourceVersion`. An empty store is at revision 1; 0 stands for "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Revision {
    type Err = std::num::ParseIntError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        s.parse().map(Self)
    }
}

/// A key with its value and the revision that wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// Its bytes.
    pub value: Bytes,
    /// The revision that wrote them.
    pub revision: Revision,
}

/// A change, as a watch delivers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The key was created or overwritten.
    Put(Entry),
    /// The key was deleted by this revision.
    Delete {
        /// The key that is gone.
        key: Arc<str>,
        /// The revision of the deletion.
        revision: Revision,
    },
}

impl Event {
    /// The key that changed.
    pub fn key(&self) -> &Arc<str> {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Delete { key, .. } => key,
        }
    }

    /// The revision of the change.
    pub fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.revision,
            Self::Delete { revision, .. } => *revision,
        }
    }
}

/// What of a prefix to list.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only keys greater than this one.
    pub after: Option<String>,
    /// At most so many entries; all if absent or 0.
    pub limit: Option<usize>,
    /// As of this revision; as of now if absent. Fails with `Future` if it has not been written yet.
    pub at: Option<Revision>,
}

/// Entries of a prefix in key order, all as of one revision.
#[derive(Clone, Debug)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Entry>,
    /// The revision as of which they are.
    pub revision: Revision,
    /// Whether entries follow that the limit cut off.
    pub more: bool,
    /// How many, if the store knows without counting them.
    pub remaining: Option<usize>,
}

/// What a write takes to be there; a write without expectation overwrites.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The key does not exist.
    Absent,
    /// The key was last written by this revision.
    At(Revision),
}

impl Expect {
    fn is_met(self, current: Option<Revision>) -> bool {
        match self {
            Self::Absent => current.is_none(),
            Self::At(revision) => current == Some(revision),
        }
    }
}

/// Another key that a write takes to be there, as it was last written by a revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The key.
    pub key: String,
    /// The revision that wrote it.
    pub revision: Revision,
}

/// Why a request to the store failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The key is not as [`Expect`]ed.
    #[error("key {key} is not at the expected revision")]
    Conflict {
        /// The key.
        key: String,
        /// Its revision, if it exists.
        current: Option<Revision>,
    },
    /// The key written is as expected, and that of a [`Guard`] is not.
    #[error("key {key}, which a write depends on, is not at the expected revision")]
    GuardFailed {
        /// The guard's key.
        key: String,
        /// Its revision, if it exists.
        current: Option<Revision>,
    },
    /// There is no such key to delete.
    #[error("key {key} does not exist")]
    NotFound {
        /// The key.
        key: String,
    },
    /// The revision asked for is older than what is kept.
    #[error("revision has been compacted; the oldest that is kept is {oldest}")]
    Compacted {
        /// The oldest revision that can be listed at, or watched after.
        oldest: Revision,
    },
    /// The revision asked for has not been written yet.
    #[error("revision {revision} is in the future")]
    Future {
        /// The revision asked for.
        revision: Revision,
    },
    /// The store takes no value as large as that; nothing was written.
    #[error("{0}")]
    TooLarge(String),
    /// Another process has the store.
    #[error("{0} is in use by another process")]
    InUse(String),
    /// The store can't be reached, or can't do it now. A write may have been done all the same.
    #[error("store is unavailable: {0}")]
    Unavailable(String),
    /// What is stored can't be read, and trying again will not help.
    #[error("store is damaged: {0}")]
    Corrupt(String),
}

/// Changes in the order of their revisions; ends with an error when the store can deliver no more.
pub type Events = BoxStream<'static, Result<Event, StoreError>>;

/// A backend. Every acknowledged write is durable before the answer.
#[async_trait]
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// The latest revision (linearizable: not older than any write acknowledged before the call).
    async fn revision(&self) -> Result<Revision, StoreError>;

    /// Whether the store can be read and written now; goes as far as the disk. What it costs is bounded,
    /// however often it is asked.
    async fn check(&self) -> Result<(), StoreError> {
        self.revision().await.map(drop)
    }

    /// The entry of a key (linearizable).
    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError>;

    /// The entries below a prefix. Fails with `Compacted` if [`Query::at`] is not kept any more.
    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError>;

    /// Writes a key. Fails with `Conflict` if it is not as expected.
    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
    ) -> Result<Revision, StoreError> {
        self.put_guarded(key, value, expect, &[]).await
    }

    /// Writes a key if all guards hold in the same moment. Fails with `Conflict` if the key is not as expected, or
    /// else with `GuardFailed` for the first guard that does not hold.
    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError>;

    /// Deletes a key, and gives the revision of the deletion. Fails with `NotFound`, or with `Conflict` if
    /// the key is at another revision than expected.
    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError>;

    /// All changes of all keys after a revision. Fails (at once or in the stream) with `Compacted`.
    async fn watch(&self, after: Revision) -> Result<Events, StoreError>;

    /// Whether a change is part of the store's history: it is not if the store was restored from a backup that
    /// is older. Fails with `Compacted` if the store can't tell any more.
    async fn remembers(&self, _change: &Event) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// Whether a value would be stored in another form now than it is, though it is the same.
    async fn is_stale(&self, _key: &str) -> Result<bool, StoreError> {
        Ok(false)
    }

    /// Forgets the history before a revision: lists at it and watches after it still work, older ones fail
    /// with `Compacted`. Does nothing if more is forgotten already.
    async fn compact(&self, before: Revision) -> Result<(), StoreError>;

    /// Lets go of what the store lives on, in order, so that it opens the faster again. All requests fail from
    /// now on.
    async fn close(&self) {}
}
