//! An object without a type of its own (Kubernetes: `unstructured.Unstructured`).

use api_types::meta::ObjectMeta;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::any_object::Described;

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

impl Described for Unstructured {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
