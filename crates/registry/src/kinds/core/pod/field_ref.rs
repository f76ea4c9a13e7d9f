//! The faults of what a container is told of its pod and of itself, in variables and files (Kubernetes:
//! `validateObjectFieldSelector`, `validateContainerResourceFieldSelector`).

use api_machinery::{FieldErrors, FieldPath, Quantity, names};
use api_types::api::core::v1::{ObjectFieldSelector, ResourceFieldSelector};

use crate::rules::{self, text};

const ANNOTATIONS: &str = "metadata.annotations";
const LABELS: &str = "metadata.labels";
const OF_FILES: [&str; 5] =
    [ANNOTATIONS, LABELS, "metadata.name", "metadata.namespace", "metadata.uid"];
const OF_VARIABLES: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of pods that have names, and that nobody can be told.
const OTHERS: [&str; 4] = ["spec.restartPolicy", "spec.schedulerName", "status.phase", "spec.host"];
const RESOURCES: [&str; 6] = [
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];
const BYTES: &str = "1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei";

/// Of a file.
pub(super) fn of_file(selector: &ObjectFieldSelector, path: &FieldPath, errors: &mut FieldErrors) {
    of_pod(selector, &OF_FILES, path, errors);
}

/// Of a variable.
pub(super) fn of_variable(
    selector: &ObjectFieldSelector,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    of_pod(selector, &OF_VARIABLES, path, errors);
}

fn of_pod(
    selector: &ObjectFieldSelector,
    fields: &[&str],
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let (field, at) = (selector.field_path.as_str(), path.child("fieldPath"));
    let version = text(selector.api_version.as_ref());
    if field.is_empty() {
        return errors.required(&at, "");
    }
    if !matches!(version, "" | "v1") {
        return unknown(field, &format!("unsupported pod version: {version}"), &at, errors);
    }
    let rule = names::qualified_name;
    match subscripted(field) {
        Some((ANNOTATIONS, key)) => rules::follows(&key.to_lowercase(), rule, path, errors),
        Some((LABELS, key)) => rules::follows(key, rule, path, errors),
        Some(_) => {
            let why = format!("field label does not support subscript: {field}");
            unknown(field, &why, &at, errors);
        }
        None => plain(field, fields, &at, errors),
    }
}

fn unknown(field: &str, why: &str, path: &FieldPath, errors: &mut FieldErrors) {
    errors.invalid(path, field, &format!("error converting fieldPath: {why}"));
}

fn plain(field: &str, fields: &[&str], path: &FieldPath, errors: &mut FieldErrors) {
    let known = [OF_FILES.as_slice(), &OF_VARIABLES, &OTHERS];
    if !known.iter().any(|known| known.contains(&field)) {
        let why = format!("field label not supported: {field}");
        return unknown(field, &why, path, errors);
    }
    // As it was called before it was `spec.nodeName`.
    let field = if field == "spec.host" { "spec.nodeName" } else { field };
    if !fields.contains(&field) {
        errors.not_supported(path, field, fields);
    }
}

/// `metadata.labels['a']` in its parts.
fn subscripted(field: &str) -> Option<(&str, &str)> {
    let parts = field.strip_suffix("']")?.split_once("['")?;
    Some(parts).filter(|(path, _)| !path.is_empty())
}

/// How much a container may take, or is sure to get.
pub(super) fn of_resources(
    selector: &ResourceFieldSelector,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let (name, at) = (selector.resource.as_str(), path.child("resource"));
    rules::required(name, &at, errors);
    if !name.is_empty() && !RESOURCES.contains(&name) && !is_of_huge_pages(name) {
        errors.not_supported(&at, name, &RESOURCES);
    }
    divisor(selector, path, errors);
}

/// The faults of what it is counted in.
pub(super) fn divisor(
    selector: &ResourceFieldSelector,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let divisor = selector.divisor.as_ref().and_then(|divisor| Quantity::try_from(divisor).ok());
    let Some(divisor) = divisor.filter(|divisor| !divisor.is_zero()) else { return };
    let name = selector.resource.as_str();
    let (units, resource) = match name {
        "limits.cpu" | "requests.cpu" => ("1m and 1", "cpu"),
        "limits.memory" | "requests.memory" => (BYTES, "memory"),
        "limits.ephemeral-storage" | "requests.ephemeral-storage" => {
            (BYTES, "local ephemeral storage")
        }
        name if is_of_huge_pages(name) => (BYTES, "hugepages"),
        _ => return,
    };
    let (shown, mut each) =
        (divisor.to_string(), units.split(", ").flat_map(|it| it.split(" and ")));
    if !each.any(|unit| unit == shown) {
        let why =
            format!("only divisor's values {units} are supported with the {resource} resource");
        errors.invalid(&path.child("divisor"), name, &why);
    }
}

fn is_of_huge_pages(name: &str) -> bool {
    ["requests.hugepages-", "limits.hugepages-"].iter().any(|prefix| name.starts_with(prefix))
}
