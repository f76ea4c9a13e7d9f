//! Whether a value that a schema has is one that it takes.

use api_machinery::{FieldErrors, FieldPath};
use serde_json::Value;

use super::{structural_schema, validation::Validation};

/// How many values all schemas together may have that are made validators of, one for each default: schemas within
/// schemas could have many.
const MOST_VALUES: usize = 200_000;

/// Checks values, as long as that takes not too much.
#[derive(Debug, Default)]
pub(crate) struct ValueFaults {
    looked_at: usize,
}

impl ValueFaults {
    /// Adds the faults of a value at a path.
    pub(crate) fn check(
        &mut self,
        schema: &Value,
        value: &Value,
        path: &FieldPath,
        errors: &mut FieldErrors,
    ) {
        self.looked_at += size(schema);
        if self.looked_at > MOST_VALUES {
            return errors.forbidden(path, "there are too many defaults within others");
        }
        let mut unknown = Vec::new();
        structural_schema::prune_any(schema, &mut value.clone(), &mut unknown);
        if !unknown.is_empty() {
            return errors.invalid(path, format_args!("{value}"), "must not have unknown fields");
        }
        let mut faults = FieldErrors::default();
        match Validation::by(schema) {
            Ok(validation) => validation.check(value, None, &mut faults),
            Err(error) => faults.invalid(&FieldPath::default(), "", &error),
        }
        errors.extend_below(path, faults);
    }
}

fn size(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(fields) => fields.values().map(size).sum::<usize>(),
        _ => 0,
    }
}
