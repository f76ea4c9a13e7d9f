//! Objects that the server itself needs to know, by the names of their kinds.

use api_machinery::ApiError;
use serde_json::Value;

use crate::{
    catalogue::InForce,
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
        let catalogue = self.catalogue.load();
        let def = catalogue.find("", "v1", plural).ok_or_else(ApiError::no_such_path)?;
        Ok(self.storage.get(Address { def, namespace, name }).await?.object)
    }
}
