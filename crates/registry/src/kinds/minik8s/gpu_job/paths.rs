//! Paths: those in a job's own directory on the cluster never lead out of it.

use api_machinery::{FieldErrors, FieldPath};

pub(super) const NO_CONTROL: &str = "must not contain control characters";
const RELATIVE: &str = "must be a relative path";
const ABSOLUTE: &str = "must be an absolute path";
const NOT_UPWARD: &str = "must not contain '..'";

/// A path, or a pattern of paths, in the job's directory. It may become a part of a line of the batch script.
pub(super) fn relative(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required(path, "");
    } else if value.starts_with('/') {
        errors.invalid(path, value, RELATIVE);
    }
    inward(value, path, errors);
}

/// A file in the job's directory.
pub(super) fn file(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.ends_with('/') || matches!(value.rsplit('/').next(), Some(".")) {
        errors.invalid(path, value, "must be the path of a file");
    }
    relative(value, path, errors);
}

/// A directory of a machine.
pub(super) fn absolute(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required(path, "");
    } else if !value.starts_with('/') {
        errors.invalid(path, value, ABSOLUTE);
    }
    inward(value, path, errors);
}

fn inward(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.split('/').any(|part| part == "..") {
        errors.invalid(path, value, NOT_UPWARD);
    }
    if value.contains(char::is_control) {
        errors.invalid(path, value, NO_CONTROL);
    }
}
