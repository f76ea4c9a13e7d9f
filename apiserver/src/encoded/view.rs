//! Objects as a reader wants to see them: in a version of their kind.

use std::sync::Arc;

use api_machinery::ApiError;
use bytes::Bytes;
use registry::ResourceDef;
use serde_json::Value;

use super::Encoded;
use crate::{catalogue::Catalogue, query::Selection};

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) def: Arc<ResourceDef>,
}

impl View {
    /// Whether the object is in that version as it is.
    pub(crate) fn is_of(&self, object: &Encoded) -> bool {
        object.def.as_ref().is_some_and(|def| Arc::ptr_eq(def, &self.def))
    }

    /// The object's JSON.
    pub(crate) fn json(&self, object: &Encoded) -> Result<Bytes, ApiError> {
        if self.is_of(object) {
            return Ok(object.json());
        }
        Ok(self.converted(object.value())?.to_string().into())
    }

    /// An object that is in any version.
    pub(crate) fn converted(&self, object: Value) -> Result<Value, ApiError> {
        self.catalogue.converted(object, &self.def)
    }

    /// Whether selectors select the object.
    pub(crate) fn selects(
        &self,
        selection: &Selection,
        object: &Encoded,
    ) -> Result<bool, ApiError> {
        if !selection.labels.selects(|name| object.label(name)) {
            return Ok(false);
        }
        if selection.fields.is_everything() || self.is_of(object) {
            return Ok(selection.fields.matches(|name| object.field(name)));
        }
        let (names, values) =
            (&self.def.fields, self.def.stored_field_values(&self.converted(object.value())?));
        let value =
            |name: &str| names.iter().position(|field| field == name).map(|at| &*values[at]);
        Ok(selection.fields.matches(value))
    }
}
