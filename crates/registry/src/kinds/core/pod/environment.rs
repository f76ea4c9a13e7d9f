//! The faults of a container's environment (Kubernetes: `ValidateEnv`, `ValidateEnvFrom`, `validateFileKeyRefVolumes`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{
    Container, EnvFromSource, EnvVar, EnvVarSource, FileKeySelector, PodSpec,
};

use super::{containers::Containers, field_ref, volume::files};
use crate::rules::{self, text};

const ONE_SOURCE: &str = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`";
const NOT_TWO: &str = "may not have more than one field specified at a time";

/// All faults of the variables.
pub(crate) fn validate(container: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, variable) in container.env.iter().flatten().enumerate() {
        let path = path.child("env").index(i);
        rules::named(&variable.name, names::env_var_name, &path.child("name"), errors);
        value(variable, &path.child("valueFrom"), errors);
    }
    let path = path.child("envFrom");
    for (i, source) in container.env_from.iter().flatten().enumerate() {
        all_of(source, &path, &path.index(i), errors);
    }
}

fn value(variable: &EnvVar, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(source) = &variable.value_from else { return };
    let given = sources(source, path, errors);
    if given == 0 {
        errors.invalid(path, "", ONE_SOURCE);
    } else if !text(variable.value.as_ref()).is_empty() {
        errors.invalid(path, "", "may not be specified when `value` is not empty");
    } else if given > 1 {
        errors.invalid(path, "", NOT_TWO);
    }
}

/// The faults of where the value is from; gives of how many places.
fn sources(source: &EnvVarSource, path: &FieldPath, errors: &mut FieldErrors) -> usize {
    let config_map = source.config_map_key_ref.as_ref();
    let secret = source.secret_key_ref.as_ref();
    if let Some(field) = &source.field_ref {
        field_ref::of_variable(field, &path.child("fieldRef"), errors);
    }
    if let Some(amount) = &source.resource_field_ref {
        field_ref::of_resources(amount, &path.child("resourceFieldRef"), errors);
    }
    let keys = [
        config_map.map(|it| ("configMapKeyRef", &it.name, &it.key)),
        secret.map(|it| ("secretKeyRef", &it.name, &it.key)),
    ];
    for (field, name, key) in keys.iter().flatten() {
        let path = path.child(field);
        rules::follows(name, names::dns1123_subdomain, &path.child("name"), errors);
        rules::named(key, names::config_map_key, &path.child("key"), errors);
    }
    if let Some(file) = &source.file_key_ref {
        file_key(file, &path.child("fileKeyRef"), errors);
    }
    let others = [
        source.field_ref.is_some(),
        source.resource_field_ref.is_some(),
        source.file_key_ref.is_some(),
    ];
    keys.iter().flatten().count() + others.iter().filter(|is_given| **is_given).count()
}

fn file_key(file: &FileKeySelector, path: &FieldPath, errors: &mut FieldErrors) {
    rules::named(&file.key, names::env_var_name, &path.child("key"), errors);
    rules::named(&file.volume_name, names::dns1123_label, &path.child("volumeName"), errors);
    rules::required(&file.path, &path.child("path"), errors);
    files::without_backsteps(&file.path, &path.child("path"), errors);
}

/// How many sources there are is told at the path of their list.
fn all_of(source: &EnvFromSource, list: &FieldPath, path: &FieldPath, errors: &mut FieldErrors) {
    let prefix = source.prefix.as_ref();
    rules::maybe_follows(prefix, names::env_var_name, &path.child("prefix"), errors);
    let sources = [
        source.config_map_ref.as_ref().map(|it| ("configMapRef", &it.name)),
        source.secret_ref.as_ref().map(|it| ("secretRef", &it.name)),
    ];
    for (field, name) in sources.iter().flatten() {
        let path = path.child(field).child("name");
        rules::named(name, names::dns1123_subdomain, &path, errors);
    }
    match sources.iter().flatten().count() {
        0 => errors.invalid(list, "", "must specify one of: `configMapRef` or `secretRef`"),
        1 => {}
        _ => errors.invalid(list, "", NOT_TWO),
    }
}

/// Variables are read of files of an empty directory alone.
pub(super) fn of_files(spec: &PodSpec, containers: &Containers<'_>, errors: &mut FieldErrors) {
    for (path, container) in containers {
        for (i, variable) in container.env.iter().flatten().enumerate() {
            let source = variable.value_from.as_ref();
            let Some(file) = source.and_then(|source| source.file_key_ref.as_ref()) else {
                continue;
            };
            let path = path.child("env").index(i).child("valueFrom.fileKeyRef.volumeName");
            let mut volumes = spec.volumes.iter().flatten().rev();
            match volumes.find(|volume| volume.name == file.volume_name) {
                None => errors.not_found(&path, &file.volume_name),
                Some(volume) if volume.empty_dir.is_none() => {
                    let why = "referenced volume must be of type emptyDir";
                    errors.invalid(&path, &file.volume_name, why);
                }
                Some(_) => {}
            }
        }
    }
}
