//! Writes by compare-and-swap, and what is known of one that was not answered.
//!
//! A store that can't be reached may have written all the same. The same write is then tried again: it succeeds if
//! the first try was not done, and meets itself if it was. If the store stays away, nobody knows, and whoever holds
//! something for the object must go on holding it.

use std::{borrow::Cow, future::Future, time::Duration};

use api_machinery::ApiError;
use bytes::Bytes;
use registry::AnyObject;
use store::{Expect, Guard, Revision, StoreError};
use tokio::time::Instant;

use super::{Address, Storage, Stored};
use crate::encoded::{self, Written};

/// For how long a write is tried again that was not answered: longer than an election of etcd, and so short that
/// with one more try that waits for etcd the answer still comes within a client's patience.
const SETTLING: Duration = Duration::from_secs(4);
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(250);

/// Why a write failed.
#[derive(Debug)]
pub(crate) enum WriteError<E = ApiError> {
    /// It was not done, and won't be.
    Refused(E),
    /// The same, because the key is not, or no longer, as it was taken to be.
    Outdated(E),
    /// Nobody knows whether it was done, or it was, and what became of it can't be shown.
    Unknown(E),
}

impl WriteError {
    /// Whether the write was certainly not done, for this reason.
    pub(crate) fn is(&self, reason: &str) -> bool {
        matches!(self, Self::Refused(error) if error.reason() == reason)
    }
}

impl From<ApiError> for WriteError {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Refused(error)
            | WriteError::Outdated(error)
            | WriteError::Unknown(error) => error,
        }
    }
}

/// An object on its way to the store.
struct Outgoing {
    key: String,
    written: Written,
    /// Whether it is stored in the version of its kind that it was given in.
    is_as_given: bool,
}

impl Outgoing {
    /// What is stored, with its version.
    fn as_of(&self, revision: Revision) -> Bytes {
        encoded::with_version(b"", &self.written.json, revision, b"").into()
    }
}

impl Storage {
    /// Stores an object that must not be there yet, in a namespace that stays; gives its JSON. What is too large for the store
    /// says nothing of who manages its fields (Kubernetes: `isTooLargeError`).
    pub(crate) async fn create(
        &self,
        at: Address<'_>,
        object: &AnyObject,
    ) -> Result<Bytes, WriteError> {
        let mut namespace = self.namespace_of(at).await?;
        let mut object = Cow::Borrowed(object);
        let mut outgoing = self.encode(at, &object).await?;
        loop {
            match self.put_parked(&outgoing, Expect::Absent, namespace.as_slice()).await {
                Ok(revision) => return self.done(at, &outgoing, &object, revision).await,
                Err(WriteError::Outdated(_)) => return Err(at.already_exists().into()),
                // Somebody has written the namespace, and may do so again: each time brings somebody further.
                Err(WriteError::Refused(StoreError::GuardFailed { .. })) => {
                    namespace = self.latest_namespace_of(at).await?;
                }
                Err(error) if is_too_large(&error) && object.managed_fields().is_some() => {
                    object.to_mut().set_managed_fields(None);
                    outgoing = self.encode(at, &object).await?;
                }
                Err(error) => return Err(failed(at, error)),
            }
        }
    }

    /// Stores an object's next state over the one that was read; gives its JSON. What is stored already, to the byte,
    /// isn't written again, if that was the latest, and in the form that it would have now. Of what is too large it is as with
    /// a new object.
    pub(crate) async fn update(
        &self,
        at: Address<'_>,
        old: &Stored,
        object: &mut AnyObject,
    ) -> Result<Bytes, WriteError> {
        object.metadata_mut().resource_version = None;
        let mut outgoing = self.encode(at, object).await?;
        if outgoing.as_of(old.revision) == old.json && !self.is_stale(&outgoing.key).await {
            self.confirm(at, old).await?;
            return Ok(self.shown(at, &outgoing, object, old.revision).await?);
        }
        let mut put = self.put_parked(&outgoing, Expect::At(old.revision), &[]).await;
        if put.as_ref().is_err_and(is_too_large) && object.take_managed_fields().is_some() {
            outgoing = self.encode(at, object).await?;
            put = self.put_parked(&outgoing, Expect::At(old.revision), &[]).await;
        }
        let revision = put.map_err(|error| failed(at, error))?;
        self.done(at, &outgoing, object, revision).await
    }

    /// The answer of a write that was done. If there is none, to try again would do it twice.
    async fn done(
        &self,
        at: Address<'_>,
        outgoing: &Outgoing,
        object: &AnyObject,
        revision: Revision,
    ) -> Result<Bytes, WriteError> {
        self.shown(at, outgoing, object, revision).await.map_err(WriteError::Unknown)
    }

    /// What the client gets of the object that was stored: what whoever reads it now is shown.
    async fn shown(
        &self,
        at: Address<'_>,
        outgoing: &Outgoing,
        object: &AnyObject,
        revision: Revision,
    ) -> Result<Bytes, ApiError> {
        match outgoing.is_as_given {
            true => Ok(outgoing.as_of(revision)),
            false if at.def.webhook.is_some() => {
                let stored = encoded::value(&outgoing.as_of(revision))?;
                Ok(self.converted(stored, at.def).await?.to_string().into())
            }
            false => encoded::versioned(object, Some(revision)),
        }
    }

    /// A store that can't tell is asked again with what comes next.
    async fn is_stale(&self, key: &str) -> bool {
        self.store.is_stale(key).await.unwrap_or(false)
    }

    async fn encode(&self, at: Address<'_>, object: &AnyObject) -> Result<Outgoing, ApiError> {
        let (catalogue, key) = (self.catalogue.load(), at.key());
        let Some(stored) = catalogue.of_key(&key) else { return Err(at.not_found()) };
        // The request may have begun when another version was stored, or with other defaults.
        let is_as_given = at.def.api_version() == stored.api_version();
        let written = match std::ptr::eq(at.def, &**stored) {
            true => Written::new(stored, object)?,
            false => {
                let (object, managed_fields) = (object.to_value()?, object.managed_fields());
                let converted = self.converter.converted(&catalogue, object, stored).await?;
                let mut converted = stored.stored(&converted)?;
                converted.set_managed_fields(managed_fields);
                Written::new(stored, &converted)?
            }
        };
        Ok(Outgoing { key, written, is_as_given })
    }

    /// Writes an object, which waits for the cache to see it.
    async fn put_parked(
        &self,
        Outgoing { key, written, .. }: &Outgoing,
        expect: Expect,
        guards: &[Guard],
    ) -> Result<Revision, WriteError<StoreError>> {
        self.parked.park(key, written.clone());
        let result = self.put(key, &written.json, expect, guards).await;
        if matches!(result, Err(WriteError::Refused(_) | WriteError::Outdated(_))) {
            self.parked.take(key, &written.json);
        }
        result
    }

    /// Removes an object in the state that was read.
    pub(crate) async fn remove(
        &self,
        at: Address<'_>,
        revision: Revision,
    ) -> Result<Revision, WriteError> {
        self.delete(&at.key(), revision).await.map_err(|error| failed(at, error))
    }

    /// Writes any key.
    pub(crate) async fn put(
        &self,
        key: &str,
        value: &Bytes,
        expect: Expect,
        guards: &[Guard],
    ) -> Result<Revision, WriteError<StoreError>> {
        let put = || self.store.put_guarded(key, value.clone(), Some(expect), guards);
        match settle(put).await {
            Settled {
                result: Err(error @ (StoreError::Conflict { .. } | StoreError::GuardFailed { .. })),
                unanswered: true,
            } => {
                match self.store.get(key).await {
                    Ok(Some(entry)) if entry.value == *value => Ok(entry.revision),
                    // The first try may have been done, and undone or changed by somebody since.
                    Ok(_) => Err(WriteError::Unknown(error)),
                    Err(error) => Err(WriteError::Unknown(error)),
                }
            }
            settled => settled.result.map_err(classified),
        }
    }

    /// Deletes any key in the state that was read.
    pub(crate) async fn delete(
        &self,
        key: &str,
        revision: Revision,
    ) -> Result<Revision, WriteError<StoreError>> {
        match settle(|| self.store.delete(key, Some(revision))).await {
            // Gone, by the first try or by somebody else's: either way as wanted.
            Settled { result: Err(StoreError::NotFound { .. }), unanswered: true } => {
                self.store.revision().await.map_err(WriteError::Unknown)
            }
            // The first try may have been done, and what is there now be another's that came after it.
            Settled { result: Err(error @ StoreError::Conflict { .. }), unanswered: true } => {
                Err(WriteError::Unknown(error))
            }
            settled => settled.result.map_err(classified),
        }
    }
}

/// What became of a write that was tried until it was answered, or for long enough.
struct Settled {
    result: Result<Revision, StoreError>,
    /// There were tries without an answer before.
    unanswered: bool,
}

async fn settle<F>(write: impl Fn() -> F) -> Settled
where
    F: Future<Output = Result<Revision, StoreError>>,
{
    let began = Instant::now();
    let mut unanswered = false;
    loop {
        let result = write().await;
        let is_settled = result.as_ref().map_or_else(is_answer, |_| true);
        if is_settled || began.elapsed() >= SETTLING {
            return Settled { result, unanswered };
        }
        unanswered = true;
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether the store says that it did not write, rather than not saying anything.
fn is_answer(error: &StoreError) -> bool {
    use StoreError::{Conflict, GuardFailed, NotFound, TooLarge};
    matches!(error, Conflict { .. } | GuardFailed { .. } | NotFound { .. } | TooLarge(_))
}

fn is_too_large(error: &WriteError<StoreError>) -> bool {
    matches!(error, WriteError::Refused(StoreError::TooLarge(_)))
}

fn classified(error: StoreError) -> WriteError<StoreError> {
    match error {
        StoreError::Conflict { .. } => WriteError::Outdated(error),
        error if is_answer(&error) => WriteError::Refused(error),
        error => WriteError::Unknown(error),
    }
}

fn failed(at: Address<'_>, error: WriteError<StoreError>) -> WriteError {
    match error {
        WriteError::Refused(error) => WriteError::Refused(at.error(error)),
        WriteError::Outdated(error) => WriteError::Outdated(at.error(error)),
        WriteError::Unknown(error) => WriteError::Unknown(unknown(&error)),
    }
}

/// Without `Retry-After`: a client that repeats a write which was done would be told that it wasn't.
fn unknown(error: &StoreError) -> ApiError {
    tracing::warn!(%error, "nobody knows whether a write was done");
    ApiError::unavailable(format!("it is not known whether the change was made: {error}"))
}
