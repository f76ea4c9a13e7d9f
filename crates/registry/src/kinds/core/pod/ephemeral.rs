//! What may be said of containers that are added to a pod while it is there (Kubernetes: `validateEphemeralContainers`,
//! `ValidatePodEphemeralContainersUpdate`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{EphemeralContainer, PodSpec};

use crate::rules::text;

const UNUSABLE: &str = "cannot be set for an Ephemeral Container";

/// The faults of those containers that no other container can have.
pub(super) fn validate(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("ephemeralContainers");
    for (i, container) in spec.ephemeral_containers.iter().flatten().enumerate() {
        let path = path.index(i);
        let target = text(container.target_container_name.as_ref());
        let mut others = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        if !target.is_empty() && !others.any(|other| other.name == target) {
            errors.not_found(&path.child("targetContainerName"), target);
        }
        for (field, _) in unusable(container).into_iter().filter(|(_, is_set)| *is_set) {
            errors.forbidden(&path.child(field), UNUSABLE);
        }
        validate_mounts(container, &path.child("volumeMounts"), errors);
    }
}

/// What shows a part of a volume stays until the pod goes.
fn validate_mounts(container: &EphemeralContainer, path: &FieldPath, errors: &mut FieldErrors) {
    for (i, mount) in container.volume_mounts.iter().flatten().enumerate() {
        let path = path.index(i);
        if !text(mount.sub_path.as_ref()).is_empty() {
            errors.forbidden(&path.child("subPath"), UNUSABLE);
        }
        if !text(mount.sub_path_expr.as_ref()).is_empty() {
            errors.forbidden(&path.child("subPathExpr"), UNUSABLE);
        }
    }
}

/// What such a container can't have, and whether it does.
fn unusable(container: &EphemeralContainer) -> [(&'static str, bool); 9] {
    let resources = container.resources.as_ref();
    [
        ("ports", container.ports.as_ref().is_some_and(|ports| !ports.is_empty())),
        ("resources", resources.is_some_and(|resources| *resources != Default::default())),
        ("resizePolicy", container.resize_policy.as_ref().is_some_and(|all| !all.is_empty())),
        ("restartPolicy", container.restart_policy.is_some()),
        ("restartPolicyRules", container.restart_policy_rules.is_some()),
        ("livenessProbe", container.liveness_probe.is_some()),
        ("readinessProbe", container.readiness_probe.is_some()),
        ("startupProbe", container.startup_probe.is_some()),
        ("lifecycle", container.lifecycle.is_some()),
    ]
}

/// They come one after another, and stay.
pub(super) fn validate_update(new: &PodSpec, old: &PodSpec, errors: &mut FieldErrors) {
    let path = FieldPath::new("spec").child("ephemeralContainers");
    for old in old.ephemeral_containers.iter().flatten() {
        let name = &old.name;
        match new.ephemeral_containers.iter().flatten().find(|new| new.name == *name) {
            Some(new) if new == old => {}
            Some(_) => {
                let why = format!("existing ephemeral containers {name:?} may not be changed\n");
                errors.forbidden(&path, &why);
            }
            None => {
                let why = format!("existing ephemeral containers {name:?} may not be removed\n");
                errors.forbidden(&path, &why);
            }
        }
    }
}
