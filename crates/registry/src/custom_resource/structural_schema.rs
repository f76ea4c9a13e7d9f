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

/// Removes the fields of a whole object that the schema doesn't have, and nulls that are no values
/// (Kubernetes: `unstructuredSchemaCoercer`).
pub(super) fn adapt(schema: &Value, object: &mut Value) {
    let Some(object) = object.as_object_mut() else { return };
    let own = OF_EVERY_OBJECT.map(|name| (name, object.remove(name)));
    prune(schema, object, &mut Vec::new());
    drop_nulls(schema, object);
    object.extend(own.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))));
}

fn drop_nulls(schema: &Value, object: &mut Map<String, Value>) {
    object.retain(|name, value| {
        let Some(schema) = of_field(schema, name).filter(|schema| schema.is_object()) else {
            return true;
        };
        drop_nulls_within(schema, value);
        !value.is_null() || is_set(schema, "nullable") || schema.get("default").is_some()
    });
}

fn drop_nulls_within(schema: &Value, value: &mut Value) {
    match value {
        Value::Object(object) => drop_nulls(schema, object),
        Value::Array(list) => {
            list.iter_mut().for_each(|value| drop_nulls_within(&schema["items"], value));
        }
        _ => {}
    }
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

/// How much an object may have, in about the bytes of its JSON: more than a client may send, so that it is the defaults
/// of a schema that have made it larger.
pub(super) const LARGEST: usize = 8 << 20;

/// Says what the object doesn't say. Null counts as not said where it is no value. What would make an object too large is
/// not said: such an object is refused.
pub(super) fn default(schema: &Value, object: &mut Map<String, Value>) {
    default_within(schema, object, &mut LARGEST.clone());
}

fn default_within(schema: &Value, object: &mut Map<String, Value>, room: &mut usize) {
    for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
        if object.get(name).is_some_and(Value::is_null) && !is_set(schema, "nullable") {
            object.remove(name);
        }
        if let (None, Some(default)) = (object.get(name), schema.get("default")) {
            if *room == 0 {
                return;
            }
            *room = room.saturating_sub(name.len() + size(default));
            object.insert(name.clone(), default.clone());
        }
    }
    for (name, value) in object {
        of_field(schema, name).into_iter().for_each(|schema| default_value(schema, value, room));
    }
}

fn default_value(schema: &Value, value: &mut Value, room: &mut usize) {
    match value {
        Value::Object(object) => default_within(schema, object, room),
        Value::Array(list) => {
            list.iter_mut().for_each(|v| default_value(&schema["items"], v, room));
        }
        _ => {}
    }
}

/// About how long its JSON is.
pub(super) fn size(value: &Value) -> usize {
    4 + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(size).sum(),
        Value::Object(fields) => size_of(fields),
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// The same of fields.
pub(super) fn size_of(fields: &Map<String, Value>) -> usize {
    fields.iter().map(|(name, value)| name.len() + size(value)).sum()
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
