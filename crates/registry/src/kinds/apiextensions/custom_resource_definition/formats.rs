//! The formats that a schema names (Kubernetes: `apiextensions-apiserver/pkg/apiserver/validation/formats.go`).

use api_types::apiextensions::CustomResourceDefinition;
use serde_json::Value;

use crate::custom_resource::schemas;

/// Of texts, without their hyphens.
const OF_TEXT: [&str; 26] = [
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Those of all versions by which nothing is validated.
pub(super) fn unrecognized(definition: &CustomResourceDefinition) -> Vec<String> {
    let mut found = Vec::new();
    schemas(definition).iter().flatten().for_each(|schema| collect(schema, &mut found));
    found
}

fn collect(schema: &Value, found: &mut Vec<String>) {
    let text = |field| schema.get(field).and_then(Value::as_str).unwrap_or_default();
    let format = text("format");
    if !format.is_empty() && !is_recognized(text("type"), format) {
        found.push(format.to_owned());
    }
    for field in ["items", "not", "additionalProperties"] {
        schema.get(field).into_iter().for_each(|inner| collect(inner, found));
    }
    for field in ["allOf", "anyOf", "oneOf"] {
        let inner = schema.get(field).and_then(Value::as_array);
        inner.into_iter().flatten().for_each(|inner| collect(inner, found));
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    properties.into_iter().flatten().for_each(|(_, inner)| collect(inner, found));
}

fn is_recognized(type_: &str, format: &str) -> bool {
    match type_ {
        "" | "string" => OF_TEXT.contains(&format.replace('-', "").as_str()),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
    }
}
