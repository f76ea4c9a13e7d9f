//! The faults of a function.

use api_machinery::{EntryPoint, FieldErrors, FieldPath, entry_point::EntryPointError, names};
use api_types::{
    api::core::v1::Container,
    minik8s::{FunctionSource, FunctionSpec, Runtime, RuntimeImage},
};

use crate::{
    kinds::core::pod::{environment, requirements},
    rules,
};

const MAX_SOURCE: usize = 1024 * 1024;
const ZIP: &[u8] = b"PK";

pub(super) fn validate(spec: &FunctionSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let supported = Runtime::ALL.map(|runtime| runtime.name);
    rules::one_of(spec.runtime.as_ref(), &supported, &path.child("runtime"), errors);
    match Runtime::named(spec.runtime.as_deref()) {
        Some(Runtime { image: RuntimeImage::Built(_), .. }) => built(spec, path, errors),
        Some(runtime) => given(spec, &runtime, path, errors),
        None => {}
    }
    instance(spec, path, errors);
    scale(spec, path, errors);
}

fn built(spec: &FunctionSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if spec.image.is_some() {
        let why = "may only be set when `runtime` is container";
        errors.forbidden(&path.child("image"), why);
    }
    match &spec.source {
        None => errors.required(&path.child("source"), ""),
        Some(source) => validate_source(source, &path.child("source"), errors),
    }
    let files = spec.source.iter().flat_map(|source| source.files.keys());
    entry_point(spec, files.map(String::as_str).collect(), &path.child("entryPoint"), errors);
}

/// What is in an archive is seen when it is built.
fn entry_point(spec: &FunctionSpec, files: Vec<&str>, path: &FieldPath, errors: &mut FieldErrors) {
    let named = spec.entry_point.as_deref();
    let is_known = !files.is_empty();
    match EntryPoint::of(named, files) {
        Err(error @ EntryPointError::Unclear) if is_known => {
            errors.required(path, &error.to_string());
        }
        Err(error @ EntryPointError::NoModule(_)) if is_known => {
            errors.invalid(path, rules::text(spec.entry_point.as_ref()), &error.to_string());
        }
        Err(error @ EntryPointError::Form) => {
            errors.invalid(path, rules::text(spec.entry_point.as_ref()), &error.to_string());
        }
        _ => {}
    }
}

fn given(spec: &FunctionSpec, runtime: &Runtime, path: &FieldPath, errors: &mut FieldErrors) {
    let why = format!("may not be set when `runtime` is {}", runtime.name);
    for (field, is_set) in
        [("source", spec.source.is_some()), ("entryPoint", spec.entry_point.is_some())]
    {
        if is_set {
            errors.forbidden(&path.child(field), &why);
        }
    }
    let (image, path) = (rules::text(spec.image.as_ref()), path.child("image"));
    rules::required(image, &path, errors);
    if image.trim() != image {
        errors.invalid(&path, image, "must not have leading or trailing whitespace");
    }
}

fn validate_source(source: &FunctionSource, path: &FieldPath, errors: &mut FieldErrors) {
    let archive = source.archive.as_ref().map(|archive| archive.0.as_slice());
    match (source.files.is_empty(), archive) {
        (true, None) => errors.required(path, "must specify one of: `files` or `archive`"),
        (false, Some(_)) => {
            errors.forbidden(path, "may not have more than one field specified at a time");
        }
        (true, Some(archive)) if !archive.starts_with(ZIP) => {
            errors.invalid(&path.child("archive"), "", "must be a zip archive");
        }
        _ => {}
    }
    for name in source.files.keys() {
        if let Some(fault) = file_name(name) {
            errors.invalid(&path.child("files").key(name), name, fault);
        }
    }
    let files = source.files.iter().map(|(name, text)| name.len() + text.len()).sum::<usize>();
    if files + archive.map_or(0, <[u8]>::len) > MAX_SOURCE {
        errors.too_long(path, MAX_SOURCE);
    }
}

fn file_name(name: &str) -> Option<&'static str> {
    if name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Some("must be a relative path without empty parts, `.` and `..`");
    }
    name.contains(char::is_control).then_some("must not contain control characters")
}

fn instance(spec: &FunctionSpec, path: &FieldPath, errors: &mut FieldErrors) {
    environment::validate(&as_container(spec), path, errors);
    if let Some(resources) = &spec.resources {
        requirements::validate(resources, &path.child("resources"), errors);
    }
    for (i, secret) in spec.image_pull_secrets.iter().enumerate() {
        let path = path.child("imagePullSecrets").index(i).child("name");
        rules::named(&secret.name, names::dns1123_subdomain, &path, errors);
    }
}

/// As far as the fields have a container's names.
fn as_container(spec: &FunctionSpec) -> Container {
    Container {
        image: spec.image.clone(),
        env: Some(spec.env.clone()),
        env_from: Some(spec.env_from.clone()),
        ..Container::default()
    }
}

fn scale(spec: &FunctionSpec, path: &FieldPath, errors: &mut FieldErrors) {
    for (value, field) in [
        (spec.max_scale, "maxScale"),
        (spec.target_concurrency, "targetConcurrency"),
        (spec.target_requests_per_second, "targetRequestsPerSecond"),
        (spec.timeout_seconds, "timeoutSeconds"),
    ] {
        rules::positive(value, &path.child(field), errors);
    }
    for (value, field) in [
        (spec.min_scale, "minScale"),
        (spec.container_concurrency, "containerConcurrency"),
        (spec.idle_seconds, "idleSeconds"),
        (spec.scale_down_delay_seconds, "scaleDownDelaySeconds"),
        (spec.history_limit, "historyLimit"),
    ] {
        rules::not_negative(value, &path.child(field), errors);
    }
    rules::positive(spec.rollback_to, &path.child("rollbackTo"), errors);
    if let (Some(min), Some(max)) = (spec.min_scale, spec.max_scale)
        && min > max
    {
        errors.invalid(&path.child("maxScale"), max, "must be greater than or equal to `minScale`");
    }
}
