//! The store in one file, for a cluster with one API server: revisions and history as in etcd, on top of
//! redb's transactions.
//!
//! *Guarantees*: a write is on the disk when it is answered, and a file that was left by a kill or a power cut
//! opens with all that was answered; without [`Options::outlives_power_cuts`] so does one that was left by a
//! kill. After a fault of the disk (full, or failing for a while), the store is whole again as soon as the disk
//! is. *Assumptions*: one process has the file open; a second one is refused.

mod handle;
mod medium;
mod queue;
mod reader;
mod schema;
mod shared;
mod tables;
mod unsynced;
mod writer;

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_stream::try_stream;
use async_trait::async_trait;
use bytes::Bytes;
use futures::{Stream, StreamExt};
use parking_lot::Mutex;
use redb::StorageBackend;
use tokio::{sync::watch, time::Instant};

pub use self::shared::Options;
use self::{
    handle::Handle,
    medium::{Medium, Trust},
    queue::{Op, Queue},
    reader::Reader,
    shared::Shared,
};
use crate::{Entry, Event, Events, Expect, Guard, Page, Query, Revision, Store, StoreError};

/// How many changes a watch reads at once.
const WATCH_BATCH: usize = 256;
/// How many revisions are compacted in one transaction, so that other writes need not wait for long.
const COMPACTION_STEP: u64 = 2000;
/// A write that succeeded so lately shows that the store can be written.
const FRESH: Duration = Duration::from_secs(2);
/// How often to try whether a file in use has become free.
const LOCK_POLL: Duration = Duration::from_millis(50);

/// A store in one file.
pub struct Embedded {
    shared: Arc<Shared>,
}

impl Embedded {
    /// Opens the file, or creates it. The requests are to be made within a tokio runtime.
    ///
    /// *Errors*: `InUse` if another process has it, `Unavailable` if it can't be accessed, `Corrupt` if it is
    /// no store of ours or damaged.
    pub fn open(path: impl AsRef<Path>, options: Options) -> Result<Self, StoreError> {
        let medium = match options.outlives_power_cuts {
            true => Medium::file(path.as_ref()),
            false => Medium::unsynced_file(path.as_ref()),
        };
        Self::start(medium, options)
    }

    /// Opens a store that is not in a file; `open` is called again after each fault. For tests of what
    /// disks do.
    pub fn open_on<B: StorageBackend>(
        name: impl Into<PathBuf>,
        options: Options,
        open: impl Fn() -> io::Result<B> + Send + Sync + 'static,
    ) -> Result<Self, StoreError> {
        Self::start(Medium::backend(name.into(), open), options)
    }

    /// Opens the file as [`Embedded::open`] does. If another process has it, waits for its end: after a kill
    /// the system may take some seconds to clear up a process that had much memory, and holds its locks so long.
    pub async fn open_within(
        path: impl AsRef<Path>,
        options: Options,
        patience: Duration,
    ) -> Result<Self, StoreError> {
        let (path, deadline) = (path.as_ref(), Instant::now() + patience);
        let mut told = false;
        loop {
            match Self::open(path, options.clone()) {
                Err(StoreError::InUse(_)) if Instant::now() < deadline => {}
                opened => return opened,
            }
            if !std::mem::replace(&mut told, true) {
                let (path, seconds) = (path.display(), patience.as_secs());
                tracing::warn!(
                    "{path} is in use by another process: waiting up to {seconds} s for its end"
                );
            }
            tokio::time::sleep(LOCK_POLL).await;
        }
    }

    fn start(medium: Medium, options: Options) -> Result<Self, StoreError> {
        let trust = if options.verify { Trust::Nothing } else { Trust::Closed };
        let name = medium.name().to_owned();
        let handle = Handle::open(medium, trust);
        let handle = handle.map_err(|error| schema::open_failure(&name, error))?;
        handle.write(Revision(0), schema::prepare)?;
        let revision = handle.read(Revision(0), |reader| Ok(reader.revision()))?;
        tracing::info!(path = %name.display(), %revision, "store opened");
        if !options.outlives_power_cuts {
            tracing::warn!(path = %name.display(), "a power cut may lose what is written");
        }
        let (committed, _) = watch::channel(revision);
        let (queue, written) = (Queue::default(), Mutex::new(None));
        Ok(Self { shared: Arc::new(Shared { options, handle, queue, committed, written }) })
    }
}

#[async_trait]
impl Store for Embedded {
    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.shared.revision())
    }

    async fn check(&self) -> Result<(), StoreError> {
        let fresh = |written: &Instant| written.elapsed() < FRESH;
        if self.shared.written.lock().as_ref().is_some_and(fresh) {
            return Ok(());
        }
        writer::submit(&self.shared, Op::Touch).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        match self.shared.handle.try_read(|reader| reader.get(key)) {
            Some(Ok(found)) => Ok(found),
            _ => {
                let key = key.to_owned();
                read(&self.shared, move |reader| reader.get(&key)).await
            }
        }
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        let prefix = prefix.to_owned();
        read(&self.shared, move |reader| reader.list(&prefix, &query)).await
    }

    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        let put = Op::Put { key: key.into(), value, expect, guards: guards.into() };
        writer::submit(&self.shared, put).await
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        writer::submit(&self.shared, Op::Delete { key: key.into(), expect }).await
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        let after = after.0.max(schema::FIRST);
        read(&self.shared, move |reader| reader.check_kept(after)).await?;
        Ok(follow(Arc::clone(&self.shared), after).boxed())
    }

    async fn remembers(&self, change: &Event) -> Result<bool, StoreError> {
        let change = change.clone();
        read(&self.shared, move |reader| reader.remembers(&change)).await
    }

    async fn close(&self) {
        let shared = Arc::clone(&self.shared);
        let closing = tokio::task::spawn_blocking(move || shared.handle.close()).await;
        if let Err(error) = closing {
            tracing::warn!(%error, "the store was not closed in order");
        }
    }

    /// In steps, between which others can write.
    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        if before > self.shared.revision() {
            return Err(StoreError::Future { revision: before });
        }
        let compact = |before| writer::submit(&self.shared, Op::Compact { before });
        let mut reached = compact(Revision(0)).await?;
        while reached < before {
            reached = compact(before.min(Revision(reached.0 + COMPACTION_STEP))).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for Embedded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let medium = self.shared.handle.medium();
        f.debug_struct("Embedded").field("medium", medium).finish_non_exhaustive()
    }
}

/// Reads where blocking is allowed: a page may have to come from the disk. What fails to be read may
/// leave the database useless, which the next write finds out and mends.
async fn read<T: Send + 'static>(
    shared: &Arc<Shared>,
    read: impl FnOnce(&Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let owned = Arc::clone(shared);
    let reading =
        tokio::task::spawn_blocking(move || owned.handle.read(owned.revision(), read)).await;
    let read = reading.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())));
    if let Err(StoreError::Unavailable(_)) = &read {
        writer::start(shared, Op::Touch);
    }
    read
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
                let events = read(&shared, move |reader| reader.changes(after, WATCH_BATCH)).await?;
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
