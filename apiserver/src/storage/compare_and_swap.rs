//! Changing an object by compare-and-swap, from the start again if somebody else wrote in between
//! (Kubernetes: `GuaranteedUpdate` in `k8s.io/apiserver/pkg/storage/etcd3/store.go`).

use std::future::Future;

use api_machinery::ApiError;

use super::{Address, Storage, Stored, WriteError};
use crate::encoded;

/// How often a change is tried that others get in the way of.
const ATTEMPTS: usize = 32;

impl Storage {
    /// Has an object changed.
    ///
    /// *Flow*: `attempt` gets the object as the cache has it, which costs no request to the store, and makes its
    /// write depend on that being the latest. If nothing comes of it, for whatever reason, the reason may be what
    /// the cache doesn't know yet: then it gets the object as the store has it, unless that is the one that was tried,
    /// and again if others are faster.
    pub(crate) async fn compare_and_swap<T, F>(
        &self,
        at: Address<'_>,
        attempt: impl Fn(Stored) -> F,
    ) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, WriteError>>,
    {
        let mut refused = None;
        if let Some(cached) = self.cached(at).await? {
            let tried = cached.revision;
            match attempt(cached).await {
                Err(WriteError::Outdated(_)) => {}
                Err(WriteError::Refused(error)) if error.code() != 503 => {
                    refused = Some((tried, error));
                }
                result => return Ok(result?),
            }
        }
        let mut attempts = ATTEMPTS;
        loop {
            attempts -= 1;
            let stored = self.get(at).await?;
            if let Some((tried, error)) = refused.take()
                && tried == stored.revision
            {
                return Err(error);
            }
            match attempt(stored).await {
                Err(WriteError::Outdated(_)) if attempts > 0 => {}
                result => return Ok(result?),
            }
        }
    }

    /// Makes sure that what was read is the latest, for an answer that needs no write.
    pub(crate) async fn confirm(&self, at: Address<'_>, read: &Stored) -> Result<(), WriteError> {
        if self.revision_of(at).await? == read.revision {
            return Ok(());
        }
        Err(WriteError::Outdated(at.modified()))
    }

    async fn cached(&self, at: Address<'_>) -> Result<Option<Stored>, ApiError> {
        let Some(cached) = self.cache.get(&at.key()) else { return Ok(None) };
        let Ok(encoded) = &cached.object else { return Ok(None) };
        let json = encoded.json();
        let (object, managed_fields) = match encoded.converted_to(at.def) {
            Some(converted) => encoded::parted(&converted)?,
            None => {
                let (object, managed_fields) = encoded::parted(&json)?;
                match self.converted(object, at.def).await {
                    Ok(object) => (object, managed_fields),
                    // To ask another server again would take as long again.
                    Err(error) if at.def.webhook.is_some() => return Err(error),
                    Err(_) => return Ok(None),
                }
            }
        };
        Stored::new((object, managed_fields), cached.revision, json).map(Some)
    }
}
