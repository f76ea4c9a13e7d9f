//! Objects over the store: keys, versions and errors as the API knows them. Writes go to the store, reads of
//! collections come from the cache.

use std::{sync::Arc, time::Duration};

use api_machinery::ApiError;
use bytes::Bytes;
use registry::ResourceDef;
use serde_json::Value;
use store::{
    Entry, Expect, Query as StoreQuery, Revision, Store, StoreError,
    cache::{Cache, Options, Snapshot},
};

use crate::{
    catalogue::Catalogue,
    encoded::{self, Encoded},
    query::ReadAt,
};

/// How long a read waits for a version that is not there yet (Kubernetes: `blockTimeout`).
const FUTURE_VERSION_PATIENCE: Duration = Duration::from_secs(3);

/// An object and the revision that wrote it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) object: Value,
    pub(crate) revision: Revision,
}

/// Names one object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address<'a> {
    pub(crate) def: &'a ResourceDef,
    pub(crate) namespace: Option<&'a str>,
    pub(crate) name: &'a str,
}

impl Address<'_> {
    /// Its key in the store.
    pub(crate) fn key(&self) -> String {
        self.def.key(self.namespace, self.name)
    }

    /// The error of its absence.
    pub(crate) fn not_found(&self) -> ApiError {
        ApiError::not_found(self.def.names.group, self.def.names.plural, self.name)
    }

    /// The error of it having changed meanwhile.
    pub(crate) fn modified(&self) -> ApiError {
        ApiError::modified(self.def.names.group, self.def.names.plural, self.name)
    }

    /// The error of it not being as a request requires.
    pub(crate) fn conflict(&self, why: &str) -> ApiError {
        ApiError::conflict(self.def.names.group, self.def.names.plural, self.name, why)
    }

    fn error(&self, error: StoreError) -> ApiError {
        match error {
            StoreError::Conflict { current: None, .. } | StoreError::NotFound { .. } => {
                self.not_found()
            }
            StoreError::Conflict { .. } => self.modified(),
            other => api_error(other),
        }
    }
}

/// The store and its cache.
#[derive(Debug)]
pub(crate) struct Storage {
    store: Arc<dyn Store>,
    cache: Arc<Cache<Encoded>>,
}

impl Storage {
    /// Opens the cache over a store.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        catalogue: Arc<Catalogue>,
        window: usize,
    ) -> Result<Self, StoreError> {
        let decode = move |entry: &Entry| Encoded::of_entry(&catalogue, entry);
        let options = Options { window, ..Options::default() };
        let cache = Cache::start(store.clone(), options, decode).await?;
        Ok(Self { store, cache })
    }

    /// The store below.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The cache above.
    pub(crate) fn cache(&self) -> &Arc<Cache<Encoded>> {
        &self.cache
    }

    /// The latest state of an object.
    pub(crate) async fn get(&self, at: Address<'_>) -> Result<Stored, ApiError> {
        let entry = self.entry(at).await?;
        Ok(Stored { object: encoded::decode(&entry), revision: entry.revision })
    }

    /// The latest state of an object, encoded. The cache's encoding is used if it is of the same revision.
    pub(crate) async fn get_encoded(&self, at: Address<'_>) -> Result<Bytes, ApiError> {
        let entry = self.entry(at).await?;
        Ok(match self.cache.get(&entry.key) {
            Some(cached) if cached.revision == entry.revision => cached.object.json(),
            _ => encoded::decode(&entry).to_string().into(),
        })
    }

    async fn entry(&self, at: Address<'_>) -> Result<Entry, ApiError> {
        self.store.get(&at.key()).await.map_err(api_error)?.ok_or_else(|| at.not_found())
    }

    /// Stores an object that must not be there yet.
    pub(crate) async fn create(&self, at: Address<'_>, object: Value) -> Result<Stored, ApiError> {
        let names = &at.def.names;
        let value = encoded::to_store(object.clone());
        match self.store.put(&at.key(), value, Some(Expect::Absent)).await {
            Ok(revision) => Ok(stored(object, revision)),
            Err(StoreError::Conflict { .. }) => {
                Err(ApiError::already_exists(names.group, names.plural, at.name))
            }
            Err(other) => Err(api_error(other)),
        }
    }

    /// Stores an object's next state over the one that was read. A change that changes nothing isn't written.
    pub(crate) async fn update(
        &self,
        at: Address<'_>,
        old: &Stored,
        object: Value,
    ) -> Result<Stored, ApiError> {
        let value = encoded::to_store(object.clone());
        if value == encoded::to_store(old.object.clone()) {
            return Ok(old.clone());
        }
        let put = self.store.put(&at.key(), value, Some(Expect::At(old.revision))).await;
        put.map(|revision| stored(object, revision)).map_err(|e| at.error(e))
    }

    /// Removes an object in the state that was read.
    pub(crate) async fn remove(&self, at: Address<'_>, old: &Stored) -> Result<Revision, ApiError> {
        self.store.delete(&at.key(), Some(old.revision)).await.map_err(|e| at.error(e))
    }

    /// A collection from the cache, at least as new as asked for.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        at: ReadAt,
    ) -> Result<Snapshot<Encoded>, ApiError> {
        match at {
            ReadAt::Any => {}
            ReadAt::MostRecent | ReadAt::Exact(_) => {
                self.cache.catch_up().await.map_err(api_error)?;
            }
            ReadAt::NotOlderThan(revision) => self.wait_for(revision).await?,
        }
        Ok(self.cache.list(prefix))
    }

    /// Waits a moment for a revision that the cache does not have yet.
    pub(crate) async fn wait_for(&self, revision: Revision) -> Result<(), ApiError> {
        match tokio::time::timeout(FUTURE_VERSION_PATIENCE, self.cache.wait_for(revision)).await {
            Ok(result) => result.map_err(api_error),
            Err(_) => Err(too_large(revision, self.cache.revision())),
        }
    }

    /// A page of a collection as it was at a revision, from the store's history.
    pub(crate) async fn page(
        &self,
        prefix: &str,
        query: StoreQuery,
    ) -> Result<store::Page, StoreError> {
        self.store.list(prefix, query).await
    }
}

/// An object just written.
fn stored(mut object: Value, revision: Revision) -> Stored {
    encoded::set_version(&mut object, revision);
    Stored { object, revision }
}

/// Errors of the store that have nothing to do with one object.
pub(crate) fn api_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Compacted { .. } => {
            ApiError::expired("The resourceVersion for the provided list is too old.")
        }
        StoreError::Unavailable(why) => {
            tracing::warn!(why, "store is unavailable");
            ApiError::unavailable(format!("the store is unavailable: {why}"))
        }
        other => ApiError::internal(other),
    }
}

/// 504 for a version that is not there yet.
fn too_large(wanted: Revision, current: Revision) -> ApiError {
    let message = format!("Too large resource version: {wanted}, current: {current}");
    ApiError::new(504, "Timeout", message)
}
