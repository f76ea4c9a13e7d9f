//! The faults of a pod's spec (Kubernetes: `ValidatePodSpec`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{PodSpec, Toleration};

use super::{container, ephemeral, resources, sysctls, volume};
use crate::rules;

/// All faults of the spec.
pub(super) fn pod_spec(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let volumes = volume::validate(
        spec.volumes.as_deref().unwrap_or_default(),
        &path.child("volumes"),
        errors,
    );
    container::validate_all(spec, &volumes, path, errors);
    ephemeral::validate(spec, path, errors);
    resources::validate(spec, path, errors);
    sysctls::validate(spec, path, errors);
    policies(spec, path, errors);
    times(spec, path, errors);
    placement(spec, path, errors);
    network(spec, path, errors);
    references(spec, path, errors);
}

fn policies(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let restart = ["Always", "OnFailure", "Never"];
    rules::one_of(spec.restart_policy.as_ref(), &restart, &path.child("restartPolicy"), errors);
    let dns = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    rules::one_of(spec.dns_policy.as_ref(), &dns, &path.child("dnsPolicy"), errors);
}

fn times(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let grace = spec.termination_grace_period_seconds;
    rules::not_negative(grace, &path.child("terminationGracePeriodSeconds"), errors);
    if let Some(seconds) =
        spec.active_deadline_seconds.filter(|s| !(1..=i64::from(i32::MAX)).contains(s))
    {
        let why = "must be between 1 and 2147483647, inclusive";
        errors.invalid(&path.child("activeDeadlineSeconds"), seconds, why);
    }
}

fn placement(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(selector) = &spec.node_selector {
        names::validate_labels(selector, &path.child("nodeSelector"), errors);
    }
    let name = spec.node_name.as_ref();
    rules::maybe_follows(name, names::dns1123_subdomain, &path.child("nodeName"), errors);
    let gated = spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty());
    if gated && !rules::text(name).is_empty() {
        let why = "cannot be set until all schedulingGates have been cleared";
        errors.forbidden(&path.child("nodeName"), why);
    }
    for (i, toleration) in spec.tolerations.iter().flatten().enumerate() {
        validate_toleration(toleration, &path.child("tolerations").index(i), errors);
    }
}

/// The faults of a toleration.
pub(crate) fn validate_toleration(
    toleration: &Toleration,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    rules::maybe_follows(
        toleration.key.as_ref(),
        names::qualified_name,
        &path.child("key"),
        errors,
    );
    let operator = rules::text(toleration.operator.as_ref());
    let key = rules::text(toleration.key.as_ref());
    if key.is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&path.child("operator"), operator, why);
    }
    match operator {
        "" | "Equal" => rules::maybe_follows(
            toleration.value.as_ref(),
            names::label_value,
            &path.child("operator"),
            errors,
        ),
        "Exists" => {
            if !rules::text(toleration.value.as_ref()).is_empty() {
                let why = "value must be empty when `operator` is 'Exists'";
                errors.invalid(&path.child("operator"), &toleration.value, why);
            }
        }
        other => errors.not_supported(&path.child("operator"), other, &["Equal", "Exists"]),
    }
    let effects = ["NoSchedule", "PreferNoSchedule", "NoExecute"];
    rules::one_of(toleration.effect.as_ref(), &effects, &path.child("effect"), errors);
}

fn network(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let label = names::dns1123_label;
    rules::maybe_follows(spec.hostname.as_ref(), label, &path.child("hostname"), errors);
    rules::maybe_follows(spec.subdomain.as_ref(), label, &path.child("subdomain"), errors);
    for (i, alias) in spec.host_aliases.iter().flatten().enumerate() {
        rules::ip(&alias.ip, &path.child("hostAliases").index(i).child("ip"), errors);
    }
}

fn references(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let account = spec.service_account_name.as_ref();
    rules::maybe_follows(
        account,
        names::dns1123_subdomain,
        &path.child("serviceAccountName"),
        errors,
    );
    let mut seen = BTreeSet::new();
    for (i, gate) in spec.scheduling_gates.iter().flatten().enumerate() {
        let path = path.child("schedulingGates").index(i);
        rules::follows(&gate.name, names::qualified_name, &path, errors);
        rules::unique(&mut seen, &gate.name, &path, errors);
    }
}
