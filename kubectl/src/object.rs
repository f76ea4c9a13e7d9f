//! Reading objects of any kind as JSON: names, labels, and fields by JSON pointer.

use std::collections::BTreeMap;

use api_machinery::selector::LabelSelector;
use api_types::{Resource, meta, minik8s::GpuJob};
use serde::Deserialize;
use serde_json::Value;

/// JSON as Go writes it: what HTML gives a meaning, and what JavaScript takes for the end of a line, is escaped.
pub(crate) fn as_go_writes(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '&' | '<' | '>' | '\u{2028}' | '\u{2029}' => {
                text.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => text.push(c),
        }
    }
    text
}

/// The text at this JSON pointer, empty where there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The number at this JSON pointer.
#[must_use]
pub fn number(object: &Value, pointer: &str) -> Option<i64> {
    object.pointer(pointer).and_then(Value::as_i64)
}

/// The list at this JSON pointer, empty where there is none.
#[must_use]
pub fn list<'a>(object: &'a Value, pointer: &str) -> &'a [Value] {
    object.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The objects of an answer: a list's items, which say their kind only through the list's, or the one.
#[must_use]
pub fn items(mut answer: Value) -> Vec<Value> {
    let Some(kind) = kind(&answer).strip_suffix("List").map(str::to_owned) else {
        return vec![answer];
    };
    let api_version = answer["apiVersion"].take();
    let Value::Array(mut items) = answer["items"].take() else { return Vec::new() };
    for item in items.iter_mut().filter(|item| item["kind"].is_null()) {
        item["kind"] = kind.clone().into();
        item["apiVersion"] = api_version.clone();
    }
    items
}

/// The map of texts at this JSON pointer (labels, annotations, selectors).
#[must_use]
pub fn map(object: &Value, pointer: &str) -> BTreeMap<String, String> {
    let entries = object.pointer(pointer).and_then(Value::as_object);
    entries.into_iter().flatten().map(|(k, v)| (k.clone(), scalar(v))).collect()
}

/// A scalar as people write it.
#[must_use]
pub fn scalar(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// `metadata.name`.
#[must_use]
pub fn name(object: &Value) -> &str {
    text(object, "/metadata/name")
}

/// `metadata.namespace`, if given.
#[must_use]
pub fn namespace(object: &Value) -> Option<&str> {
    Some(text(object, "/metadata/namespace")).filter(|n| !n.is_empty())
}

/// `kind`.
#[must_use]
pub fn kind(object: &Value) -> &str {
    text(object, "/kind")
}

/// Group and version of `apiVersion`; the core group is empty.
#[must_use]
pub fn group_version(object: &Value) -> (&str, &str) {
    let api_version = text(object, "/apiVersion");
    api_version.split_once('/').unwrap_or(("", api_version))
}

/// A map as a selector prints it: `a=b,c=d`, or `<none>`.
#[must_use]
pub fn joined(map: &BTreeMap<String, String>) -> String {
    if map.is_empty() {
        return "<none>".to_owned();
    }
    let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{k}={v}")).collect();
    pairs.join(",")
}

/// The pods that a controller or service selects, by either form of `spec.selector`, or that a GPU job has; `None` if it
/// selects none.
#[must_use]
pub fn selector(object: &Value) -> Option<LabelSelector> {
    if kind(object) == GpuJob::KIND {
        let own = [(GpuJob::LABEL.to_owned(), name(object).to_owned())];
        return Some(LabelSelector::from_labels(&own.into()));
    }
    let given = object.pointer("/spec/selector")?;
    let is_map = given.get("matchLabels").or(given.get("matchExpressions")).is_none();
    let selector = match is_map {
        true => LabelSelector::from_labels(&map(object, "/spec/selector")),
        false => {
            let given = meta::LabelSelector::deserialize(given).ok()?;
            LabelSelector::try_from(&given).ok()?
        }
    };
    Some(selector).filter(|selector| !selector.is_everything())
}

/// A selector as pages show it.
#[must_use]
pub fn selector_text(object: &Value) -> String {
    selector(object).map_or_else(|| "<none>".to_owned(), |selector| selector.to_string())
}

/// How many bytes the base64 text stands for.
#[must_use]
pub fn decoded_length(encoded: &str) -> usize {
    encoded.trim_end_matches('=').len() * 3 / 4
}

/// `name` of a part (a container, a port, a volume).
#[must_use]
pub fn name_of(part: &Value) -> &str {
    text(part, "/name")
}
