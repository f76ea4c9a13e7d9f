//! The faults of what is said for a pod as a whole (Kubernetes: `validatePodResources`, `validateOverhead`). It takes no
//! less than its containers do.

use api_machinery::{
    FieldErrors, FieldPath, Quantity,
    amounts::{Amounts, Side, is_of_pods},
};
use api_types::api::core::v1::{PodSpec, ResourceRequirements};

use super::{claims::ClaimNames, requirements};
use crate::kinds::core::resource_names;

const SUPPORTED: [&str; 3] = ["cpu", "hugepages-", "memory"];

pub(super) fn validate(
    spec: &PodSpec,
    claims: &ClaimNames<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(resources) = &spec.resources else { return };
    let path = path.child("resources");
    if spec.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(&path, "may not be set for a windows pod");
    }
    if resources.claims.is_some() {
        let why = "claims may not be set for Resources at pod-level";
        errors.forbidden(&path.child("claims"), why);
    }
    requirements::with_names(resources, name, claims, &path, errors);
    consistency(spec, resources, &path, errors);
}

/// What the sandbox itself takes.
pub(super) fn overhead(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(overhead) = &spec.overhead else { return };
    let limits = Some(overhead.clone());
    let overhead = ResourceRequirements { limits, ..ResourceRequirements::default() };
    requirements::validate(&overhead, &path.child("overhead"), errors);
}

fn name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let mut faults = FieldErrors::default();
    resource_names::validate(name, path, &mut faults);
    if faults.is_empty() && !is_of_pods(name) {
        faults.not_supported(path, name, &SUPPORTED);
    }
    errors.extend(faults);
}

/// Of which nobody takes more than is there.
fn is_of_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Requests cover those of all containers, limits that of each.
fn consistency(
    spec: &PodSpec,
    resources: &ResourceRequirements,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let sides = [
        (Side::Requests, "requests", is_of_pods as fn(&str) -> bool),
        (Side::Limits, "limits", is_of_huge_pages),
    ];
    for (side, field, is_covered) in sides {
        let whole = side.of(Some(resources));
        for (name, all) in side.of_containers(spec).iter().filter(|(name, _)| is_covered(name)) {
            if let Some(own) = less(&whole, name, *all) {
                let why = format!(
                    "must be greater than or equal to aggregate container {field} of {all}"
                );
                errors.invalid(&path.child(field).key(name), own.to_string(), &why);
            }
        }
    }
    let whole = Side::Limits.of(Some(resources));
    for (index, container) in spec.containers.iter().enumerate() {
        for (name, limit) in Side::Limits.of(container.resources.as_ref()) {
            if let Some(own) = less(&whole, &name, limit) {
                let path = path.child("containers").index(index).key(&name).child("limits");
                let why = format!("must be less than or equal to pod limits of {own}");
                errors.invalid(&path, limit.to_string(), &why);
            }
        }
    }
}

/// The amount of the whole, if that is less than such a part.
fn less(whole: &Amounts, name: &str, part: Quantity) -> Option<Quantity> {
    whole.get(name).copied().filter(|own| own.compare(part).is_lt())
}
