//! What makes a pair of spec and status an object of the API: the traits of `k8s-openapi`, and the encoding with
//! `apiVersion` and `kind`, of which a wrong one is a decode error.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, de::Error};

use crate::meta::ObjectMeta;

/// An object as it is on the wire.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[serde(bound(deserialize = "Spec: Default + Deserialize<'de>, Status: Deserialize<'de>"))]
#[schemars(bound = "Spec: Default + Serialize + JsonSchema, Status: JsonSchema")]
pub(super) struct Wire<Spec, Status> {
    /// `minik8s.io/v1`.
    #[serde(default)]
    api_version: String,
    /// The kind's name.
    #[serde(default)]
    kind: String,
    /// Standard object's metadata.
    #[serde(default)]
    pub(super) metadata: ObjectMeta,
    /// What is wanted.
    #[serde(default)]
    pub(super) spec: Spec,
    /// What was found; written by controllers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<Status>,
}

impl<Spec, Status> Wire<Spec, Status> {
    pub(super) fn new(
        kind: &str,
        metadata: ObjectMeta,
        spec: Spec,
        status: Option<Status>,
    ) -> Self {
        Self {
            api_version: super::API_VERSION.to_owned(),
            kind: kind.to_owned(),
            metadata,
            spec,
            status,
        }
    }

    /// Refuses another type's object. Absent names are taken as right, as `k8s-openapi` does.
    pub(super) fn check<E: Error>(self, kind: &str) -> Result<Self, E> {
        expect("apiVersion", &self.api_version, super::API_VERSION)?;
        expect("kind", &self.kind, kind)?;
        Ok(self)
    }
}

fn expect<E: Error>(field: &str, given: &str, wanted: &str) -> Result<(), E> {
    if given.is_empty() || given == wanted {
        return Ok(());
    }
    Err(E::custom(format_args!("invalid value: {field} {given:?}, expected {wanted:?}")))
}

/// The schema of bytes in base64.
pub(super) fn bytes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "string", "format": "byte"})
}

/// Defines a kind: the struct, `Resource`, `Metadata`, and the encoding.
macro_rules! resource {
    ($(#[$doc:meta])* $name:ident = $kind:literal, $plural:literal, $spec:ty, $status:ty) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        pub struct $name {
            /// Standard object's metadata.
            pub metadata: $crate::meta::ObjectMeta,
            /// What is wanted.
            pub spec: $spec,
            /// What was found; written by controllers.
            pub status: Option<$status>,
        }

        impl $crate::Resource for $name {
            const API_VERSION: &'static str = $crate::minik8s::API_VERSION;
            const GROUP: &'static str = $crate::minik8s::GROUP;
            const KIND: &'static str = $kind;
            const VERSION: &'static str = $crate::minik8s::VERSION;
            const URL_PATH_SEGMENT: &'static str = $plural;
            type Scope = $crate::NamespaceResourceScope;
        }

        impl $crate::Metadata for $name {
            type Ty = $crate::meta::ObjectMeta;

            fn metadata(&self) -> &Self::Ty {
                &self.metadata
            }

            fn metadata_mut(&mut self) -> &mut Self::Ty {
                &mut self.metadata
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let (metadata, spec, status) = (self.metadata.clone(), &self.spec, self.status.as_ref());
                $crate::minik8s::resource::Wire::new($kind, metadata, spec, status).serialize(serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let wire = $crate::minik8s::resource::Wire::<$spec, $status>::deserialize(deserializer)?;
                let wire = wire.check::<D::Error>($kind)?;
                Ok(Self { metadata: wire.metadata, spec: wire.spec, status: wire.status })
            }
        }

        impl schemars::JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                concat!("io.minik8s.v1.", $kind).into()
            }

            fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
                $crate::minik8s::resource::Wire::<$spec, $status>::json_schema(generator)
            }
        }
    };
}

pub(super) use resource;
