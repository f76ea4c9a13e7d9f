//! Spellings that Kubernetes reads and the types of `k8s-openapi` don't: quantities written as numbers.

use serde_json::Value;

/// Maps whose values are quantities.
const MAPS: [&str; 7] =
    ["limits", "requests", "capacity", "allocatable", "overhead", "hard", "used"];
/// Fields that are quantities.
const FIELDS: [&str; 3] = ["sizeLimit", "divisor", "averageValue"];

/// Writes every quantity that is a number as a string, throughout the object.
pub(crate) fn quantities(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                if MAPS.contains(&key.as_str()) {
                    value
                        .as_object_mut()
                        .into_iter()
                        .flatten()
                        .for_each(|(_, v)| number_to_string(v));
                } else if FIELDS.contains(&key.as_str()) {
                    number_to_string(value);
                } else {
                    quantities(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(quantities),
        _ => {}
    }
}

fn number_to_string(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = Value::String(number.to_string());
    }
}
