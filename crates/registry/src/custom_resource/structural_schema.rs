//! What a structural schema makes of an object before anything is validated: fields that it doesn't have go, defaults come
//! (Kubernetes: `apiextensions-apiserver/pkg/apiserver/schema/{pruning,defaulting}`).

use api_machinery::strict::{self, Path};
use serde_json::{Map, Value};

/// Fields of every object that is one of the API: no schema has to have them.
const OF_EVERY_OBJECT: [&str; 3] = ["apiVersion", "kind", "metadata"];

/// Removes the fields that the schema doesn't have, and notes their paths.
pub(super) fn prune(schema: &Value, object: &mut Map<String, Value>, unknown: &mut Vec<String>) {
    prune_object(schema, preserves_unknown(schema), object, &Path::Root, unknown);
}

/// The same of a value of any type.
pub(super) fn prune_any(schema: &Value, value: &mut Value, unknown: &mut Vec<String>) {
    prune_value(schema, preserves_unknown(schema), value, &Path::Root, unknown);
}

fn prune_object(
    schema: &Value,
    preserves: bool,
    object: &mut Map<String, Value>,
    parent: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    let is_object_of_api = is_set(schema, "x-kubernetes-embedded-resource");
    object.retain(|name, value| {
        if is_object_of_api && OF_EVERY_OBJECT.contains(&&**name) {
            return true;
        }
        let path = Path::Map { parent, key: name.clone() };
        let known = of_field(schema, name);
        match known {
            Some(schema) => prune_value(schema, preserves_unknown(schema), value, &path, unknown),
            None if preserves => {}
            None => strict::note(unknown, &path),
        }
        known.is_some() || preserves
    });
}

/// A list that preserves unknown fields preserves those of its elements.
fn prune_value(
    schema: &Value,
    preserves: bool,
    value: &mut Value,
    path: &Path<'_>,
    unknown: &mut Vec<String>,
) {
    match value {
        // `additionalProperties: true`
        _ if schema.is_boolean() => {}
        Value::Object(object) => prune_object(schema, preserves, object, path, unknown),
        Value::Array(list) => {
            let items = &schema["items"];
            let preserves = preserves || preserves_unknown(items);
            for (index, element) in list.iter_mut().enumerate() {
                let path = Path::Seq { parent: path, index };
                prune_value(items, preserves, element, &path, unknown);
            }
        }
        _ => {}
    }
}

fn preserves_unknown(schema: &Value) -> bool {
    is_set(schema, "x-kubernetes-preserve-unknown-fields")
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
pub(super) fn of_field<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    let additional = schema.get("additionalProperties").filter(|schema| **schema != false);
    schema["properties"].get(name).or(additional)
}

/// Whether the schema says so.
pub(crate) fn is_set(schema: &Value, flag: &str) -> bool {
    schema.get(flag).is_some_and(|value| *value == true)
}
