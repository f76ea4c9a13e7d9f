//! The namespace of what is created: it must be there, and going to stay, in the moment of the write. So the write
//! carries a guard of the namespace's revision, which costs nothing while the cache has the latest.

use std::sync::Arc;

use api_machinery::ApiError;
use registry::ResourceDef;
use serde_json::Value;
use store::{Guard, Revision};

use super::{Address, Storage};
use crate::encoded;

impl Storage {
    /// What the creation of an object depends on: its namespace as the cache has it, or as the store has it if the
    /// cache knows of none that stays. Fails if there is none, or it is being deleted.
    pub(crate) async fn namespace_of(&self, at: Address<'_>) -> Result<Option<Guard>, ApiError> {
        match self.cached_namespace_of(at) {
            Some(guard) => Ok(Some(guard)),
            None => self.latest_namespace_of(at).await,
        }
    }

    /// The same without the cache.
    pub(super) async fn latest_namespace_of(
        &self,
        at: Address<'_>,
    ) -> Result<Option<Guard>, ApiError> {
        let Some((def, name)) = self.namespace(at) else { return Ok(None) };
        let namespace = Address { def: &def, namespace: None, name };
        let found = self.get(namespace).await?;
        guard(at, namespace, &found.object, found.revision).map(Some)
    }

    /// Fails as a creation would now.
    pub(crate) async fn may_create(&self, at: Address<'_>) -> Result<(), ApiError> {
        self.latest_namespace_of(at).await?;
        match self.revision_of(at).await {
            Ok(_) => Err(at.already_exists()),
            Err(error) if error.code() == 404 => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn cached_namespace_of(&self, at: Address<'_>) -> Option<Guard> {
        let (def, name) = self.namespace(at)?;
        let namespace = Address { def: &def, namespace: None, name };
        let cached = self.cache.get(&namespace.key())?;
        let stays = !encoded::readable(&cached).ok()?.says("deletionTimestamp");
        stays.then(|| Guard { key: namespace.key(), revision: cached.revision })
    }

    /// The kind of namespaces, and the name of the object's.
    fn namespace<'a>(&self, at: Address<'a>) -> Option<(Arc<ResourceDef>, &'a str)> {
        let def = self.catalogue.load().find("", "v1", "namespaces")?.clone();
        Some((def, at.namespace?))
    }
}

fn guard(
    at: Address<'_>,
    namespace: Address<'_>,
    object: &Value,
    revision: Revision,
) -> Result<Guard, ApiError> {
    if object["metadata"]["deletionTimestamp"].is_null() {
        return Ok(Guard { key: namespace.key(), revision });
    }
    let name = namespace.name;
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let error = ApiError::forbidden(&at.def.names.group, &at.def.names.plural, at.name, &why);
    let cause = format!("namespace {name} is being terminated");
    Err(error.because("NamespaceTerminating", cause, "metadata.namespace"))
}
