//! The faults of how pods are spread over a cluster's parts (Kubernetes: `validateTopologySpreadConstraints`).

use std::collections::HashMap;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::TopologySpreadConstraint;

use super::label_keys;
use crate::{label_selector, rules};

const STRICT: &str = "DoNotSchedule";
const NOT_POSITIVE: &str = "must be greater than zero";

pub(super) fn validate(
    constraints: &[TopologySpreadConstraint],
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let key =
        |it: &TopologySpreadConstraint| (it.topology_key.clone(), it.when_unsatisfiable.clone());
    let last: HashMap<_, _> = constraints.iter().enumerate().map(|(i, it)| (key(it), i)).collect();
    for (i, constraint) in constraints.iter().enumerate() {
        let path = path.index(i);
        places(constraint, &path, errors);
        let own = key(constraint);
        if last[&own] != i {
            let shown = format!("{{{}, {}}}", own.0, own.1);
            errors.duplicate(&path.child("{topologyKey, whenUnsatisfiable}"), shown);
        }
        domains(constraint, &path, errors);
        let keys = [constraint.match_label_keys.as_deref(), None];
        label_keys::validate(keys, constraint.label_selector.as_ref(), &path, errors);
        if let Some(selector) = &constraint.label_selector {
            label_selector::validate(selector, &path.child("labelSelector"), errors);
        }
    }
}

fn places(constraint: &TopologySpreadConstraint, path: &FieldPath, errors: &mut FieldErrors) {
    if constraint.max_skew <= 0 {
        errors.invalid(&path.child("maxSkew"), constraint.max_skew, NOT_POSITIVE);
    }
    if constraint.topology_key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    let actions = [STRICT, "ScheduleAnyway"];
    let action = Some(&constraint.when_unsatisfiable);
    rules::supported(action, &actions, &path.child("whenUnsatisfiable"), errors);
}

fn domains(constraint: &TopologySpreadConstraint, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(least) = constraint.min_domains {
        let (at, action) = (path.child("minDomains"), &constraint.when_unsatisfiable);
        if least <= 0 {
            errors.invalid(&at, least, NOT_POSITIVE);
        }
        if action != STRICT {
            let why =
                format!("can only use minDomains if whenUnsatisfiable={STRICT}, not {action}");
            errors.invalid(&at, least, &why);
        }
    }
    for (field, policy) in [
        ("nodeAffinityPolicy", &constraint.node_affinity_policy),
        ("nodeTaintsPolicy", &constraint.node_taints_policy),
    ] {
        rules::supported(policy.as_ref(), &["Honor", "Ignore"], &path.child(field), errors);
    }
}
