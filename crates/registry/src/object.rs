//! What the type of a kind has to be able to do.

use api_types::{
    ClusterResourceScope, Metadata, NamespaceResourceScope, Resource, meta::ObjectMeta,
};
use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::description::Scope;

/// What every kind's type can do.
pub trait Object:
    Resource
    + Metadata<Ty = ObjectMeta>
    + Serialize
    + DeserializeOwned
    + JsonSchema
    + Clone
    + Default
    + PartialEq
    + Send
    + Sync
    + 'static
{
}

impl<K> Object for K where
    K: Resource
        + Metadata<Ty = ObjectMeta>
        + Serialize
        + DeserializeOwned
        + JsonSchema
        + Clone
        + Default
        + PartialEq
        + Send
        + Sync
        + 'static
{
}

/// The scope that a type's `Resource::Scope` stands for.
pub trait KnownScope {
    /// As a value.
    const SCOPE: Scope;
}

impl KnownScope for ClusterResourceScope {
    const SCOPE: Scope = Scope::Cluster;
}

impl KnownScope for NamespaceResourceScope {
    const SCOPE: Scope = Scope::Namespaced;
}
