//! How much a pod's containers may take, as it changes while they run (Kubernetes: `dropNonResizeUpdates`,
//! `ValidatePodResize`, `validateResizePolicy`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, Quantity as Amount};
use api_types::{
    Quantity,
    api::core::v1::{Container, ContainerState, Pod, PodSpec, ResourceClaim, ResourceRequirements},
};

use super::qos;
use crate::rules::text;

const INIT: &str = "initContainers";
const RESIZABLE: [&str; 2] = ["cpu", "memory"];
const NOT_REQUIRED: &str = "NotRequired";
const RESTART: &str = "RestartContainer";
const IMMUTABLE: &str = "only cpu and memory resources are mutable";
const INIT_IMMUTABLE: &str =
    "only cpu and memory resources for init or sidecar containers are mutable";

/// Takes over what containers may take. If they are others, it is all taken over, to be refused.
pub(super) fn take(spec: &mut PodSpec, given: &PodSpec) {
    spec.resources.clone_from(&given.resources);
    spec.containers = taken(&spec.containers, &given.containers);
    let [own, new] = [&*spec, given].map(|it| it.init_containers.as_deref().unwrap_or_default());
    let init = taken(own, new);
    if spec.init_containers.is_some() || !init.is_empty() {
        spec.init_containers = Some(init);
    }
}

fn taken(own: &[Container], given: &[Container]) -> Vec<Container> {
    if !own.iter().map(|c| &c.name).eq(given.iter().map(|c| &c.name)) {
        return given.to_vec();
    }
    let each = own.iter().zip(given);
    each.map(|(own, given)| Container {
        resources: given.resources.clone(),
        resize_policy: given.resize_policy.clone(),
        ..own.clone()
    })
    .collect()
}

/// The faults of the change.
pub(super) fn validate(new: &Pod, old: &Pod, errors: &mut FieldErrors) {
    let (Some(spec), Some(before)) = (&new.spec, &old.spec) else { return };
    let path = FieldPath::new("spec");
    if before.os.as_ref().is_some_and(|os| os.name == "windows") {
        return errors.forbidden(&FieldPath::new(""), "windows pods cannot be resized");
    }
    if qos::class(spec) != qos::class(before) {
        let class = old.status.as_ref().and_then(|status| status.qos_class.as_ref());
        errors.invalid(&path, text(class), "Pod QOS Class may not change as a result of resizing");
    }
    if !is_supported(old) {
        errors.forbidden(&path, "Pod running on node without support for resize");
    }
    if [spec, before].iter().any(|spec| says_as_a_whole(spec)) {
        return errors.forbidden(
            &FieldPath::new(""),
            "resize of pods with pod-level resources is forbidden",
        );
    }
    let init = [spec, before].map(|it| it.init_containers.as_deref().unwrap_or_default());
    let usual = [&*spec.containers, &*before.containers];
    for (field, [new, old]) in [("containers", usual), (INIT, init)] {
        if order(new, old, field, &path, errors) {
            containers(new, old, field, &path, errors);
        }
    }
}

/// A node that says of no running container what it takes is not asked to change that. Kubernetes looks at the first
/// that runs.
fn is_supported(pod: &Pod) -> bool {
    let mut all = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let running = |state: &ContainerState| state.running.is_some();
    let first = all.find(|container| container.state.as_ref().is_some_and(running));
    first.is_none_or(|container| container.resources.is_some())
}

fn says_as_a_whole(spec: &PodSpec) -> bool {
    let whole = spec.resources.as_ref();
    let lists = whole.map(|whole| [&whole.requests, &whole.limits]);
    lists.into_iter().flatten().flatten().any(|list| !list.is_empty())
}

/// Whether they are the same containers in the same order; tells the faults if they are not.
fn order(
    new: &[Container],
    old: &[Container],
    field: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> bool {
    let path = path.child(field);
    if new.len() != old.len() {
        errors.forbidden(&path, &format!("{field} may not be added or removed on resize"));
        return false;
    }
    let mut is_same = true;
    for (i, _) in new.iter().zip(old).enumerate().filter(|(_, (new, old))| new.name != old.name) {
        let why = format!("{field} may not be renamed or reordered on resize");
        errors.forbidden(&path.index(i).child("name"), &why);
        is_same = false;
    }
    is_same
}

fn containers(
    new: &[Container],
    old: &[Container],
    field: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let are_init = field == INIT;
    for (i, (new, old)) in new.iter().zip(old).enumerate() {
        let at = path.child(field).index(i);
        removed(new, old, &at.child("resources"), errors);
        if !is_same_but_for_size(new, old) {
            let (at, why) = if are_init { (&at, INIT_IMMUTABLE) } else { (path, IMMUTABLE) };
            errors.forbidden(at, why);
        }
        let is_brief = are_init && new.restart_policy.as_deref() != Some("Always");
        let restarts =
            new.resize_policy.iter().flatten().any(|policy| policy.restart_policy == RESTART);
        if is_brief && restarts && new != old {
            let why = "non-sidecar init containers with a resize policy of RestartContainer cannot be resized";
            errors.forbidden(&at, why);
        }
    }
}

/// What was said once is said for good.
fn removed(new: &Container, old: &Container, path: &FieldPath, errors: &mut FieldErrors) {
    let none = ResourceRequirements::default();
    let [new, old] = [new, old].map(|container| container.resources.as_ref().unwrap_or(&none));
    let lists = [("requests", &new.requests, &old.requests), ("limits", &new.limits, &old.limits)];
    for (field, new, old) in lists {
        let has = |name| new.as_ref().is_some_and(|new| new.contains_key(name));
        if old.iter().flatten().any(|(name, _)| !has(name)) {
            errors.forbidden(&path.child(field), &format!("resource {field} cannot be removed"));
        }
    }
    // One of zero is none, which no runtime is told of a container that runs.
    let is_zero = |amount: &Quantity| Amount::try_from(amount).is_ok_and(Amount::is_zero);
    let bounded = old.limits.iter().flatten().filter(|(_, amount)| !is_zero(amount));
    for (name, _) in bounded {
        if new.limits.as_ref().and_then(|new| new.get(name)).is_some_and(is_zero) {
            let why = "resource limits cannot be removed: a limit of 0 is none";
            errors.forbidden(&path.child("limits").key(name), why);
        }
    }
}

fn is_same_but_for_size(new: &Container, old: &Container) -> bool {
    let unsized_one = |container: &Container| Container { resources: None, ..container.clone() };
    fixed(new) == fixed(old) && claims(new) == claims(old) && unsized_one(new) == unsized_one(old)
}

fn claims(container: &Container) -> &[ResourceClaim] {
    let resources = container.resources.as_ref();
    resources.and_then(|resources| resources.claims.as_deref()).unwrap_or_default()
}

/// What of a container's resources does not change.
fn fixed(container: &Container) -> [Vec<(&String, &Quantity)>; 2] {
    let resources = container.resources.as_ref();
    let lists = [resources.map(|it| &it.requests), resources.map(|it| &it.limits)];
    lists.map(|list| {
        let all = list.into_iter().flatten().flatten();
        all.filter(|(name, _)| !RESIZABLE.contains(&name.as_str())).collect()
    })
}

/// The faults of what a container says of its changes.
pub(super) fn policies(
    container: &Container,
    pod_restarts: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let path = path.child("resizePolicy");
    let mut seen = BTreeSet::new();
    for (i, policy) in container.resize_policy.iter().flatten().enumerate() {
        let (resource, restart) = (&*policy.resource_name, &*policy.restart_policy);
        if !seen.insert(resource) {
            errors.duplicate(&path.index(i), resource);
        }
        for (value, supported) in [(resource, RESIZABLE), (restart, [NOT_REQUIRED, RESTART])] {
            if value.is_empty() {
                errors.required(&path, "");
            } else if !supported.contains(&value) {
                errors.not_supported(&path, value, &supported);
            }
        }
        if pod_restarts == "Never" && restart != NOT_REQUIRED {
            let why = "must be 'NotRequired' when pod `restartPolicy` is 'Never'";
            errors.invalid(&path, restart, why);
        }
    }
}
