//! The stages of a write, by a schema.

use std::fmt;

use api_machinery::{FieldErrors, FieldPath, names, strict};
use api_types::jiff::Timestamp;
use serde_json::Value;

use super::{
    columns::Cell,
    extensions, finalizers,
    object::Unstructured,
    rules::Rules,
    structural_schema::{self, LARGEST},
    validation::Validation,
};
use crate::{
    any_object::AnyObject,
    context::Context,
    description::Scope,
    erased::{Decoded, ErasedKind, Fault, Part, schema_of},
    metadata,
    strategy::Exists,
};

/// Faults for which rules can't be looked at.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];
const NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";

/// A kind without a type.
pub(super) struct CustomKind {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) schema: Value,
    pub(super) validation: Validation,
    pub(super) rules: Option<Rules>,
    pub(super) cells: Vec<Cell>,
    pub(super) has_status: bool,
    /// The fields that can be selected by: their names, and the way to them.
    pub(super) selectable_fields: Vec<(String, Vec<String>)>,
}

impl CustomKind {
    fn object(&self, mut object: Unstructured) -> AnyObject {
        object.api_version.clone_from(&self.api_version);
        object.kind.clone_from(&self.kind);
        AnyObject::erased(object)
    }

    /// Takes back what this part of `new` may not change: an update of the status changes nothing else.
    fn confine(&self, part: Part, new: &mut Unstructured, old: &Unstructured) {
        if part == Part::Main {
            if self.has_status {
                new.copy_status(old);
            }
            return;
        }
        let given = std::mem::replace(new, old.clone());
        if part == Part::Status {
            new.copy_status(&given);
        }
    }

    /// The fields that can be selected by, as texts; empty ones where they are not there.
    fn selected<'a>(&self, of: impl Fn(&str) -> Option<&'a Value>) -> Vec<String> {
        let follow = |(_, path): &(String, Vec<String>)| {
            let (first, rest) = path.split_first()?;
            let value = rest.iter().try_fold(of(first)?, |value, name| value.get(name))?;
            match value {
                Value::String(text) => Some(text.clone()),
                Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
                _ => None,
            }
        };
        self.selectable_fields.iter().map(|field| follow(field).unwrap_or_default()).collect()
    }

    /// They are about objects that are as their schema says.
    fn check_rules(&self, object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
        let Some(rules) = &self.rules else { return };
        if errors.iter().any(|error| BLOCKING.contains(&error.reason)) {
            return errors.invalid(&FieldPath::new("<nil>"), "null", NOT_CHECKED);
        }
        rules.check(object, old, errors);
    }

    /// Of an update what is not as in `old`: the schema may have become stricter since.
    fn validate(
        &self,
        object: &Unstructured,
        old: Option<&Unstructured>,
        mut errors: FieldErrors,
    ) -> Result<(), Fault> {
        let is_changed = old.is_none_or(|old| old.rest != object.rest);
        if is_changed && structural_schema::size_of(&object.rest) >= LARGEST {
            errors.too_long(&FieldPath::default(), LARGEST);
        } else if is_changed {
            let value = |object| {
                serde_json::to_value(object).map_err(|error| Fault::Decode(error.to_string()))
            };
            let (object, old) = (value(object)?, old.map(value).transpose()?);
            self.validation.check(&object, old.as_ref(), &mut errors);
            extensions::check(&self.schema, &object, old.as_ref(), &mut errors);
            self.check_rules(&object, old.as_ref(), &mut errors);
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(Fault::Invalid(object.metadata.name.clone().unwrap_or_default(), errors)),
        }
    }
}

impl fmt::Debug for CustomKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CustomKind").field(&self.kind).finish()
    }
}

impl ErasedKind for CustomKind {
    fn decode(&self, given: Value, _: Option<&Value>) -> Result<Decoded, Fault> {
        let decoded = strict::decode_strictly::<Unstructured>(&given);
        let (mut object, mut unknown) =
            decoded.map_err(|error| Fault::Decode(error.to_string()))?;
        structural_schema::prune(&self.schema, &mut object.rest, &mut unknown);
        Ok(Decoded { object: self.object(object), unknown })
    }

    fn stored(&self, object: &Value) -> Result<AnyObject, Fault> {
        let object = strict::decode(object).map_err(|error| Fault::Damaged(error.to_string()))?;
        Ok(self.object(object))
    }

    fn stored_json(&self, json: &str) -> Option<AnyObject> {
        let object: Unstructured = serde_json::from_str(json).ok()?;
        let mut completed = object.rest.clone();
        structural_schema::default(&self.schema, &mut completed);
        (completed == object.rest).then(|| self.object(object))
    }

    fn complete(&self, object: &mut Value) {
        if let Some(object) = object.as_object_mut() {
            structural_schema::default(&self.schema, object);
        }
    }

    fn adapt(&self, object: &mut Value) {
        structural_schema::adapt(&self.schema, object);
    }

    fn default(&self, object: &mut AnyObject) {
        structural_schema::default(&self.schema, &mut own_mut(object).rest);
    }

    fn before_create(
        &self,
        object: &mut AnyObject,
        scope: Scope,
        context: &Context,
    ) -> Result<(), Fault> {
        let object = own_mut(object);
        if self.has_status {
            object.copy_status(&Unstructured::default());
        }
        metadata::prepare_create(&mut object.metadata, scope, context);
        object.metadata.generation = Some(1);
        let mut errors = FieldErrors::default();
        metadata::validate(&object.metadata, scope, names::dns1123_subdomain, &mut errors);
        self.validate(object, None, errors)
    }

    fn before_update(&self, part: Part, new: &mut AnyObject, old: &AnyObject) -> Result<(), Fault> {
        let (new, old) = (own_mut(new), own(old));
        self.confine(part, new, old);
        metadata::prepare_update(&mut new.metadata, &old.metadata);
        let mut errors = FieldErrors::default();
        metadata::validate_update(&new.metadata, &old.metadata, &mut errors);
        self.validate(new, Some(old), errors)?;
        // The status is no part of it if it has its own subresource.
        if part == Part::Main && new.rest != old.rest {
            metadata::bump_generation(&mut new.metadata);
        }
        Ok(())
    }

    fn warnings(
        &self,
        part: Part,
        new: &AnyObject,
        old: Option<&AnyObject>,
        _: &Exists<'_>,
    ) -> Vec<String> {
        match part {
            Part::Main => finalizers::warnings(new.metadata(), old.map(AnyObject::metadata)),
            _ => Vec::new(),
        }
    }

    fn prepare_delete(&self, _: &mut AnyObject) {}

    fn grace_period(&self, _: &AnyObject, _: Option<i64>) -> i64 {
        0
    }

    fn is_held(&self, _: &AnyObject) -> bool {
        false
    }

    fn field_names(&self) -> Vec<String> {
        self.selectable_fields.iter().map(|(name, _)| name.clone()).collect()
    }

    fn field_values(&self, object: &AnyObject) -> Vec<String> {
        let rest = &own(object).rest;
        self.selected(|name| rest.get(name))
    }

    fn stored_field_values(&self, object: &Value) -> Vec<String> {
        self.selected(|name| object.get(name))
    }

    fn row(&self, object: &Value, now: Timestamp) -> Result<Vec<Value>, Fault> {
        Ok(self.cells.iter().map(|cell| cell.of(object, now)).collect())
    }

    /// With what every object has.
    fn schema(&self) -> Value {
        let (mut schema, mut common) = (self.schema.clone(), schema_of::<Unstructured>());
        schema["$defs"] = common["$defs"].take();
        for (name, field) in common["properties"].as_object_mut().into_iter().flatten() {
            schema["properties"][name] = field.take();
        }
        schema
    }

    fn knows_list_merges(&self) -> bool {
        false
    }
}

const OWN: &str = "a kind is asked about its own objects";

fn own(object: &AnyObject) -> &Unstructured {
    object.get().expect(OWN)
}

fn own_mut(object: &mut AnyObject) -> &mut Unstructured {
    object.get_mut().expect(OWN)
}
