//! Finding the fields that a kind doesn't have: what is in the given object and not in its re-encoded form.

use serde_json::Value;

/// The paths of the unknown fields, as Kubernetes names them: `spec.containers[0].imagee`.
///
/// Flow: both values are walked together. An explicit null, an empty object or list vanishes in decoding and is
/// no unknown field by itself; inside it there is nothing to know.
#[must_use]
pub fn unknown_fields(given: &Value, reencoded: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(given, reencoded, "", &mut found);
    found
}

fn walk(given: &Value, known: &Value, path: &str, found: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                match known.get(key) {
                    Some(known) => walk(value, known, &path, found),
                    None if is_nothing(value) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (i, (given, known)) in given.iter().zip(known).enumerate() {
                walk(given, known, &format!("{path}[{i}]"), found);
            }
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::unknown_fields;

    #[test]
    fn names_each_unknown_field_with_its_path() {
        let given =
            json!({"spec": {"containers": [{"name": "a", "imagee": "x"}], "nodename": "n"}});
        let known = json!({"metadata": {}, "spec": {"containers": [{"name": "a"}]}});
        assert_eq!(unknown_fields(&given, &known), ["spec.containers[0].imagee", "spec.nodename"]);
    }

    #[test]
    fn takes_nulls_and_empty_values_for_absent() {
        let given = json!({"metadata": {"creationTimestamp": null}, "status": {}, "items": []});
        assert!(unknown_fields(&given, &json!({"metadata": {}})).is_empty());
    }
}
