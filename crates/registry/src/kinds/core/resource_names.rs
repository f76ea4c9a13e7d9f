//! Names of resources that objects have amounts of (Kubernetes: `pkg/apis/core/helper`).

use api_machinery::{FieldErrors, FieldPath, names};

const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];

/// Whether it is one of Kubernetes' own names.
pub(super) fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || is_of_huge_pages(name)
}

fn is_of_huge_pages(name: &str) -> bool {
    name.strip_prefix("requests.").unwrap_or(name).starts_with("hugepages-")
}

/// Whether it is Kubernetes' own by its form.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether somebody else has the name, by which quotas can name it, too.
pub(crate) fn is_extended(name: &str) -> bool {
    let is_quotable = || names::qualified_name(&format!("requests.{name}")).is_empty();
    !is_native(name) && !name.starts_with("requests.") && is_quotable()
}

/// Whether more of it can be promised than there is.
pub(super) fn is_overcommitted(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

/// The faults of a name.
pub(super) fn validate(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    let faults = names::qualified_name(name);
    faults.iter().for_each(|fault| errors.invalid(path, name, fault));
    if faults.is_empty() && !name.contains('/') && !is_standard(name) {
        errors.invalid(path, name, "must be a standard resource type or fully qualified");
    }
}
