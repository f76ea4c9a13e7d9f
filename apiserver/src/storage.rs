//! Objects over the store: keys, versions and errors as the API knows them. Writes go to the store, reads of
//! collections come from the cache.

mod compare_and_swap;
mod measured;
mod namespace;
mod parked;
mod preconditions;
mod unread;
mod write;

use std::{sync::Arc, time::Duration};

use api_machinery::ApiError;
use bytes::Bytes;
use registry::{AnyObject, ResourceDef};
use serde_json::{
    Value,
    value::{RawValue, to_raw_value},
};
use store::{
    Entry, Query as StoreQuery, Revision, Store, StoreError,
    cache::{Cache, Options, Snapshot, Subscription},
};

use crate::{
    catalogue::InForce,
    config::Config,
    conversion::{Converter, View},
    encoded::{self, Decoded, Encoded},
    query::ReadAt,
    webhook_client::Services,
};

pub(crate) use self::{
    measured::{Durations, Measured},
    write::WriteError,
};
use self::{parked::Parked, unread::Unread};

/// How long a read waits for a version that is not there yet (Kubernetes: `blockTimeout`).
const FUTURE_VERSION_PATIENCE: Duration = Duration::from_secs(3);

/// When to ask again that was not answered because the store was away, in seconds.
const RETRY: i32 = 1;

/// An object as it was read.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// In the version that it was asked for in, without what is said of who manages its fields.
    pub(crate) object: Value,
    /// `metadata.managedFields`.
    pub(crate) managed_fields: Option<Box<RawValue>>,
    /// The one that wrote it.
    pub(crate) revision: Revision,
    /// As it is stored, with its version.
    json: Bytes,
}

impl Stored {
    fn new(
        (mut object, managed_fields): (Value, Option<Box<RawValue>>),
        revision: Revision,
        json: Bytes,
    ) -> Result<Self, ApiError> {
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let own = metadata.and_then(|metadata| metadata.remove("managedFields"));
        let own = own.filter(|own| !own.is_null()).map(|own| to_raw_value(&own)).transpose();
        let managed_fields = managed_fields.or(own.map_err(ApiError::internal)?);
        Ok(Self { object, managed_fields, revision, json })
    }

    /// As an object of its kind.
    pub(crate) fn typed(&self, def: &ResourceDef) -> Result<AnyObject, ApiError> {
        let mut object = def.stored(&self.object)?;
        object.set_managed_fields(self.managed_fields.clone());
        Ok(object)
    }

    /// All of it.
    pub(crate) fn whole(&self) -> Value {
        whole(self.object.clone(), self.managed_fields.as_deref())
    }
}

/// An object with what it says of who manages its fields.
pub(crate) fn whole(mut object: Value, managed_fields: Option<&RawValue>) -> Value {
    if let Some(Ok(managed_fields)) = managed_fields.map(|it| serde_json::from_str(it.get())) {
        object["metadata"]["managedFields"] = managed_fields;
    }
    object
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
        ApiError::not_found(&self.def.names.group, &self.def.names.plural, self.name)
    }

    /// The error of its presence.
    pub(crate) fn already_exists(&self) -> ApiError {
        ApiError::already_exists(&self.def.names.group, &self.def.names.plural, self.name)
    }

    /// The error of it having changed meanwhile.
    pub(crate) fn modified(&self) -> ApiError {
        ApiError::modified(&self.def.names.group, &self.def.names.plural, self.name)
    }

    /// The error of it not being as a request requires.
    pub(crate) fn conflict(&self, why: &str) -> ApiError {
        ApiError::conflict(&self.def.names.group, &self.def.names.plural, self.name, why)
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
    cache: Arc<Cache<Decoded>>,
    catalogue: InForce,
    converter: Arc<Converter>,
    parked: Arc<Parked>,
    unread: Arc<Unread>,
}

impl Storage {
    /// Opens the cache over a store.
    pub(crate) async fn start(
        store: Arc<dyn Store>,
        catalogue: InForce,
        config: &Config,
    ) -> Result<Self, StoreError> {
        let (known, parked) = (catalogue.clone(), Arc::<Parked>::default());
        let unread = Arc::<Unread>::default();
        let (written, noted) = (parked.clone(), unread.clone());
        let decode = move |entry: &Entry| match written.take(&entry.key, &entry.value) {
            Some(written) => Encoded::of_written(written, entry.revision),
            None => Encoded::of_entry(&known.load(), entry).inspect_err(|_| noted.note(entry)),
        };
        let &Config { watch_window: window, watch_window_bytes: window_bytes, .. } = config;
        let options = Options { window, window_bytes, ..Options::default() };
        let cache = Cache::start(store.clone(), options, decode).await?;
        let converter = Arc::new(Converter::new(store.clone(), cache.clone()));
        Ok(Self { store, cache, catalogue, converter, parked, unread })
    }

    /// The store below.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// The cache above.
    pub(crate) fn cache(&self) -> &Arc<Cache<Decoded>> {
        &self.cache
    }

    /// An entry of the store's history as the cache would have it.
    pub(crate) fn decode(&self, entry: &Entry) -> Decoded {
        Encoded::of_entry(&self.catalogue.load(), entry)
    }

    /// How objects look in a version of their kind.
    pub(crate) fn view(&self, def: &Arc<ResourceDef>) -> View {
        View::new(self.catalogue.load(), def.clone(), self.converter.clone())
    }

    /// An object that is in any version of its kind in that of a definition.
    pub(crate) async fn converted(
        &self,
        object: Value,
        def: &ResourceDef,
    ) -> Result<Value, ApiError> {
        self.converter.converted(&self.catalogue.load(), object, def).await
    }

    /// Where webhooks are found.
    pub(crate) fn services(&self) -> Services<'_> {
        Services { store: &*self.store, cache: &self.cache }
    }

    /// The latest state of an object.
    pub(crate) async fn get(&self, at: Address<'_>) -> Result<Stored, ApiError> {
        let entry = self.entry(at).await?;
        let object = encoded::decode(&entry).map_err(|e| ApiError::from(&e))?;
        let object = self.converted(object, at.def).await?;
        let Entry { value, revision, .. } = entry;
        // In the order in which it is stored, which need not be a value's.
        let managed_fields = registry::without_managed_fields(&value).map(|(_, text)| text);
        let json = encoded::with_version(b"", &value, revision, b"").into();
        Stored::new((object, managed_fields), revision, json)
    }

    /// The latest state of an object, encoded. The cache's encoding is used if it is of the same revision.
    pub(crate) async fn get_encoded(
        &self,
        at: Address<'_>,
        view: &View,
    ) -> Result<Bytes, ApiError> {
        let entry = self.entry(at).await?;
        Ok(match self.cache.get(&entry.key) {
            Some(cached) if cached.revision == entry.revision && cached.object.is_ok() => {
                let object = encoded::readable(&cached)?;
                view.prepare([object]).await?;
                view.json(object)?
            }
            _ => {
                let object = encoded::decode(&entry).map_err(|e| ApiError::from(&e))?;
                self.converted(object, &view.def).await?.to_string().into()
            }
        })
    }

    /// The revision of an object, whether or not it can be read.
    pub(crate) async fn revision_of(&self, at: Address<'_>) -> Result<Revision, ApiError> {
        Ok(self.entry(at).await?.revision)
    }

    async fn entry(&self, at: Address<'_>) -> Result<Entry, ApiError> {
        self.store.get(&at.key()).await.map_err(api_error)?.ok_or_else(|| at.not_found())
    }

    /// A collection from the cache, at least as new as asked for.
    pub(crate) async fn list(
        &self,
        prefix: &str,
        at: ReadAt,
    ) -> Result<Snapshot<Decoded>, ApiError> {
        self.reach(at).await?;
        self.read_again(prefix).await?;
        Ok(self.cache.list(prefix))
    }

    /// Has the cache take what is below a prefix, could not be read when it came and can be by now.
    pub(crate) async fn read_again(&self, prefix: &str) -> Result<(), ApiError> {
        self.unread.try_again(&*self.store, &self.cache, prefix).await.map_err(api_error)
    }

    /// Waits until the cache is as new as asked for.
    pub(crate) async fn reach(&self, at: ReadAt) -> Result<(), ApiError> {
        match at {
            ReadAt::Any => Ok(()),
            ReadAt::MostRecent | ReadAt::Exact(_) => {
                self.cache.catch_up().await.map(drop).map_err(api_error)
            }
            ReadAt::NotOlderThan(revision) => self.wait_for(revision).await,
        }
    }

    /// Waits a moment for a revision that the cache does not have yet.
    pub(crate) async fn wait_for(&self, revision: Revision) -> Result<(), ApiError> {
        match tokio::time::timeout(FUTURE_VERSION_PATIENCE, self.cache.wait_for(revision)).await {
            Ok(result) => result.map_err(api_error),
            Err(_) => {
                let current = self.cache.revision();
                Err(ApiError::too_large_resource_version(revision.0, current.0))
            }
        }
    }

    /// The changes of a collection after a revision, or of those objects alone that have, or had, the `value` they are
    /// watched by. Fails with 410 if it is too old, and if the store has never reached it: then it was set back to a
    /// backup, and what the client knows is of a history that is gone.
    pub(crate) async fn subscribe(
        &self,
        prefix: &str,
        value: Option<&str>,
        after: Revision,
    ) -> Result<Subscription<Decoded>, ApiError> {
        if self.cache.revision() < after {
            let latest = self.store.revision().await.map_err(api_error)?;
            if latest < after {
                let message = format!("unknown resource version: {after}, current: {latest}");
                return Err(ApiError::expired(message));
            }
        }
        self.cache.watch_value(prefix, value, after).map_err(|error| watch_error(error, after))
    }

    /// Fails if a page of this revision does, whatever is on it.
    pub(crate) async fn remembers(&self, revision: Revision) -> Result<(), StoreError> {
        // No key begins like this.
        let nothing = StoreQuery { at: Some(revision), ..StoreQuery::default() };
        self.page("\0", nothing).await.map(drop)
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

/// Errors of the store that have nothing to do with one object, and came before anything was written: who can't be
/// answered now is told to ask again.
pub(crate) fn api_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Compacted { .. } => {
            ApiError::expired("The resourceVersion for the provided list is too old.")
        }
        StoreError::Unavailable(why) => {
            tracing::warn!(why, "store is unavailable");
            ApiError::unavailable(format!("the store is unavailable: {why}")).retry_after(RETRY)
        }
        StoreError::TooLarge(why) => ApiError::request_entity_too_large(why),
        other => ApiError::internal(other),
    }
}

/// Why a watch can't go on.
pub(crate) fn watch_error(error: StoreError, after: Revision) -> ApiError {
    match error {
        StoreError::Compacted { oldest } => {
            ApiError::expired(format!("too old resource version: {after} ({oldest})"))
        }
        other => api_error(other),
    }
}
