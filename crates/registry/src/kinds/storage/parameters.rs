//! What drivers of storage are called, and what they are told.

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath, names};

use crate::rules;

const MOST: usize = 512;
const MOST_BYTES: usize = 256 * 1024;
pub(crate) const LONGEST_DRIVER: usize = 63;

/// The name of who makes volumes: a qualified one, however it is written.
pub(super) fn provisioner(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    rules::follows(&name.to_lowercase(), names::qualified_name, path, errors);
}

/// The name of a driver (Kubernetes: `ValidateCSIDriverName`).
pub(crate) fn driver(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name.is_empty() {
        errors.required(path, "");
        return;
    }
    if name.len() > LONGEST_DRIVER {
        errors.too_long(path, LONGEST_DRIVER);
    }
    for fault in names::dns1123_subdomain(&name.to_lowercase()) {
        errors.invalid(path, name, &fault);
    }
}

/// What a driver is told.
pub(super) fn validate(
    parameters: Option<&BTreeMap<String, String>>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(parameters) = parameters else { return };
    if parameters.len() > MOST {
        errors.too_long(path, MOST);
        return;
    }
    if parameters.contains_key("") {
        errors.invalid(path, "", "field can not be empty.");
    }
    let size: usize = parameters.iter().map(|(name, value)| name.len() + value.len()).sum();
    if size > MOST_BYTES {
        errors.too_long(path, MOST_BYTES);
    }
}
