//! Objects that this server writes: encoded once, for the store, for the answer and for the cache.

use std::sync::Arc;

use api_machinery::ApiError;
use bytes::Bytes;
use registry::{AnyObject, ResourceDef, metadata_of, without_managed_fields};
use store::Revision;

use super::texts::Texts;

/// An object as this server has encoded it for the store, and what its cached encoding needs beside: nobody has to
/// decode it again to know.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(super) def: Arc<ResourceDef>,
    /// Without its version, which the store itself counts.
    pub(crate) json: Bytes,
    pub(super) texts: Texts,
}

impl Written {
    /// An object in the version that is stored. It has no `resourceVersion`.
    pub(crate) fn new(def: &Arc<ResourceDef>, object: &AnyObject) -> Result<Self, ApiError> {
        Ok(Self::encoded(def, object, object.to_json()?.into()))
    }

    /// The same of what is stored, if it is as this server writes it: then it need not be encoded again.
    pub(super) fn stored(def: &Arc<ResourceDef>, json: &Bytes) -> Option<Self> {
        let text = std::str::from_utf8(json).ok()?;
        let (version, kind) = (def.api_version(), &def.names.kind);
        let start = format!(r#"{{"apiVersion":"{version}","kind":"{kind}","metadata":{{"#);
        let is_versioned = text.contains(r#""resourceVersion""#);
        if !text.starts_with(&start) || is_versioned || text.contains('\n') {
            return None;
        }
        let object = match without_managed_fields(json) {
            Some((bare, _)) => def.stored_json(std::str::from_utf8(&bare).ok()?)?,
            None => def.stored_json(text)?,
        };
        Some(Self::encoded(def, &object, json.clone()))
    }

    fn encoded(def: &Arc<ResourceDef>, object: &AnyObject, json: Bytes) -> Self {
        let labels = object.metadata().labels.iter().flatten();
        let labels = labels.map(|(name, value)| (name.as_str(), value.as_str()));
        let texts = Texts::new(labels, &def.field_values(object));
        Self { def: def.clone(), json, texts }
    }
}

/// An object that was encoded by its type, with its version as the first of its metadata, and between what else there is.
pub(crate) fn with_version(start: &[u8], json: &[u8], revision: Revision, end: &[u8]) -> Vec<u8> {
    let (head, rest) = json.split_at(metadata_of(json).unwrap_or(json.len()));
    let version = match rest.first() {
        None => String::new(),
        Some(b'}') => format!(r#""resourceVersion":"{revision}""#),
        Some(_) => format!(r#""resourceVersion":"{revision}","#),
    };
    [start, head, version.as_bytes(), rest, end].concat()
}

/// The JSON of an object that isn't stored like this.
pub(crate) fn versioned(object: &AnyObject, revision: Option<Revision>) -> Result<Bytes, ApiError> {
    let json = object.to_json()?;
    let versioned = revision.map(|revision| with_version(b"", &json, revision, b""));
    Ok(versioned.unwrap_or(json).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_becomes_part_of_the_metadata() {
        let check = |json: &str, expected: &str| {
            let versioned = with_version(b"<", json.as_bytes(), Revision(7), b">");
            assert_eq!(String::from_utf8(versioned).unwrap(), expected);
        };
        check(
            r#"{"kind":"A","metadata":{"name":"a"},"data":{"metadata":{}}}"#,
            r#"<{"kind":"A","metadata":{"resourceVersion":"7","name":"a"},"data":{"metadata":{}}}>"#,
        );
        check(r#"{"metadata":{}}"#, r#"<{"metadata":{"resourceVersion":"7"}}>"#);
        check(
            r#"{"data":{"metadata":{"name":"b"}},"kind":"{","metadata":{"name":"a"}}"#,
            r#"<{"data":{"metadata":{"name":"b"}},"kind":"{","metadata":{"resourceVersion":"7","name":"a"}}>"#,
        );
    }
}
