//! Mirror pods: those that a node runs by itself, and tells of. What they name gives their node no right to it, so what
//! marks them stays (Kubernetes: `ValidatePodSpecificAnnotationUpdates`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::{api::core::v1::Pod, meta::ObjectMeta};

use super::columns::node_name;

/// A pod of this annotation is one that a node tells of, and not one that it is told of.
pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// The faults of a new pod.
pub(super) fn validate_create(pod: &Pod, errors: &mut FieldErrors) {
    let Some(given) = mark(pod) else { return };
    if node_name(pod).is_empty() {
        errors.invalid(&path(), given, "must set spec.nodeName if mirror pod annotation is set");
    }
}

/// The faults of a change, also of the status.
pub(super) fn validate_update(new: &Pod, old: &Pod, errors: &mut FieldErrors) {
    if mark(new) == mark(old) {
        return;
    }
    let why = match mark(old) {
        Some(_) => "may not remove or update mirror pod annotation",
        None => "may not add mirror pod annotation",
    };
    errors.forbidden(&path(), why);
}

/// Whether it is one. Nothing can be added to what its node has from elsewhere.
pub(super) fn is_mirror(pod: &Pod) -> bool {
    is_marked(&pod.metadata)
}

/// The same of what is said about it.
pub(super) fn is_marked(metadata: &ObjectMeta) -> bool {
    metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(MIRROR))
}

fn mark(pod: &Pod) -> Option<&str> {
    pod.metadata.annotations.as_ref()?.get(MIRROR).map(String::as_str)
}

fn path() -> FieldPath {
    FieldPath::new("metadata").child("annotations").key(MIRROR)
}
