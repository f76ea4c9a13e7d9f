//! The faults of files in volumes: their paths, permissions and what they are made of.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{DownwardAPIVolumeFile, KeyToPath};

use crate::{kinds::core::pod::field_ref, rules};

const NO_BACKSTEPS: &str = "must not contain '..'";

/// A path that stays below where it begins (Kubernetes: `validateLocalDescendingPath`).
pub(crate) fn descending(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    }
    without_backsteps(value, path, errors);
}

pub(crate) fn without_backsteps(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if has_backsteps(value) {
        errors.invalid(path, value, NO_BACKSTEPS);
    }
}

pub(crate) fn has_backsteps(value: &str) -> bool {
    value.split('/').any(|part| part == "..")
}

/// The path of a file that has none of the names that kubelets need (Kubernetes: `ValidateLocalNonReservedPath`).
pub(super) fn unreserved(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    descending(value, path, errors);
    if value.starts_with("..") && !value.starts_with("../") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

/// The same of one that must be there.
pub(super) fn required(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    rules::required(value, path, errors);
    unreserved(value, path, errors);
}

/// The permissions of a file.
pub(super) fn mode(mode: Option<i32>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

pub(super) fn of_keys(items: Option<&[KeyToPath]>, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        let path = path.index(i);
        rules::required(&item.key, &path.child("key"), errors);
        required(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}

/// Kubernetes tells of all files at the path of their list.
pub(super) fn of_fields(
    items: Option<&[DownwardAPIVolumeFile]>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for item in items.unwrap_or_default() {
        required(&item.path, &path.child("path"), errors);
        match (&item.field_ref, &item.resource_field_ref) {
            (Some(field), other) => {
                field_ref::of_file(field, &path.child("fieldRef"), errors);
                if other.is_some() {
                    let why = "fieldRef and resourceFieldRef can not be specified simultaneously";
                    errors.invalid(path, "resource", why);
                }
            }
            (None, Some(amount)) => {
                let path = path.child("resourceFieldRef");
                if rules::text(amount.container_name.as_ref()).is_empty() {
                    errors.required(&path.child("containerName"), "");
                    field_ref::divisor(amount, &path, errors);
                } else {
                    field_ref::of_resources(amount, &path, errors);
                }
            }
            (None, None) => {
                errors.required(path, "one of fieldRef and resourceFieldRef is required");
            }
        }
        mode(item.mode, &path.child("mode"), errors);
    }
}

/// Files of several sources in one volume, of which no two are at the same path.
#[derive(Default)]
pub(super) struct Paths<'a>(BTreeSet<&'a str>);

impl<'a> Paths<'a> {
    /// Adds those that have a path; `shown` is what one that is taken already is told of.
    pub(super) fn add(
        &mut self,
        file: &'a str,
        shown: &str,
        path: &FieldPath,
        errors: &mut FieldErrors,
    ) {
        if !file.is_empty() && !self.0.insert(file) {
            errors.invalid(path, shown, "conflicting duplicate paths");
        }
    }
}
