//! The faults of a pod's volumes.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{HostPathVolumeSource, KeyToPath, Volume};
use serde_json::Value;

use crate::rules::{self, text};

/// The names of the sources that a volume has: one, if all is well.
pub(super) fn sources(volume: &Volume) -> Vec<String> {
    match serde_json::to_value(volume) {
        Ok(Value::Object(fields)) => {
            fields.into_iter().map(|(k, _)| k).filter(|k| k != "name").collect()
        }
        _ => Vec::new(),
    }
}

/// The faults of all volumes; gives their names.
pub(super) fn validate(
    volumes: &[Volume],
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        rules::named(&volume.name, names::dns1123_label, &path.child("name"), errors);
        if !volume.name.is_empty() {
            rules::unique(&mut seen, &volume.name, &path.child("name"), errors);
        }
        source(volume, &path, errors);
    }
    seen
}

fn source(volume: &Volume, path: &FieldPath, errors: &mut FieldErrors) {
    let sources = sources(volume);
    if sources.is_empty() {
        errors.required(path, "must specify a volume type");
    }
    for other in sources.iter().skip(1) {
        errors.forbidden(&path.child(other), "may not specify more than 1 volume type");
    }
    if let Some(source) = &volume.host_path {
        host_path(source, &path.child("hostPath"), errors);
    }
    if let Some(source) = &volume.config_map {
        let path = path.child("configMap");
        rules::named(&source.name, names::dns1123_subdomain, &path.child("name"), errors);
        items(source.items.as_deref(), &path.child("items"), errors);
    }
    if let Some(source) = &volume.secret {
        let path = path.child("secret");
        let name = text(source.secret_name.as_ref());
        rules::named(name, names::dns1123_subdomain, &path.child("secretName"), errors);
        items(source.items.as_deref(), &path.child("items"), errors);
    }
}

fn host_path(source: &HostPathVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    const TYPES: [&str; 7] = [
        "BlockDevice",
        "CharDevice",
        "Directory",
        "DirectoryOrCreate",
        "File",
        "FileOrCreate",
        "Socket",
    ];
    if source.path.is_empty() {
        errors.required(&path.child("path"), "");
    } else if source.path.split('/').any(|part| part == "..") {
        errors.invalid(&path.child("path"), &source.path, "must not contain '..'");
    }
    rules::one_of(source.type_.as_ref(), &TYPES, &path.child("type"), errors);
}

fn items(items: Option<&[KeyToPath]>, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, item) in items.unwrap_or_default().iter().enumerate() {
        let path = path.index(i);
        rules::named(&item.key, |_| Vec::new(), &path.child("key"), errors);
        if item.path.is_empty() {
            errors.required(&path.child("path"), "");
        } else if item.path.starts_with('/') {
            errors.invalid(&path.child("path"), &item.path, "must be a relative path");
        } else if item.path.split('/').any(|part| part == "..") {
            errors.invalid(&path.child("path"), &item.path, "must not contain '..'");
        }
    }
}
