//! An object without a type of its own (Kubernetes: `unstructured.Unstructured`).

use api_types::meta::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::any_object::{AnyObject, Erased};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Unstructured {
    #[serde(default)]
    pub(super) api_version: String,
    #[serde(default)]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    #[serde(flatten)]
    pub(super) rest: Map<String, Value>,
}

impl Unstructured {
    /// Gives it the status of another.
    pub(super) fn copy_status(&mut self, other: &Self) {
        match other.rest.get("status") {
            Some(status) => drop(self.rest.insert("status".to_owned(), status.clone())),
            None => drop(self.rest.remove("status")),
        }
    }
}

impl Erased for Unstructured {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }

    fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        serde_json::to_vec(self)
    }

    fn equals(&self, other: &AnyObject) -> bool {
        other.get() == Some(self)
    }

    fn copy(&self) -> AnyObject {
        AnyObject::erased(self.clone())
    }
}
