//! What of a pod's spec may change (Kubernetes: `ValidatePodUpdate`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{Container, PodSpec};

use super::gated;
use crate::rules;

const FORBIDDEN: &str = "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// The faults of the change.
pub(super) fn validate(new: &PodSpec, old: &PodSpec, errors: &mut FieldErrors) {
    let path = FieldPath::new("spec");
    let count = |list: &Option<Vec<Container>>| list.as_ref().map_or(0, Vec::len);
    for (field, is_same) in [
        ("containers", new.containers.len() == old.containers.len()),
        ("initContainers", count(&new.init_containers) == count(&old.init_containers)),
    ] {
        if !is_same {
            let why = "pod updates may not add or remove containers";
            return errors.forbidden(&path.child(field), why);
        }
    }
    if !deadline(new, old, &path.child("activeDeadlineSeconds"), errors) {
        return;
    }
    tolerations(new, old, &path, errors);
    gates(new, old, &path.child("schedulingGates"), errors);
    let mut fixed = with_changeable_parts_of(new, old);
    if old.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        gated::take_back(&mut fixed, old, &path, errors);
    }
    if fixed != *old {
        errors.forbidden(&path, FORBIDDEN);
    }
}

/// A deadline can be set or brought forward. Gives whether it is not put off.
fn deadline(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) -> bool {
    match (new.active_deadline_seconds, old.active_deadline_seconds) {
        (Some(new), Some(old)) if new > old => {
            errors.invalid(path, new, "must be less than or equal to previous value");
            return false;
        }
        (None, Some(_)) => {
            let why = "must not update from a positive integer to nil value";
            errors.invalid(path, rules::json(&()), why);
        }
        _ => {}
    }
    true
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

/// What a pod waits for can only become less.
fn gates(new: &PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let before = old.scheduling_gates.as_deref().unwrap_or_default();
    for (i, gate) in new.scheduling_gates.iter().flatten().enumerate() {
        if !before.contains(gate) {
            let name = &gate.name;
            let why = format!("only deletion is allowed, but found new scheduling gate '{name}'");
            errors.forbidden(&path.index(i).child("name"), &why);
        }
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
    munged.scheduling_gates.clone_from(&old.scheduling_gates);
    let was_negative = old.termination_grace_period_seconds.is_some_and(|s| s < 0);
    if was_negative && new.termination_grace_period_seconds == Some(1) {
        munged.termination_grace_period_seconds = old.termination_grace_period_seconds;
    }
    munged
}

fn keep_images(new: &mut [Container], old: &[Container]) {
    for (new, old) in new.iter_mut().zip(old) {
        new.image.clone_from(&old.image);
    }
}
