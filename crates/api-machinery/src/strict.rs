//! From values to types: a fault is told with its field, and so is a field that the type doesn't have.

use std::fmt;

use serde::de::DeserializeOwned;
pub use serde_ignored::Path;
use serde_json::Value;

use crate::decode::{LONGEST_PATH, MOST_TOLD};

/// Why a value is not of a type.
#[derive(Debug, thiserror::Error)]
pub struct Undecodable {
    /// `.` for the whole.
    path: String,
    fault: serde_json::Error,
}

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "." => write!(f, "{}", self.fault),
            path => write!(f, "{path}: {}", self.fault),
        }
    }
}

/// A value as its type understands it.
///
/// # Errors
/// If it isn't of the type.
pub fn decode<T: DeserializeOwned>(given: &Value) -> Result<T, Undecodable> {
    T::deserialize(given).map_err(|fault| located::<T>(given, fault))
}

/// The same, with the paths of the fields that the type doesn't have, as Kubernetes names them:
/// `spec.containers[0].imagee`. What is null or empty says nothing, wherever it is.
///
/// # Errors
/// If it isn't of the type.
pub fn decode_strictly<T: DeserializeOwned>(
    given: &Value,
) -> Result<(T, Vec<String>), Undecodable> {
    let mut unknown = Vec::new();
    let decoded = serde_ignored::deserialize(given, |path| {
        // To look for the value of each field below a long key would take minutes.
        let is_told = unknown.len() < MOST_TOLD
            && (length(&path) > LONGEST_PATH || !at(given, &path).is_none_or(is_nothing));
        if is_told {
            note(&mut unknown, &path);
        }
    });
    decoded.map(|object| (object, unknown)).map_err(|fault| located::<T>(given, fault))
}

/// Adds the path of a field that is unknown, unless enough are told of. A long path is cut.
pub fn note(unknown: &mut Vec<String>, path: &Path<'_>) {
    if unknown.len() < MOST_TOLD {
        let mut text = String::new();
        render(path, &mut text);
        unknown.push(text);
    }
}

/// The fault with its path, which costs a second decoding that knows where it is.
fn located<T: DeserializeOwned>(given: &Value, fault: serde_json::Error) -> Undecodable {
    match serde_path_to_error::deserialize::<_, T>(given) {
        Ok(_) => Undecodable { path: ".".to_owned(), fault },
        Err(error) => Undecodable { path: error.path().to_string(), fault: error.into_inner() },
    }
}

fn at<'v>(value: &'v Value, path: &Path<'_>) -> Option<&'v Value> {
    match path {
        Path::Root => Some(value),
        Path::Seq { parent, index } => at(value, parent)?.get(index),
        Path::Map { parent, key } => at(value, parent)?.get(key),
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => at(value, parent),
    }
}

/// About how long the path is as a text.
fn length(path: &Path<'_>) -> usize {
    match path {
        Path::Root => 0,
        Path::Seq { parent, .. }
        | Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => length(parent),
        Path::Map { parent, key } => length(parent) + key.len(),
    }
}

fn render(path: &Path<'_>, text: &mut String) {
    match path {
        Path::Root => {}
        Path::Seq { parent, index } => {
            render(parent, text);
            append(&format!("[{index}]"), text);
        }
        Path::Map { parent, key } => {
            render(parent, text);
            append(if text.is_empty() { "" } else { "." }, text);
            append(key, text);
        }
        Path::Some { parent }
        | Path::NewtypeStruct { parent }
        | Path::NewtypeVariant { parent } => render(parent, text),
    }
}

/// As much of it as there is room for.
fn append(part: &str, text: &mut String) {
    let room = LONGEST_PATH - text.len();
    text.push_str(&part[..part.floor_char_boundary(room)]);
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
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Known {
        a: Option<u8>,
        inner: Option<Box<Known>>,
        lists: Vec<Vec<Known>>,
        map: BTreeMap<String, Known>,
    }

    fn check(given: &Value, expected: &[&str]) {
        let (_, unknown) = decode_strictly::<Known>(given).unwrap();
        assert_eq!(unknown, expected, "{given}");
    }

    #[test]
    fn names_each_unknown_field_with_its_path() {
        check(
            &json!({"a": 1, "inner": {"b": 1, "inner": {"a": 2, "c": [0]}}}),
            &["inner.b", "inner.inner.c"],
        );
        check(
            &json!({"lists": [[{"b": 1}, {"a": 1}], [{"c": 1}]]}),
            &["lists[0][0].b", "lists[1][0].c"],
        );
    }

    #[test]
    fn names_with_dots_are_spelled_as_they_are() {
        check(&json!({".b": 1, "map": {"x.y": {"z": 1}}, "z": 1}), &[".b", "map.x.y.z", "z"]);
    }

    #[test]
    fn takes_nulls_and_empty_values_for_absent() {
        check(&json!({"b": null, "c": {}, "d": [], "inner": {"e": null}}), &[]);
        check(&json!({"b": {"c": null}}), &["b"]);
    }

    #[test]
    fn no_more_is_told_than_anybody_reads() {
        let fields: serde_json::Map<_, _> = (0..1000).map(|n| (n.to_string(), 1.into())).collect();
        let (_, unknown) = decode_strictly::<Known>(&json!({"inner": fields.clone()})).unwrap();
        assert_eq!(unknown.len(), MOST_TOLD);
        let key = "é".repeat(LONGEST_PATH);
        let (_, unknown) = decode_strictly::<Known>(&json!({"map": {key: fields}})).unwrap();
        assert_eq!(unknown.len(), MOST_TOLD);
        for path in unknown {
            assert!(path.starts_with("map.é"), "{path}");
            assert!((LONGEST_PATH - 1..=LONGEST_PATH).contains(&path.len()), "{}", path.len());
        }
    }

    #[test]
    fn tells_where_the_fault_is() {
        let fault = |given: Value| decode::<Known>(&given).unwrap_err().to_string();
        let why = "invalid type: string \"x\", expected u8";
        assert_eq!(fault(json!({"lists": [[{"a": "x"}]]})), format!("lists[0][0].a: {why}"));
        assert_eq!(fault(json!(3)), "invalid type: integer `3`, expected struct Known");
        let strict = decode_strictly::<Known>(&json!({"b": 1, "a": "x"})).unwrap_err();
        assert_eq!(strict.to_string(), format!("a: {why}"));
    }
}
