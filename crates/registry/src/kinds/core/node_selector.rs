//! The faults of a selector of nodes (Kubernetes: `ValidateNodeSelector`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use crate::rules;

/// All faults, each with the path of its field.
pub(crate) fn validate(selector: &NodeSelector, path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("nodeSelectorTerms");
    if selector.node_selector_terms.is_empty() {
        errors.required(&path, "must have at least one node selector term");
    }
    for (index, term) in selector.node_selector_terms.iter().enumerate() {
        let path = path.index(index);
        for (index, wanted) in term.match_expressions.iter().flatten().enumerate() {
            let path = path.child("matchExpressions").index(index);
            by_label(wanted, &path, errors);
            label_values(wanted, &path.child("values"), errors);
        }
        by_fields(term, &path, errors);
    }
}

/// The faults of what nodes should rather be like: values that no label can have are none.
pub(super) fn preference(term: &NodeSelectorTerm, path: &FieldPath, errors: &mut FieldErrors) {
    for (index, wanted) in term.match_expressions.iter().flatten().enumerate() {
        by_label(wanted, &path.child("matchExpressions").index(index), errors);
    }
    by_fields(term, path, errors);
}

fn by_label(wanted: &NodeSelectorRequirement, path: &FieldPath, errors: &mut FieldErrors) {
    let values = wanted.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match wanted.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&at, why);
        }
        "Gt" | "Lt" if values.len() != 1 => {
            errors.required(&at, "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    rules::follows(&wanted.key, names::qualified_name, &path.child("key"), errors);
}

fn label_values(wanted: &NodeSelectorRequirement, path: &FieldPath, errors: &mut FieldErrors) {
    for (index, value) in wanted.values.iter().flatten().enumerate() {
        rules::follows(value, names::label_value, &path.index(index), errors);
    }
}

fn by_fields(term: &NodeSelectorTerm, path: &FieldPath, errors: &mut FieldErrors) {
    for (index, wanted) in term.match_fields.iter().flatten().enumerate() {
        by_field(wanted, &path.child("matchFields").index(index), errors);
    }
}

fn by_field(wanted: &NodeSelectorRequirement, path: &FieldPath, errors: &mut FieldErrors) {
    let values = wanted.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match wanted.operator.as_str() {
        "In" | "NotIn" if values.len() != 1 => {
            let why =
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
            errors.required(&at, why);
        }
        "In" | "NotIn" => {}
        other => errors.invalid(&path.child("operator"), other, "not a valid selector operator"),
    }
    if wanted.key != "metadata.name" {
        errors.invalid(&path.child("key"), &wanted.key, "not a valid field selector key");
        return;
    }
    for (index, value) in values.iter().enumerate() {
        rules::follows(value, names::dns1123_subdomain, &at.index(index), errors);
    }
}
