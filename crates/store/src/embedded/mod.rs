//! The store in one file, for a cluster with one API server: revisions and history as in etcd, on top of
//! redb's transactions.
//!
//! *Guarantees*: a write is on the disk when it is answered; a file that was left by a kill or a power cut
//! opens with all that was answered. *Assumptions*: one process has the file open; a second one is refused.

mod reader;
mod schema;
mod tables;
mod writer;

use std::{
    fmt,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_stream::try_stream;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use redb::{Database, backends::FileBackend};
use tokio::sync::watch;

use self::{
    reader::Reader,
    writer::{Op, Queue},
};
use crate::{Entry, Event, Events, Expect, Page, Query, Revision, Store, StoreError};

/// The memory for pages of the file; the API server's cache holds the objects already.
const PAGE_CACHE: usize = 32 << 20;

/// How many changes a watch reads at once.
const WATCH_BATCH: usize = 256;

/// How much history to keep.
#[derive(Clone, Debug)]
pub struct Options {
    /// So many of the latest revisions stay readable; what is older is compacted away by and by.
    pub keep_revisions: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { keep_revisions: 10_000 }
    }
}

/// A store in one file.
pub struct Embedded {
    shared: Arc<Shared>,
}

/// What the store, its writer and its watches have in common.
struct Shared {
    path: PathBuf,
    options: Options,
    database: Database,
    queue: Queue,
    /// The latest revision that is durable.
    committed: watch::Sender<Revision>,
}

impl Embedded {
    /// Opens the file, or creates it. The requests are to be made within a tokio runtime.
    ///
    /// *Errors*: `Unavailable` if the file is in use or can't be accessed, `Corrupt` if it is no store of
    /// ours or damaged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let path = path.as_ref().to_owned();
        let database = open_database(&path)?;
        schema::prepare(&database).map_err(schema::failure)?;
        let revision = Reader::open(&database)?.revision();
        tracing::info!(path = %path.display(), %revision, "store opened");
        let (committed, _) = watch::channel(revision);
        let queue = Queue::default();
        Ok(Self { shared: Arc::new(Shared { path, options, database, queue, committed }) })
    }
}

#[async_trait]
impl Store for Embedded {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(*self.shared.committed.borrow())
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        Reader::open(&self.shared.database)?.get(key)
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        let prefix = prefix.to_owned();
        self.shared.read(move |reader| reader.list(&prefix, &query)).await
    }

    async fn put(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
    ) -> Result<Revision, StoreError> {
        writer::submit(&self.shared, Op::Put { key: key.into(), value, expect }).await
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        writer::submit(&self.shared, Op::Delete { key: key.into(), expect }).await
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        let after = after.0.max(schema::FIRST);
        Reader::open(&self.shared.database)?.check_kept(after)?;
        Ok(follow(Arc::clone(&self.shared), after).boxed())
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        writer::submit(&self.shared, Op::Compact { before }).await.map(drop)
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Embedded").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Shared {
    /// Reads where blocking is allowed: a page may have to come from the disk.
    async fn read<T: Send + 'static>(
        self: &Arc<Self>,
        read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(self);
        let reading =
            tokio::task::spawn_blocking(move || read(&Reader::open(&shared.database)?)).await;
        reading.map_err(|error| StoreError::Unavailable(error.to_string()))?
    }
}

/// The changes after a revision, read from the file: history and news alike, so there is no seam between
/// them. Every change is in the file until it is compacted, which the reader notices.
fn follow(shared: Arc<Shared>, after: u64) -> impl Stream<Item = Result<Event, StoreError>> + Send {
    let mut committed = shared.committed.subscribe();
    try_stream! {
        let mut after = after;
        loop {
            let latest = *committed.borrow_and_update();
            while after < latest.0 {
                let events = shared.read(move |reader| reader.changes(after, WATCH_BATCH)).await?;
                for event in events {
                    after = event.revision().0;
                    yield event;
                }
            }
            let closed = |_| StoreError::Unavailable("the store is closed".into());
            committed.changed().await.map_err(closed)?;
        }
    }
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    let file = open_file(path).map_err(|error| schema::open_failure(path, error.into()))?;
    FileBackend::new(file)
        .and_then(|file| {
            Database::builder()
                .set_cache_size(PAGE_CACHE)
                .set_check_integrity_on_open(true)
                .create_with_backend(file)
        })
        .map_err(|error| schema::open_failure(path, error))
}

/// The file is its owner's alone, for it holds the cluster's secrets; its directory is synced, lest a new
/// file be lost with all that was acknowledged.
fn open_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    Ok(file)
}
