//! The faults of annotations that mean something for pods (Kubernetes: `ValidatePodSpecificAnnotations`).

use std::collections::BTreeMap;

use api_machinery::{FieldErrors, FieldPath};

/// How much it costs a ReplicaSet to end the pod rather than another one.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

pub(super) fn validate(
    annotations: Option<&BTreeMap<String, String>>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let cost = annotations.and_then(|annotations| annotations.get(DELETION_COST));
    if let Some(cost) = cost.filter(|cost| !is_number(cost)) {
        errors.invalid(&path.key(DELETION_COST), cost, "must be a 32bit integer");
    }
}

/// Without a plus, and without zeros before it.
fn is_number(text: &str) -> bool {
    let is_plain = text == "0" || text.starts_with(|c| matches!(c, '-' | '1'..='9'));
    is_plain && text.parse::<i32>().is_ok()
}
