//! The faults of a pod's volumes.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{
    HostPathVolumeSource, KeyToPath, ProjectedVolumeSource, Volume, VolumeProjection,
};
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
        mode(source.default_mode, &path.child("defaultMode"), errors);
        items(source.items.as_deref(), &path.child("items"), errors);
    }
    if let Some(source) = &volume.secret {
        let path = path.child("secret");
        let name = text(source.secret_name.as_ref());
        rules::named(name, names::dns1123_subdomain, &path.child("secretName"), errors);
        mode(source.default_mode, &path.child("defaultMode"), errors);
        items(source.items.as_deref(), &path.child("items"), errors);
    }
    if let Some(source) = &volume.projected {
        projections(source, &path.child("projected"), errors);
    }
}

/// Kubernetes: `validateProjectionSources`.
fn projections(source: &ProjectedVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
    let mut paths = BTreeSet::new();
    mode(source.default_mode, &path.child("defaultMode"), errors);
    for (i, projection) in source.sources.iter().flatten().enumerate() {
        let path = path.child("sources").index(i);
        let kinds = kinds(projection);
        if kinds.is_empty() {
            errors.required(&path, "must specify at least one projection source");
        }
        for kind in kinds.iter().skip(1) {
            errors
                .forbidden(&path.child(kind), "may not specify more than 1 volume type per source");
        }
        let name = self::projection(projection, &path, errors);
        for file in files(projection).filter(|file| !file.is_empty()) {
            if !paths.insert(file.to_owned()) {
                errors.invalid(&path, name, "conflicting duplicate paths");
            }
        }
    }
}

/// The faults of one; gives the name of what it shows.
fn projection<'a>(
    projection: &'a VolumeProjection,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> &'a str {
    if let Some(source) = &projection.config_map {
        let path = path.child("configMap");
        rules::named(&source.name, |_| Vec::new(), &path.child("name"), errors);
        items(source.items.as_deref(), &path.child("items"), errors);
        return &source.name;
    }
    if let Some(source) = &projection.secret {
        let path = path.child("secret");
        rules::named(&source.name, |_| Vec::new(), &path.child("name"), errors);
        items(source.items.as_deref(), &path.child("items"), errors);
        return &source.name;
    }
    if let Some(source) = &projection.service_account_token {
        let path = path.child("serviceAccountToken");
        lifetime(source.expiration_seconds, &path.child("expirationSeconds"), errors);
        file(&source.path, &path.child("path"), errors);
        return &source.path;
    }
    let fields = projection.downward_api.iter().filter_map(|it| it.items.as_ref()).flatten();
    for (i, item) in fields.enumerate() {
        let path = path.child("downwardAPI").child("items").index(i);
        file(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
    ""
}

fn kinds(projection: &VolumeProjection) -> Vec<String> {
    match serde_json::to_value(projection) {
        Ok(Value::Object(fields)) => fields.into_iter().map(|(kind, _)| kind).collect(),
        _ => Vec::new(),
    }
}

/// The paths that it has files at, as far as it says.
fn files(projection: &VolumeProjection) -> impl Iterator<Item = &str> {
    let VolumeProjection { config_map, secret, downward_api, service_account_token, .. } =
        projection;
    let keys = config_map.iter().flat_map(|it| &it.items);
    let keys = keys.chain(secret.iter().flat_map(|it| &it.items)).flatten();
    let fields = downward_api.iter().flat_map(|it| &it.items).flatten();
    let token = service_account_token.iter().map(|it| it.path.as_str());
    keys.map(|key| key.path.as_str()).chain(fields.map(|it| it.path.as_str())).chain(token)
}

/// Of a token.
fn lifetime(seconds: Option<i64>, path: &FieldPath, errors: &mut FieldErrors) {
    const SHORTEST: i64 = 600;
    const LONGEST: i64 = 1 << 32;
    let Some(seconds) = seconds else { return };
    if seconds < SHORTEST {
        errors.invalid(path, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > LONGEST {
        errors.invalid(path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
}

/// The path of a file in a volume (Kubernetes: `ValidateLocalNonReservedPath`).
fn file(value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if value.is_empty() {
        errors.required(path, "");
    } else if value.starts_with('/') {
        errors.invalid(path, value, "must be a relative path");
    } else if value.split('/').any(|part| part == "..") {
        errors.invalid(path, value, "must not contain '..'");
    } else if value.starts_with("..") {
        errors.invalid(path, value, "must not start with '..'");
    }
}

/// The permissions of a file.
fn mode(mode: Option<i32>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(mode) = mode.filter(|mode| !(0..=0o777).contains(mode)) {
        errors.invalid(path, mode, "must be a number between 0 and 0777 (octal), both inclusive");
    }
}

/// The faults of a path of the node.
pub(crate) fn host_path(source: &HostPathVolumeSource, path: &FieldPath, errors: &mut FieldErrors) {
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
        file(&item.path, &path.child("path"), errors);
        mode(item.mode, &path.child("mode"), errors);
    }
}
