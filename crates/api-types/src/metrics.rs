//! `metrics.k8s.io/v1beta1`: what nodes and pods use. `k8s-openapi` has no such group.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ClusterResourceScope, Metadata, NamespaceResourceScope, Quantity, Resource,
    meta::{ObjectMeta, Time},
};

/// The API group.
pub const GROUP: &str = "metrics.k8s.io";
/// The only version of the group.
pub const VERSION: &str = "v1beta1";
/// `apiVersion` of its kinds.
pub const API_VERSION: &str = "metrics.k8s.io/v1beta1";

/// Amounts by resource: `cpu`, `memory`.
pub type ResourceList = BTreeMap<String, Quantity>;

/// What a container uses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ContainerMetrics {
    /// Its name in the pod.
    pub name: String,
    /// The memory is the working set.
    pub usage: ResourceList,
}

/// Defines a kind: the struct, with the fields that it has beside those of all, and the traits of an object.
macro_rules! metrics {
    ($(#[$doc:meta])* $name:ident = $plural:literal, $scope:ty, $(#[$field_doc:meta])* $field:ident: $type:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            #[serde(default)]
            api_version: String,
            #[serde(default)]
            kind: String,
            /// The name and the labels are the measured object's.
            #[serde(default)]
            pub metadata: ObjectMeta,
            /// The end of the time that it was measured for.
            pub timestamp: Time,
            /// How long that was.
            pub window: String,
            $(#[$field_doc])*
            pub $field: $type,
        }

        impl $name {
            /// What is used as of a time, measured for a window before.
            #[must_use]
            pub fn new(metadata: ObjectMeta, timestamp: Time, window: String, $field: $type) -> Self {
                let (api_version, kind) = (API_VERSION.to_owned(), Self::KIND.to_owned());
                Self { api_version, kind, metadata, timestamp, window, $field }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                let epoch = Time(crate::jiff::Timestamp::UNIX_EPOCH);
                Self::new(ObjectMeta::default(), epoch, String::new(), <$type>::default())
            }
        }

        impl Resource for $name {
            const API_VERSION: &'static str = API_VERSION;
            const GROUP: &'static str = GROUP;
            const KIND: &'static str = stringify!($name);
            const VERSION: &'static str = VERSION;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = $scope;
        }

        impl Metadata for $name {
            type Ty = ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }
    };
}

metrics!(
    /// What a node uses.
    NodeMetrics = "nodes",
    ClusterResourceScope,
    /// All that runs on the node, pods or not. The memory is the working set.
    usage: ResourceList
);

metrics!(
    /// What a pod uses.
    PodMetrics = "pods",
    NamespaceResourceScope,
    /// Its containers, each with what it uses.
    containers: Vec<ContainerMetrics>
);
