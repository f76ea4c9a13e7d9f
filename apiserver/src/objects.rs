//! Objects that the server itself needs to know, by the names of their kinds.

use api_machinery::ApiError;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{
    catalogue::InForce,
    encoded,
    storage::{Address, Storage},
};

/// Where they are looked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Objects<'a> {
    pub(crate) catalogue: &'a InForce,
    pub(crate) storage: &'a Storage,
}

impl Objects<'_> {
    /// An object of the core group.
    pub(crate) async fn get(
        self,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, ApiError> {
        self.get_of(("", plural), namespace, name).await
    }

    async fn get_of(
        self,
        (group, plural): (&str, &str),
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Value, ApiError> {
        let catalogue = self.catalogue.load();
        let def = catalogue.find(group, "v1", plural).ok_or_else(ApiError::no_such_path)?;
        Ok(self.storage.get(Address { def, namespace, name }).await?.object)
    }

    /// What is looked at of an object of the core group, as the cache has it.
    pub(crate) fn cached<T: DeserializeOwned>(
        self,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        self.cached_of(("", plural), namespace, name)
    }

    fn cached_of<T: DeserializeOwned>(
        self,
        (group, plural): (&str, &str),
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        let catalogue = self.catalogue.load();
        let Some(def) = catalogue.find(group, "v1", plural) else { return Ok(None) };
        let Some(cached) = self.storage.cache().get(&def.key(namespace, name)) else {
            return Ok(None);
        };
        let json = encoded::readable(&cached)?.json();
        serde_json::from_slice(&json).map(Some).map_err(ApiError::internal)
    }

    /// All of a kind, as [`read_all`] gives them.
    pub(crate) fn all<T: DeserializeOwned>(self, group: &str, plural: &str) -> Vec<T> {
        let catalogue = self.catalogue.load();
        let Some(def) = catalogue.find(group, "v1", plural) else { return Vec::new() };
        read_all(self.storage, &def.prefix(None))
    }

    /// One by its name. What isn't in the cache may have been made a moment ago by another server: the store knows.
    pub(crate) async fn find<T: DeserializeOwned>(
        self,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        self.find_of(("", plural), namespace, name).await
    }

    /// The same of the first version of another group.
    pub(crate) async fn find_of<T: DeserializeOwned>(
        self,
        resource: (&str, &str),
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.cached_of(resource, namespace, name)? {
            Some(cached) => Ok(Some(cached)),
            None => self.stored_of(resource, namespace, name).await,
        }
    }

    /// What is looked at of an object of the core group, as the store has it by now.
    pub(crate) async fn stored<T: DeserializeOwned>(
        self,
        plural: &str,
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        self.stored_of(("", plural), namespace, name).await
    }

    async fn stored_of<T: DeserializeOwned>(
        self,
        resource: (&str, &str),
        namespace: Option<&str>,
        name: &str,
    ) -> Result<Option<T>, ApiError> {
        match self.get_of(resource, namespace, name).await {
            Ok(object) => serde_json::from_value(object).map(Some).map_err(ApiError::internal),
            Err(error) if error.code() == 404 => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Those below a prefix, as the cache has them. What can't be read is left out, and told in the log.
pub(crate) fn read_all<T: DeserializeOwned>(storage: &Storage, prefix: &str) -> Vec<T> {
    read_some(storage, prefix, usize::MAX).0
}

/// The first so many of them, and how many there are.
pub(crate) fn read_some<T: DeserializeOwned>(
    storage: &Storage,
    prefix: &str,
    most: usize,
) -> (Vec<T>, usize) {
    let snapshot = storage.cache().list(prefix);
    let read = snapshot.items.iter().take(most).filter_map(|item| {
        let object = encoded::readable(item).ok()?;
        let read = serde_json::from_slice(&object.json());
        read.inspect_err(|error| tracing::warn!(key = %item.key, %error, "unreadable")).ok()
    });
    (read.collect(), snapshot.items.iter().count())
}
