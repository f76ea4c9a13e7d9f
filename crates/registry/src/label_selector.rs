//! The faults of a label selector (Kubernetes: `ValidateLabelSelector`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::meta;

use crate::rules;

/// All faults, each with the path of its field.
pub(crate) fn validate(selector: &meta::LabelSelector, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(labels) = &selector.match_labels {
        names::validate_labels(labels, &path.child("matchLabels"), errors);
    }
    for (i, expression) in selector.match_expressions.iter().flatten().enumerate() {
        requirement(expression, &path.child("matchExpressions").index(i), errors);
    }
}

fn requirement(
    requirement: &meta::LabelSelectorRequirement,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let values = requirement.values.as_deref().unwrap_or_default();
    let at = path.child("values");
    match requirement.operator.as_str() {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&at, "must be specified when `operator` is 'In' or 'NotIn'");
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => {
            let why = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
            errors.forbidden(&at, why);
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        other => {
            errors.invalid(&path.child("operator"), other, "not a valid selector operator");
        }
    }
    rules::follows(&requirement.key, names::qualified_name, &path.child("key"), errors);
    for (i, value) in values.iter().enumerate() {
        rules::follows(value, names::label_value, &at.index(i), errors);
    }
}
