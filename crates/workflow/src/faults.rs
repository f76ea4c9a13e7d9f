//! What is wrong with a document, or hardly meant so.

use std::fmt;

use api_machinery::{FieldErrors, FieldPath};
use serde_json::Value;

/// What was found on the way through a document.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) errors: FieldErrors,
    pub(crate) warnings: Vec<String>,
}

impl Faults {
    /// A value that is wrong, shown as JSON.
    pub(crate) fn invalid(&mut self, path: &FieldPath, value: &Value, why: &str) {
        self.errors.invalid(path, Json(value), why);
    }

    pub(crate) fn warn(&mut self, path: &FieldPath, what: impl fmt::Display) {
        self.warnings.push(format!("{path}: {what}"));
    }
}

struct Json<'a>(&'a Value);

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}
