//! The open database, and how it comes back after a fault of the disk.
//!
//! redb refuses everything after a failed read, write or sync: what is in the file is not certain any more.
//! So the database is closed and opened again, with every page verified, as after a crash; whether the
//! transaction that failed has been done is known then. Reads go on at once, unless the disk takes no write
//! at all, since opening needs one. Writes wait for longer after each failure, since each costs such a check,
//! and are refused meanwhile with what went wrong.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use redb::{Database, DatabaseError};
use tokio::time::Instant;

use super::{
    medium::{Medium, Trust},
    reader::Reader,
    schema,
};
use crate::{Revision, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// The database while it is open.
#[derive(Debug)]
pub(super) struct Handle {
    medium: Medium,
    /// Absent while it can't be opened.
    database: RwLock<Option<Database>>,
    fault: Mutex<Option<Fault>>,
    closed: AtomicBool,
}

/// What has gone wrong since the last write that succeeded.
#[derive(Debug)]
struct Fault {
    cause: StoreError,
    count: u32,
    /// Nothing is tried again before.
    pause_ends: Instant,
}

impl Handle {
    pub(super) fn open(medium: Medium, trust: Trust) -> Result<Self, DatabaseError> {
        let database = RwLock::new(Some(medium.open(trust)?));
        Ok(Self { medium, database, fault: Mutex::new(None), closed: AtomicBool::new(false) })
    }

    /// Closes the database for good. redb then writes down what a later start needs.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        *self.database.write() = None;
    }

    pub(super) fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Reads if that needs no waiting for the database to be opened again.
    pub(super) fn try_read<T>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Option<Result<T, StoreError>> {
        let database = self.database.try_read()?;
        Some(Reader::open(database.as_ref()?).and_then(|reader| read(&reader)))
    }

    /// Reads. Blocks while the database is being opened again.
    pub(super) fn read<T>(
        &self,
        known: Revision,
        read: impl FnOnce(&Reader) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.ensure_open(known)?;
        let database = self.database.read();
        let database = database.as_ref().ok_or_else(|| self.why())?;
        read(&Reader::open(database)?)
    }

    /// Writes. If that fails, the database is opened again before this returns. `known` is the latest
    /// revision that was acknowledged: less than that must not come back.
    pub(super) fn write<T>(
        &self,
        known: Revision,
        write: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        self.ensure_open(known)?;
        if let Some(error) = self.in_pause() {
            return Err(error);
        }
        let written = self.database.read().as_ref().map(write);
        match written {
            Some(Ok(done)) => {
                self.recovered();
                Ok(done)
            }
            Some(Err(error)) => Err(self.failed(error, known)),
            None => Err(self.why()),
        }
    }

    fn recovered(&self) {
        if self.fault.lock().take().is_some() {
            tracing::info!(path = %self.medium.name().display(), "the store can be written again");
        }
    }

    fn failed(&self, error: redb::Error, known: Revision) -> StoreError {
        let cause = schema::failure(error);
        tracing::error!(error = %cause, path = %self.medium.name().display(), "the store failed");
        self.note(cause.clone());
        if let Err(error) = self.reopen(known) {
            tracing::error!(%error, "the store can't be opened again yet");
        }
        cause
    }

    fn note(&self, cause: StoreError) {
        let mut fault = self.fault.lock();
        let count = fault.as_ref().map_or(0, |fault| fault.count) + 1;
        let pause = FIRST_PAUSE.saturating_mul(1 << count.min(16)).min(LONGEST_PAUSE);
        *fault = Some(Fault { cause, count, pause_ends: Instant::now() + pause });
    }

    fn in_pause(&self) -> Option<StoreError> {
        let fault = self.fault.lock();
        let fault = fault.as_ref().filter(|fault| fault.pause_ends > Instant::now())?;
        Some(fault.cause.clone())
    }

    fn why(&self) -> StoreError {
        let fault = self.fault.lock();
        let cause = fault.as_ref().map(|fault| fault.cause.clone());
        cause.unwrap_or_else(closed)
    }

    fn ensure_open(&self, known: Revision) -> Result<(), StoreError> {
        if self.database.read().is_some() {
            return Ok(());
        }
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        if let Some(error) = self.in_pause() {
            return Err(error);
        }
        self.reopen(known).inspect_err(|error| self.note(error.clone()))
    }

    /// The old one is closed first: it holds the lock of the file.
    fn reopen(&self, known: Revision) -> Result<(), StoreError> {
        let mut database = self.database.write();
        *database = None;
        if self.closed.load(Ordering::SeqCst) {
            return Err(closed());
        }
        let name = self.medium.name();
        let opened = self.medium.open(Trust::OnlyTheDisk);
        let opened = opened.map_err(|error| schema::open_failure(name, error))?;
        let revision = Reader::open(&opened)?.revision();
        if revision < known {
            let lost =
                format!("{}: revision {known} was acknowledged, and is lost", name.display());
            return Err(StoreError::Corrupt(lost));
        }
        tracing::info!(path = %name.display(), %revision, "store opened again");
        *database = Some(opened);
        Ok(())
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".into())
}
