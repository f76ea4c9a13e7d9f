//! What a structural schema makes of an object before anything is validated: fields that it doesn't have go, defaults come
//! (Kubernetes: `apiextensions-apiserver/pkg/apiserver/schema/{pruning,defaulting}`).

use serde_json::{Map, Value};

/// Fields of every object that is one of the API: no schema has to have them.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields that the schema doesn't have, and notes their paths.
pub(super) fn prune(
    schema: &Value,
    object: &mut Map<String, Value>,
    path: &str,
    unknown: &mut Vec<String>,
) {
    let keeps_unknown = is_set(schema, "x-kubernetes-preserve-unknown-fields");
    let is_object_of_api = is_set(schema, "x-kubernetes-embedded-resource");
    object.retain(|name, value| {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        if let Some(schema) = of_field(schema, name) {
            prune_value(schema, value, &path, unknown);
            return true;
        }
        let is_kept = keeps_unknown || is_object_of_api && OF_EVERY_OBJECT.contains(&&**name);
        if !is_kept {
            unknown.push(path);
        }
        is_kept
    });
}

fn prune_value(schema: &Value, value: &mut Value, path: &str, unknown: &mut Vec<String>) {
    match value {
        // `additionalProperties: true`
        _ if schema.is_boolean() => {}
        Value::Object(object) => prune(schema, object, path, unknown),
        Value::Array(list) => {
            for (index, element) in list.iter_mut().enumerate() {
                prune_value(&schema["items"], element, &format!("{path}[{index}]"), unknown);
            }
        }
        _ => {}
    }
}

/// Says what the object doesn't say. Null counts as not said where it is no value.
pub(super) fn default(schema: &Value, object: &mut Map<String, Value>) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if object.get(name).is_some_and(Value::is_null) && !is_set(schema, "nullable") {
            object.remove(name);
        }
        if let (None, Some(default)) = (object.get(name), schema.get("default")) {
            object.insert(name.clone(), default.clone());
        }
    }
    for (name, value) in object {
        of_field(schema, name).into_iter().for_each(|schema| default_value(schema, value));
    }
}

fn default_value(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => default(schema, object),
        Value::Array(list) => list.iter_mut().for_each(|v| default_value(&schema["items"], v)),
        _ => {}
    }
}

/// The schema of a field, if there is one.
fn of_field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let additional = schema.get("additionalProperties").filter(|schema| **schema != false);
    schema["properties"].get(name).or(additional)
}

/// Whether the schema says so.
pub(super) fn is_set(schema: &Value, flag: &str) -> bool {
    schema.get(flag).is_some_and(|value| *value == true)
}
