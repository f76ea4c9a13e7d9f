//! The faults of which taints are tolerated (Kubernetes: `ValidateTolerations`).

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::core::v1::Toleration;

use crate::rules::{self, text};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// The faults of one.
pub(crate) fn validate(toleration: &Toleration, path: &FieldPath, errors: &mut FieldErrors) {
    let (key, effect) = (toleration.key.as_ref(), toleration.effect.as_ref());
    rules::maybe_follows(key, names::qualified_name, &path.child("key"), errors);
    let operator = text(toleration.operator.as_ref());
    if text(key).is_empty() && operator != "Exists" {
        let why = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        errors.invalid(&path.child("operator"), operator, why);
    }
    if toleration.toleration_seconds.is_some() && text(effect) != "NoExecute" {
        let why = "effect must be 'NoExecute' when `tolerationSeconds` is set";
        errors.invalid(&path.child("effect"), text(effect), why);
    }
    operation(operator, text(toleration.value.as_ref()), &path.child("operator"), errors);
    rules::one_of(effect, &EFFECTS, &path.child("effect"), errors);
}

/// Kubernetes knows `Lt` and `Gt`, and takes them only behind a feature gate that is closed by itself.
fn operation(operator: &str, value: &str, path: &FieldPath, errors: &mut FieldErrors) {
    match operator {
        "" | "Equal" => {
            let faults = names::label_value(value);
            if !faults.is_empty() {
                errors.invalid(path, value, &faults.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            errors.invalid(path, value, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        "Lt" | "Gt" => errors.not_supported(path, operator, &["Equal", "Exists", "Lt", "Gt"]),
        other => errors.not_supported(path, other, &["Equal", "Exists"]),
    }
}
