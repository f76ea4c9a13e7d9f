//! What expressions know of values, by their schemas (Kubernetes: `k8s.io/apiserver/pkg/cel/common/schemas.go`).

use std::{collections::BTreeMap, sync::Arc};

use expressions::{ObjectType, Type};
use serde_json::Value;

use super::super::structural_schema::is_set;

/// The type of the objects of a schema, as expressions see them.
#[must_use]
pub fn object_type(schema: &Value) -> Option<Type> {
    of(schema, true)
}

/// The type of a schema's values; none if expressions are not to see them. A whole object has what all objects have.
pub(super) fn of(schema: &Value, is_whole: bool) -> Option<Type> {
    if is_set(schema, "x-kubernetes-int-or-string") {
        return Some(Type::Dyn);
    }
    Some(match schema["type"].as_str()? {
        "array" => Type::list(within(&schema["items"])?),
        "object" if schema["additionalProperties"].is_object() && !is_whole => {
            Type::map(Type::String, within(&schema["additionalProperties"])?)
        }
        "object" => object(schema, is_whole),
        "string" => text(schema),
        "boolean" => Type::Bool,
        "number" => Type::Double,
        "integer" => Type::Int,
        _ => return None,
    })
}

fn within(schema: &Value) -> Option<Type> {
    of(schema, is_embedded(schema))
}

pub(super) fn is_embedded(schema: &Value) -> bool {
    is_set(schema, "x-kubernetes-embedded-resource")
}

fn object(schema: &Value, is_whole: bool) -> Type {
    let fields = schema["properties"].as_object().into_iter().flatten();
    let mut fields: BTreeMap<String, Type> =
        fields.filter_map(|(name, field)| Some((name.clone(), within(field)?))).collect();
    if is_whole && !says_what_all_have(schema) {
        let names = [("name", Type::String), ("generateName", Type::String)];
        fields.insert("metadata".to_owned(), Type::object("object", names));
        for name in ["apiVersion", "kind"] {
            fields.insert(name.to_owned(), Type::String);
        }
    }
    Type::Object(Arc::new(ObjectType { name: "object".to_owned(), fields }))
}

/// Whether a schema says itself what all objects have.
pub(super) fn says_what_all_have(schema: &Value) -> bool {
    let fields = &schema["properties"];
    let names = &fields["metadata"]["properties"];
    let texts = [&fields["kind"], &fields["apiVersion"], &names["name"], &names["generateName"]];
    fields["metadata"]["type"] == "object" && texts.iter().all(|field| field["type"] == "string")
}

fn text(schema: &Value) -> Type {
    match schema["format"].as_str() {
        Some("byte") => Type::Bytes,
        Some("duration") => Type::Duration,
        Some("date" | "date-time") => Type::Timestamp,
        _ => Type::String,
    }
}
