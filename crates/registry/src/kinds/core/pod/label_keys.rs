//! `matchLabelKeys` and `mismatchLabelKeys`: a pod's own labels say what those of others are to be like, as its selectors
//! have it from its creation on (Kubernetes: `mutatePodAffinity`, `ValidateMatchLabelKeysAndMismatchLabelKeys`).

use std::collections::{BTreeMap, BTreeSet};

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::core::v1::{Affinity, Pod, PodAffinityTerm},
    meta::{LabelSelector, LabelSelectorRequirement},
};

use crate::rules;

/// Adds to the selectors of a new pod what its labels say.
pub(super) fn merge(pod: &mut Pod) {
    let (Some(labels), Some(spec)) = (&pod.metadata.labels, &mut pod.spec) else { return };
    for term in spec.affinity.iter_mut().flat_map(terms) {
        let selector = &mut term.label_selector;
        add(selector, term.match_label_keys.as_ref(), "In", labels);
        add(selector, term.mismatch_label_keys.as_ref(), "NotIn", labels);
    }
    for constraint in spec.topology_spread_constraints.iter_mut().flatten() {
        add(&mut constraint.label_selector, constraint.match_label_keys.as_ref(), "In", labels);
    }
}

/// All that an affinity says of other pods.
fn terms(affinity: &mut Affinity) -> impl Iterator<Item = &mut PodAffinityTerm> {
    let Affinity { pod_affinity: near, pod_anti_affinity: far, .. } = affinity;
    let near = near.iter_mut().map(|it| {
        let preferred = &mut it.preferred_during_scheduling_ignored_during_execution;
        (&mut it.required_during_scheduling_ignored_during_execution, preferred)
    });
    let far = far.iter_mut().map(|it| {
        let preferred = &mut it.preferred_during_scheduling_ignored_during_execution;
        (&mut it.required_during_scheduling_ignored_during_execution, preferred)
    });
    near.chain(far).flat_map(|(required, preferred)| {
        let preferred = preferred.iter_mut().flatten().map(|term| &mut term.pod_affinity_term);
        required.iter_mut().flatten().chain(preferred)
    })
}

/// A selector that isn't there selects nothing, and stays so.
fn add(
    selector: &mut Option<LabelSelector>,
    keys: Option<&Vec<String>>,
    operator: &str,
    labels: &BTreeMap<String, String>,
) {
    let Some(selector) = selector else { return };
    for (key, value) in keys.into_iter().flatten().filter_map(|key| labels.get_key_value(key)) {
        let expressions = selector.match_expressions.get_or_insert_default();
        expressions.push(LabelSelectorRequirement {
            key: key.clone(),
            operator: operator.to_owned(),
            values: Some(vec![value.clone()]),
        });
    }
}

/// The faults of the keys of labels that others have as the pod, and of those that they have otherwise.
pub(super) fn validate(
    keys: [Option<&[String]>; 2],
    selector: Option<&LabelSelector>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let [same, other] = keys.map(Option::unwrap_or_default);
    let at = path.child("matchLabelKeys");
    names_of(same, selector, &at, errors);
    names_of(other, selector, &path.child("mismatchLabelKeys"), errors);
    if let Some(selector) = selector {
        said_twice(same, selector, path, errors);
    }
    for (i, key) in same.iter().enumerate().filter(|(_, key)| other.contains(key)) {
        let why = "exists in both matchLabelKeys and mismatchLabelKeys";
        errors.invalid(&at.index(i), key, why);
    }
}

fn names_of(
    keys: &[String],
    selector: Option<&LabelSelector>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if !keys.is_empty() && selector.is_none() {
        return errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    for (i, key) in keys.iter().enumerate() {
        rules::follows(key, names::qualified_name, &path.index(i), errors);
    }
}

/// What was added to the selector is there twice if the user said it, too.
fn said_twice(
    keys: &[String],
    selector: &LabelSelector,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let mut said: BTreeSet<_> =
        selector.match_labels.iter().flatten().map(|(key, _)| key).collect();
    for expression in selector.match_expressions.iter().flatten() {
        let is_new = said.insert(&expression.key);
        let index = keys.iter().rposition(|key| *key == expression.key);
        if let Some(index) = index.filter(|_| !is_new) {
            let why = "exists in both matchLabelKeys and labelSelector";
            errors.invalid(&path.index(index), &expression.key, why);
        }
    }
}
