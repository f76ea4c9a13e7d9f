//! What can be asked at a path, as both forms of the documents tell it.

use http::Method;
use registry::ResourceDef;
use serde_json::{Value, json};

use super::parameters::Parameter;

/// A schema by its name in the documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Schema {
    /// Of a kind of the catalogue, or of its list.
    Named(String),
    /// Of what kinds share.
    Status,
    DeleteOptions,
    Patch,
    Scale,
    Binding,
    Eviction,
    TokenRequest,
    /// Plain text.
    Text,
}

/// What a request brings.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) schema: Schema,
    pub(super) required: bool,
    pub(super) media_types: &'static [&'static str],
}

/// One method at one path.
#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) method: Method,
    /// Unique in a document.
    pub(super) id: String,
    /// What tools group it by.
    pub(super) tag: String,
    /// Kubernetes' word for the verb.
    pub(super) action: &'static str,
    pub(super) kind: Value,
    pub(super) query: Vec<&'static Parameter>,
    pub(super) body: Option<Body>,
    /// Code and word of each answer that is a success.
    pub(super) answers: &'static [(&'static str, &'static str)],
    pub(super) answer: Schema,
}

/// A kind as the documents name it.
pub(super) fn group_version_kind(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}

/// The name of the kind's schema, in the manner of Kubernetes' own: `io.k8s.api.core.v1.Pod`.
pub(super) fn schema_name(def: &ResourceDef) -> String {
    let names = &def.names;
    let group = match names.group.as_str() {
        "" => "io.k8s.api.core".to_owned(),
        group if group.ends_with(".k8s.io") || !group.contains('.') => {
            format!("io.k8s.api.{}", group.split('.').next().unwrap_or_default())
        }
        group => group.rsplit('.').collect::<Vec<_>>().join("."),
    };
    format!("{group}.{}.{}", names.version, names.kind)
}

/// The parameters in a path: what is in braces.
pub(super) fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
}
