//! The metadata that is common to all kinds: what the server sets, what a client may not change, what must be valid.

use api_machinery::{ApiError, FieldErrors, FieldPath, names};
use api_types::meta::{ObjectMeta, Time};

use crate::{context::Context, description::Scope, strategy::NameRule};

/// Names made from `generateName` are cut so that the suffix fits (Kubernetes: `names.SimpleNameGenerator`).
const LONGEST_GENERATED_PREFIX: usize = 58;

/// Sets what the server sets at creation.
pub(crate) fn prepare_create(meta: &mut ObjectMeta, scope: Scope, context: &Context) {
    if meta.name.as_deref().unwrap_or_default().is_empty() {
        meta.name = meta
            .generate_name
            .as_deref()
            .filter(|p| !p.is_empty())
            .map(|p| generated(p, &context.suffix));
    }
    if scope == Scope::Cluster {
        meta.namespace = None;
    }
    meta.uid = Some(context.uid.clone());
    meta.creation_timestamp = Some(Time(context.now));
    meta.deletion_timestamp = None;
    meta.deletion_grace_period_seconds = None;
    meta.resource_version = None;
    meta.self_link = None;
    meta.generation = None;
    leave_out_empty(meta);
}

/// Keeps what a client can't change with an update.
pub(crate) fn prepare_update(new: &mut ObjectMeta, old: &ObjectMeta) {
    new.name.clone_from(&old.name);
    new.namespace.clone_from(&old.namespace);
    new.uid.clone_from(&old.uid);
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    new.deletion_timestamp.clone_from(&old.deletion_timestamp);
    new.deletion_grace_period_seconds = old.deletion_grace_period_seconds;
    new.generate_name.clone_from(&old.generate_name);
    new.generation = old.generation;
    new.resource_version = None;
    new.self_link = None;
    leave_out_empty(new);
}

/// Without finalizers there is no list of them, as whoever removes the last one leaves an empty one.
fn leave_out_empty(meta: &mut ObjectMeta) {
    meta.finalizers = meta.finalizers.take().filter(|finalizers| !finalizers.is_empty());
}

/// The faults of the metadata of a new object.
pub(crate) fn validate(meta: &ObjectMeta, scope: Scope, rule: NameRule, errors: &mut FieldErrors) {
    let path = metadata_path();
    match meta.name.as_deref() {
        None | Some("") => errors.required(&path.child("name"), "name or generateName is required"),
        Some(name) => {
            for fault in rule(name) {
                errors.invalid(&path.child("name"), name, &fault);
            }
        }
    }
    if scope == Scope::Namespaced {
        validate_namespace(meta.namespace.as_deref().unwrap_or_default(), errors);
    }
    validate_maps(meta, errors);
    validate_owners(meta, errors);
}

/// The faults of the metadata of a changed object.
pub(crate) fn validate_update(new: &ObjectMeta, old: &ObjectMeta, errors: &mut FieldErrors) {
    validate_maps(new, errors);
    validate_owners(new, errors);
    if old.deletion_timestamp.is_none() {
        return;
    }
    let known = old.finalizers.as_deref().unwrap_or_default();
    let added: Vec<_> = new.finalizers.iter().flatten().filter(|f| !known.contains(f)).collect();
    if !added.is_empty() {
        let why = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.iter().map(|f| format!("{f:?}")).collect::<Vec<_>>().join(", ")
        );
        errors.forbidden(&metadata_path().child("finalizers"), &why);
    }
}

/// Raises `generation`, of objects that have one.
pub(crate) fn bump_generation(meta: &mut ObjectMeta) {
    meta.generation = meta.generation.map(|generation| generation + 1);
}

/// Puts an object where the path of its request says; refuses one that says that it is elsewhere.
///
/// # Errors
/// 400.
pub fn place(
    meta: &mut ObjectMeta,
    namespace: Option<&str>,
    name: Option<&str>,
) -> Result<(), ApiError> {
    if !agree(&mut meta.namespace, namespace) {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    if !agree(&mut meta.name, name) {
        let (given, path) = (meta.name.as_deref().unwrap_or_default(), name.unwrap_or_default());
        return Err(ApiError::bad_request(format!(
            "the name of the object ({given}) does not match the name on the URL ({path})"
        )));
    }
    Ok(())
}

/// Fills the field in if it is empty; whether it then is what the path says.
fn agree(field: &mut Option<String>, path: Option<&str>) -> bool {
    let Some(path) = path else { return true };
    if field.as_deref().unwrap_or_default().is_empty() {
        *field = Some(path.to_owned());
    }
    field.as_deref() == Some(path)
}

fn metadata_path() -> FieldPath {
    FieldPath::new("metadata")
}

fn generated(prefix: &str, suffix: &str) -> String {
    let end = prefix.char_indices().map(|(i, _)| i).nth(LONGEST_GENERATED_PREFIX);
    format!("{}{suffix}", &prefix[..end.unwrap_or(prefix.len())])
}

fn validate_namespace(namespace: &str, errors: &mut FieldErrors) {
    let path = metadata_path().child("namespace");
    if namespace.is_empty() {
        errors.required(&path, "");
        return;
    }
    for fault in names::dns1123_label(namespace) {
        errors.invalid(&path, namespace, &fault);
    }
}

fn validate_maps(meta: &ObjectMeta, errors: &mut FieldErrors) {
    let path = metadata_path();
    if let Some(labels) = &meta.labels {
        names::validate_labels(labels, &path.child("labels"), errors);
    }
    if let Some(annotations) = &meta.annotations {
        names::validate_annotations(annotations, &path.child("annotations"), errors);
    }
    for (i, finalizer) in meta.finalizers.iter().flatten().enumerate() {
        for fault in names::qualified_name(finalizer) {
            errors.invalid(&path.child("finalizers").index(i), finalizer, &fault);
        }
    }
}

fn validate_owners(meta: &ObjectMeta, errors: &mut FieldErrors) {
    let path = metadata_path().child("ownerReferences");
    let mut controllers = 0;
    for (i, owner) in meta.owner_references.iter().flatten().enumerate() {
        let path = path.index(i);
        let required = [
            ("apiVersion", &owner.api_version),
            ("kind", &owner.kind),
            ("name", &owner.name),
            ("uid", &owner.uid),
        ];
        for (field, value) in required {
            if value.is_empty() {
                errors.invalid(&path.child(field), value, "must not be empty");
            }
        }
        controllers += usize::from(owner.controller == Some(true));
    }
    if controllers > 1 {
        errors.invalid(&path, controllers, "Only one reference can have Controller set to true");
    }
}
