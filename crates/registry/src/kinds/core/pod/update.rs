//! What of a pod's spec may change (Kubernetes: `ValidatePodUpdate`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{Container, PodSpec};

use crate::rules;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The faults of the change.
pub(super) fn validate(new: &PodSpec, old: &PodSpec, errors: &mut FieldErrors) {
    let path = FieldPath::new("spec");
    if new.containers.len() != old.containers.len() {
        errors.forbidden(&path.child("containers"), "pod updates may not add or remove containers");
        return;
    }
    deadline(new, old, &path, errors);
    tolerations(new, old, &path, errors);
    if with_changeable_parts_of(new, old) != *old {
        errors.forbidden(&path, FORBIDDEN);
    }
}

/// A deadline can be set or brought forward.
fn deadline(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("activeDeadlineSeconds");
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            let why = format!("must be less than or equal to previous value, {old}");
            errors.invalid(&path, new, &why);
        }
        (None, Some(_)) => {
            errors.invalid(&path, "", "must not update from a positive integer to nil value")
        }
        _ => {}
    }
}

/// Tolerations can be added, and their seconds changed.
fn tolerations(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let all = new.tolerations.as_deref().unwrap_or_default();
    let kept = old.tolerations.iter().flatten().all(|old| {
        all.iter().any(|new| {
            (&new.key, &new.operator, &new.value, &new.effect)
                == (&old.key, &old.operator, &old.value, &old.effect)
        })
    });
    if !kept {
        let why = "existing toleration can not be modified except its tolerationSeconds";
        errors.forbidden(&path.child("tolerations"), why);
    }
}

/// `new` with the changeable fields as in `old`: what must be equal to `old`.
fn with_changeable_parts_of(new: &PodSpec, old: &PodSpec) -> PodSpec {
    let mut munged = new.clone();
    keep_images(&mut munged.containers, &old.containers);
    if let (Some(new), Some(old)) = (&mut munged.init_containers, &old.init_containers) {
        keep_images(new, old);
    }
    munged.active_deadline_seconds = old.active_deadline_seconds;
    munged.tolerations.clone_from(&old.tolerations);
    let was_negative = old.termination_grace_period_seconds.is_some_and(|s| s < 0);
    if was_negative && new.termination_grace_period_seconds == Some(1) {
        munged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    if removes_gates_only(new, old) {
        munged.scheduling_gates.clone_from(&old.scheduling_gates);
    }
    munged
}

fn keep_images(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        if !rules::text(new.image.as_ref()).is_empty() {
            new.image.clone_from(&old.image);
        }
    }
}

fn removes_gates_only(new: &PodSpec, old: &PodSpec) -> bool {
    let old = old.scheduling_gates.as_deref().unwrap_or_default();
    new.scheduling_gates.iter().flatten().all(|gate| old.contains(gate))
}
