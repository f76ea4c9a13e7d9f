//! Finding the fields that a kind doesn't have: what is in the given object and not in its re-encoded form.

use serde_json::Value;

/// The paths of the unknown fields, as Kubernetes names them: `spec.containers[0].imagee`.
///
/// Flow: both values are walked together. An explicit null, an empty object or list vanishes in decoding and is
/// no unknown field by itself; inside it there is nothing to know.
#[must_use]
pub fn unknown_fields(given: &Value, reencoded: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(given, reencoded, &mut Vec::new(), &mut found);
    found
}

/// A step on the way to a field. The path is put together only for what is unknown: keys may be long, and many fields
/// below them.
enum Step<'v> {
    Key(&'v str),
    Index(usize),
}

fn walk<'v>(given: &'v Value, known: &Value, path: &mut Vec<Step<'v>>, found: &mut Vec<String>) {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => {
            for (key, value) in given {
                path.push(Step::Key(key));
                match known.get(key) {
                    Some(known) => walk(value, known, path, found),
                    None if is_nothing(value) => {}
                    None => found.push(rendered(path)),
                }
                path.pop();
            }
        }
        (Value::Array(given), Value::Array(known)) => {
            for (i, (given, known)) in given.iter().zip(known).enumerate() {
                path.push(Step::Index(i));
                walk(given, known, path, found);
                path.pop();
            }
        }
        _ => {}
    }
}

fn rendered(path: &[Step<'_>]) -> String {
    let step = |step: &Step<'_>| match step {
        Step::Key(key) => format!(".{key}"),
        Step::Index(index) => format!("[{index}]"),
    };
    let path: String = path.iter().map(step).collect();
    path.strip_prefix('.').unwrap_or(&path).to_owned()
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
    fn lists_within_lists_and_names_with_dots_are_spelled_as_they_are() {
        let given = json!({".a": [[{"b": 1}, {"c": 1}]], "x": {"y": {"z": 1}}, "k": 1});
        let known = json!({".a": [[{}, {}]], "x": {"y": {}}});
        let expected = [".a[0][0].b", ".a[0][1].c", "k", "x.y.z"];
        assert_eq!(unknown_fields(&given, &known), expected);
    }

    #[test]
    fn takes_nulls_and_empty_values_for_absent() {
        let given = json!({"metadata": {"creationTimestamp": null}, "status": {}, "items": []});
        assert!(unknown_fields(&given, &json!({"metadata": {}})).is_empty());
    }
}
