//! The faults of which nodes a pod is drawn to, and which pods it is drawn to or keeps away from (Kubernetes:
//! `validateAffinity`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{Affinity, NodeAffinity, PodAffinityTerm, WeightedPodAffinityTerm};

use super::label_keys;
use crate::{kinds::core::node_selector, label_selector, rules};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub(super) fn validate(affinity: &Affinity, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(nodes) = &affinity.node_affinity {
        of_nodes(nodes, &path.child("nodeAffinity"), errors);
    }
    let near = affinity.pod_affinity.as_ref().map(|it| {
        let preferred = it.preferred_during_scheduling_ignored_during_execution.as_ref();
        (it.required_during_scheduling_ignored_during_execution.as_ref(), preferred)
    });
    let far = affinity.pod_anti_affinity.as_ref().map(|it| {
        let preferred = it.preferred_during_scheduling_ignored_during_execution.as_ref();
        (it.required_during_scheduling_ignored_during_execution.as_ref(), preferred)
    });
    for (field, terms) in [("podAffinity", near), ("podAntiAffinity", far)] {
        let Some((required, preferred)) = terms else { continue };
        let path = path.child(field);
        for (i, term) in required.into_iter().flatten().enumerate() {
            validate_term(term, &path.child(REQUIRED).index(i), errors);
        }
        for (i, term) in preferred.into_iter().flatten().enumerate() {
            weighted(term, &path.child(PREFERRED).index(i), errors);
        }
    }
}

fn of_nodes(affinity: &NodeAffinity, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(required) = &affinity.required_during_scheduling_ignored_during_execution {
        node_selector::validate(required, &path.child(REQUIRED), errors);
    }
    let preferred = affinity.preferred_during_scheduling_ignored_during_execution.iter().flatten();
    for (i, term) in preferred.enumerate() {
        let path = path.child(PREFERRED).index(i);
        weight(term.weight, &path, errors);
        node_selector::preference(&term.preference, &path.child("preference"), errors);
    }
}

fn weighted(term: &WeightedPodAffinityTerm, path: &FieldPath, errors: &mut FieldErrors) {
    weight(term.weight, path, errors);
    validate_term(&term.pod_affinity_term, &path.child("podAffinityTerm"), errors);
}

fn weight(weight: i32, path: &FieldPath, errors: &mut FieldErrors) {
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

fn validate_term(term: &PodAffinityTerm, path: &FieldPath, errors: &mut FieldErrors) {
    let selectors =
        [("labelSelector", &term.label_selector), ("namespaceSelector", &term.namespace_selector)];
    for (field, selector) in selectors {
        if let Some(selector) = selector {
            label_selector::validate(selector, &path.child(field), errors);
        }
    }
    for namespace in term.namespaces.iter().flatten() {
        rules::follows(namespace, names::dns1123_label, &path.child("namespace"), errors);
    }
    let keys = [term.match_label_keys.as_deref(), term.mismatch_label_keys.as_deref()];
    label_keys::validate(keys, term.label_selector.as_ref(), path, errors);
    let at = path.child("topologyKey");
    if term.topology_key.is_empty() {
        errors.required(&at, "can not be empty");
    }
    rules::follows(&term.topology_key, names::qualified_name, &at, errors);
}
