//! Objects as a reader wants to see them: in a version of their kind.

use std::sync::Arc;

use api_machinery::ApiError;
use bytes::Bytes;
use registry::ResourceDef;
use serde_json::Value;
use store::Revision;

use super::Converter;
use crate::{
    catalogue::Catalogue,
    encoded::{self, Encoded},
    query::Selection,
};

/// So many objects are sent to be converted at once, unless they are as large as that.
const TOGETHER: usize = 500;
const TOGETHER_BYTES: usize = 4 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) catalogue: Arc<Catalogue>,
    pub(crate) def: Arc<ResourceDef>,
    converter: Arc<Converter>,
}

impl View {
    pub(crate) fn new(
        catalogue: Arc<Catalogue>,
        def: Arc<ResourceDef>,
        converter: Arc<Converter>,
    ) -> Self {
        Self { catalogue, def, converter }
    }

    /// Whether the object is in that version as it is.
    pub(crate) fn is_of(&self, object: &Encoded) -> bool {
        object.is_of(&self.def)
    }

    /// Has objects converted that take another server, several at once: after that they are looked at without waiting.
    pub(crate) async fn prepare<'a>(
        &self,
        objects: impl IntoIterator<Item = &'a Encoded>,
    ) -> Result<(), ApiError> {
        if self.def.webhook.is_none() {
            return Ok(());
        }
        let is_missing = |it: &&Encoded| !self.is_of(it) && it.converted_to(&self.def).is_none();
        let missing: Vec<&Encoded> = objects.into_iter().filter(is_missing).collect();
        let mut rest = missing.as_slice();
        while !rest.is_empty() {
            let (together, others) = rest.split_at(together(rest));
            let given = together.iter().map(|object| object.value()).collect();
            let converted = self.converter.all_converted(&self.catalogue, given, &self.def).await?;
            for (object, converted) in together.iter().zip(converted) {
                object.remember(&self.def, converted.to_string().into());
            }
            rest = others;
        }
        Ok(())
    }

    /// The object's JSON.
    pub(crate) fn json(&self, object: &Encoded) -> Result<Bytes, ApiError> {
        if self.is_of(object) {
            return Ok(object.json());
        }
        match object.converted_to(&self.def) {
            Some(json) => Ok(json),
            None => Ok(self.value(object)?.to_string().into()),
        }
    }

    /// The object as a value.
    pub(crate) fn value(&self, object: &Encoded) -> Result<Value, ApiError> {
        match object.converted_to(&self.def) {
            Some(json) => encoded::value(&json),
            None => self.catalogue.converted(object.value(), &self.def),
        }
    }

    /// The object as it was when it went.
    pub(crate) fn gone(&self, object: &Encoded, gone: Revision) -> Result<Value, ApiError> {
        let mut value = self.value(object)?;
        encoded::set_version(&mut value, gone);
        Ok(value)
    }

    /// Whether selectors select the object.
    pub(crate) fn selects(
        &self,
        selection: &Selection,
        object: &Encoded,
    ) -> Result<bool, ApiError> {
        if selection.is_everything() {
            return Ok(true);
        }
        // Webhooks may change labels.
        let has_labels = self.is_of(object) || self.def.webhook.is_none();
        if has_labels && !selection.labels.selects(|name| object.label(name)) {
            return Ok(false);
        }
        if has_labels && (selection.fields.is_everything() || self.is_of(object)) {
            return Ok(selection.fields.matches(|name| object.field(name)));
        }
        let value = self.value(object)?;
        let label = |name: &str| value["metadata"]["labels"][name].as_str();
        if !has_labels && !selection.labels.selects(label) {
            return Ok(false);
        }
        let (names, values) = (&self.def.fields, self.def.stored_field_values(&value));
        let field =
            |name: &str| names.iter().position(|field| field == name).map(|at| &*values[at]);
        Ok(selection.fields.matches(field))
    }
}

/// How many of these are sent at once.
fn together(objects: &[&Encoded]) -> usize {
    let mut bytes = 0;
    let fits = |object: &&&Encoded| {
        bytes += object.json().len();
        bytes <= TOGETHER_BYTES
    };
    objects.iter().take(TOGETHER).take_while(fits).count().max(1)
}
