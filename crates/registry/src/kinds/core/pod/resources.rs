//! The faults of what is said for a pod as a whole (Kubernetes: `validatePodResources`, `validateOverhead`). It takes no
//! less than its containers do.

use api_machinery::{
    FieldErrors, FieldPath, Quantity,
    amounts::{Amounts, Side, is_of_pods},
};
use api_types::api::core::v1::{PodSpec, ResourceRequirements};

use super::container;

const SUPPORTED: [&str; 3] = ["cpu", "hugepages-", "memory"];

pub(super) fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(resources) = &spec.resources {
        let path = path.child("resources");
        if resources.claims.is_some() {
            let why = "claims cannot be set for Resources at pod-level";
            errors.forbidden(&path.child("claims"), why);
        }
        container::requirements(resources, resource_name, &path, errors);
        consistency(spec, resources, &path, errors);
    }
    if let Some(overhead) = &spec.overhead {
        let limits = Some(overhead.clone());
        let overhead = ResourceRequirements { limits, ..ResourceRequirements::default() };
        container::validate_resources(&overhead, &path.child("overhead"), errors);
    }
}

fn resource_name(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let before = errors.iter().count();
    container::resource_name(name, path, errors);
    if errors.iter().count() == before && !is_of_pods(name) {
        errors.not_supported(path, name, &SUPPORTED);
    }
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
