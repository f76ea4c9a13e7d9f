//! How large values may be, by their schemas (Kubernetes: `SchemaDeclType` in `k8s.io/apiserver/pkg/cel/common/schemas.go`).

use std::collections::BTreeMap;

use expressions::{Bounds, Program};
use serde_json::Value;

use super::{
    super::structural_schema::is_set,
    types::{is_embedded, says_what_all_have},
};

/// A whole object has no more octets than a request may have.
const REQUEST: u64 = 3 << 20;
/// Without its quotes, or brackets.
const LONGEST: u64 = REQUEST - 2;
/// A letter has as many octets.
const LETTER: u64 = 4;

/// The bounds of a schema's values.
#[derive(Debug)]
pub(super) struct Sizes {
    pub(super) bounds: Bounds,
    /// The octets of the smallest, as JSON.
    least: u64,
}

impl Sizes {
    /// Of a value with so many letters, elements or entries.
    fn up_to(most: u64, least: u64) -> Self {
        Self { bounds: Bounds { most, ..Bounds::default() }, least }
    }

    /// What a rule over one of the values costs at most; Kubernetes takes whatever has a name for the whole of the schema.
    pub(super) fn estimate(&self, rule: &Program) -> u64 {
        rule.estimate(&self.bounds, Some(&self.bounds))
    }

    /// As many of the values an object may have: with a comma each, and nothing else.
    pub(super) fn most_values(&self) -> u64 {
        REQUEST / (self.least + 1)
    }
}

/// The sizes of a schema's values; none if expressions are not to see them.
pub(super) fn of(schema: &Value, is_whole: bool) -> Option<Sizes> {
    if is_set(schema, "x-kubernetes-int-or-string") {
        return Some(Sizes::up_to(letters(schema).unwrap_or(LONGEST), 1));
    }
    Some(match schema["type"].as_str()? {
        "array" => {
            let items = within(&schema["items"])?;
            let most = limit(schema, "maxItems").unwrap_or(LONGEST / (items.least + 1));
            let elements = Some(Box::new(items.bounds));
            Sizes { bounds: Bounds { most, elements, ..Bounds::default() }, least: 2 }
        }
        "object" if schema["additionalProperties"].is_object() => {
            let values = within(&schema["additionalProperties"])?;
            // An empty key, a colon and a comma.
            let most = limit(schema, "maxProperties").unwrap_or(LONGEST / (values.least + 6));
            let elements = Some(Box::new(values.bounds));
            let keys = Some(Box::default());
            Sizes { bounds: Bounds { most, keys, elements, ..Bounds::default() }, least: 2 }
        }
        "object" => object(schema, is_whole),
        "string" => text(schema),
        "boolean" => Sizes::up_to(0, 4),
        "number" | "integer" => Sizes::up_to(0, 1),
        _ => return None,
    })
}

fn within(schema: &Value) -> Option<Sizes> {
    of(schema, is_embedded(schema))
}

fn limit(schema: &Value, keyword: &str) -> Option<u64> {
    let given = schema.get(keyword)?.as_i64()?;
    Some(u64::try_from(given).unwrap_or(0))
}

fn letters(schema: &Value) -> Option<u64> {
    limit(schema, "maxLength").map(|letters| letters.saturating_mul(LETTER))
}

fn text(schema: &Value) -> Sizes {
    match schema["format"].as_str() {
        Some("byte") => Sizes::up_to(limit(schema, "maxLength").unwrap_or(LONGEST), 2),
        Some("duration") => Sizes::up_to(32, 3),
        Some("date") => Sizes::up_to(12, 12),
        Some("date-time") => Sizes::up_to(32, 21),
        _ => {
            let named = schema["enum"].as_array().filter(|named| !named.is_empty());
            let longest = named.map(|named| {
                named.iter().filter_map(Value::as_str).map(str::len).max().unwrap_or(0) as u64
            });
            Sizes::up_to(letters(schema).or(longest).unwrap_or(LONGEST), 2)
        }
    }
}

fn object(schema: &Value, is_whole: bool) -> Sizes {
    let required = || schema["required"].as_array().into_iter().flatten();
    let (mut fields, mut least) = (BTreeMap::new(), 2);
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let Some(sizes) = within(field) else { continue };
        if field.get("default").is_none() && required().any(|it| it == name) {
            least += name.len() as u64 + sizes.least + 4;
        }
        fields.insert(name.clone(), sizes.bounds);
    }
    if is_whole && !says_what_all_have(schema) {
        let texts = ["name", "generateName"].map(|name| (name.to_owned(), any_text()));
        let metadata = Bounds { fields: BTreeMap::from(texts), ..Bounds::default() };
        fields.insert("metadata".to_owned(), metadata);
        fields.extend(["apiVersion", "kind"].map(|name| (name.to_owned(), any_text())));
    }
    Sizes { bounds: Bounds { fields, ..Bounds::default() }, least }
}

fn any_text() -> Bounds {
    Bounds { most: LONGEST, ..Bounds::default() }
}

/// How many values there may be within one of a schema, if that is bounded.
pub(super) fn factor(schema: &Value) -> Option<u64> {
    match schema["type"].as_str() {
        Some("object") if schema.get("additionalProperties").is_some() => {
            limit(schema, "maxProperties")
        }
        Some("array") => limit(schema, "maxItems"),
        _ => Some(1),
    }
}
