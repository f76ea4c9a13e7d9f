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
    #[schemars(
        description = "APIVersion defines the versioned schema of this representation of an object. Servers should convert recognized schemas to the latest internal value, and may reject unrecognized values. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources"
    )]
    pub(super) api_version: String,
    #[serde(default)]
    #[schemars(
        description = "Kind is a string value representing the REST resource this object represents. Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds"
    )]
    pub(super) kind: String,
    #[serde(default)]
    #[schemars(
        description = "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"
    )]
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
