//! The faults of a pod's spec (Kubernetes: `ValidatePodSpec`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{api::core::v1::PodSpec, meta::ObjectMeta};

use super::{
    affinity, claims, container, containers, containers::Containers, dns, environment, ephemeral,
    os, resources, security, spread, toleration, volume,
};
use crate::rules;

const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

/// All faults of the spec, which is that of a pod with this metadata or else one in a template.
pub(super) fn pod_spec(
    spec: &PodSpec,
    pod: Option<&ObjectMeta>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let volumes = spec.volumes.as_deref().unwrap_or_default();
    let volumes = volume::validate(volumes, pod, &path.child("volumes"), errors);
    let claims = claims::validate(spec, pod, &path.child("resourceClaims"), errors);
    container::validate_all(spec, &volumes, &claims, path, errors);
    ephemeral::validate(spec, path, errors);
    let containers = containers::all(spec, path);
    resources::validate(spec, &claims, path, errors);
    container::host_network(spec, pod, path, errors);
    let restart = spec.restart_policy.as_ref();
    rules::one_of(restart, &RESTART_POLICIES, &path.child("restartPolicy"), errors);
    dns::policy(spec, path, errors);
    if let Some(selector) = &spec.node_selector {
        names::validate_labels(selector, &path.child("nodeSelector"), errors);
    }
    security::of_pod(spec, &path.child("securityContext"), errors);
    scheduling(spec, path, errors);
    os::host_process(spec, &containers, path, errors);
    security::host_users(spec, &containers, path, errors);
    references(spec, path, errors);
    os::validate(spec, &containers, path, errors);
    if let Some(group) = &spec.scheduling_group {
        let path = path.child("schedulingGroup").child("podGroupName");
        match &group.pod_group_name {
            None => errors.invalid(&path, rules::json(&()), "must specify one of: `podGroupName`"),
            Some(name) => rules::follows(name, names::dns1123_subdomain, &path, errors),
        }
    }
    environment::of_files(spec, &containers, errors);
    if pod.is_some() {
        only_of_pods(spec, &containers, path, errors);
    }
}

/// Where the pod runs, when, and how others find it.
fn scheduling(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(affinity) = &spec.affinity {
        affinity::validate(affinity, &path.child("affinity"), errors);
    }
    dns::config(spec, path, errors);
    for (i, gate) in spec.readiness_gates.iter().flatten().enumerate() {
        let path = path.child("readinessGates").index(i).child("conditionType");
        rules::follows(&gate.condition_type, names::qualified_name, &path, errors);
    }
    let mut seen = BTreeSet::new();
    for (i, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.child("schedulingGates").index(i);
        rules::follows(&gate.name, names::qualified_name, &path, errors);
        rules::unique(&mut seen, &gate.name, &path, errors);
    }
    let spread = spec.topology_spread_constraints.as_deref().unwrap_or_default();
    spread::validate(spread, &path.child("topologySpreadConstraints"), errors);
}

/// What the pod is called, and what it names.
fn references(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    dns::hostname_override(spec, path, errors);
    let (label, subdomain) = (names::dns1123_label, names::dns1123_subdomain);
    let account = spec.service_account_name.as_ref();
    rules::maybe_follows(account, subdomain, &path.child("serviceAccountName"), errors);
    rules::maybe_follows(spec.node_name.as_ref(), subdomain, &path.child("nodeName"), errors);
    let deadline = spec.active_deadline_seconds;
    let range = 1..=i64::from(i32::MAX);
    rules::between(deadline, &range, &path.child("activeDeadlineSeconds"), errors);
    rules::maybe_follows(spec.hostname.as_ref(), label, &path.child("hostname"), errors);
    rules::maybe_follows(spec.subdomain.as_ref(), label, &path.child("subdomain"), errors);
    for (i, tolerated) in spec.tolerations.iter().flatten().enumerate() {
        toleration::validate(tolerated, &path.child("tolerations").index(i), errors);
    }
    dns::host_aliases(spec, path, errors);
    let class = spec.priority_class_name.as_ref();
    rules::maybe_follows(class, subdomain, &path.child("priorityClassName"), errors);
    if let Some(class) = &spec.runtime_class_name {
        rules::follows(class, subdomain, &path.child("runtimeClassName"), errors);
    }
    if let Some(policy) = &spec.preemption_policy {
        let path = path.child("preemptionPolicy");
        rules::required(policy, &path, errors);
        rules::one_of(Some(policy), &["PreemptLowerPriority", "Never"], &path, errors);
    }
    resources::overhead(spec, path, errors);
}

/// What Kubernetes takes in templates for the sake of those that were there before.
fn only_of_pods(
    spec: &PodSpec,
    containers: &Containers<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if rules::text(spec.service_account_name.as_ref()).is_empty() {
        volume::without_account(spec, &path.child("volumes"), errors);
    }
    for (path, container) in containers {
        let image = rules::text(container.image.as_ref());
        if image.trim() != image {
            let why = "must not have leading or trailing whitespace";
            errors.invalid(&path.child("image"), image, why);
        }
    }
}
