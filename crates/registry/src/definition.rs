//! A resource's definition: what the types lack (short names, columns, subresources), and its erased behaviour.

use std::{collections::BTreeMap, fmt};

use api_machinery::ApiError;
use api_types::{Metadata, Resource, jiff::Timestamp, meta::ObjectMeta};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    erased::{ErasedKind, Typed},
    strategy::Strategy,
};

/// Whether objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Namespaced,
}

/// What a resource is called.
#[derive(Clone, Debug)]
pub struct Names {
    /// `""` for the core group.
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    /// The resource name in paths: `pods`.
    pub plural: &'static str,
    pub singular: String,
    pub short_names: Vec<&'static str>,
    pub categories: Vec<&'static str>,
}

/// A path below an object, beside the object itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subresource {
    Status,
    Scale,
    /// `pods/binding`, write-only: the scheduler's choice of a node.
    Binding,
    /// `pods/log`, read-only: answered by the pod's kubelet.
    Log,
}

/// A column of the resource's table.
pub struct Column {
    pub name: &'static str,
    /// OpenAPI type: `string`, `integer`, `date`.
    pub type_: &'static str,
    /// 0 is always shown, 1 with `-o wide`.
    pub priority: i32,
    pub(crate) cell: Box<dyn Fn(&Value, Timestamp) -> Value + Send + Sync>,
}

impl fmt::Debug for Column {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Column").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the server adds to an object that it can't know by itself, so that this crate stays pure.
#[derive(Clone, Debug)]
pub struct Context {
    pub now: Timestamp,
    /// For the object's UID, if it is created.
    pub uid: String,
    /// The namespace of the request's path; `None` for cluster-scoped resources.
    pub namespace: Option<String>,
    /// The name of the request's path; `None` for POST to a collection.
    pub name: Option<String>,
    /// Random suffix for `metadata.generateName`.
    pub suffix: String,
}

/// A kind as the server sees it.
#[derive(Debug)]
pub struct ResourceDef {
    pub names: Names,
    pub scope: Scope,
    pub subresources: Vec<Subresource>,
    pub columns: Vec<Column>,
    kind: Box<dyn ErasedKind>,
}
