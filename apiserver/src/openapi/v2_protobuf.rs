//! A document of Swagger 2.0 as the message `openapi.v2.Document` of github.com/google/gnostic-models (`OpenAPIv2.proto`), in
//! which Go's clients read it. The tables have what such documents of API servers have: no headers, examples or security.

use api_machinery::encode;
use serde_json::Value;

use crate::protobuf::wire::{put_bytes, put_fixed64, put_varint, put_whole};

/// A field's number in the message, its name in JSON, and what it is.
type Field = (u64, &'static str, Shape);

#[derive(Clone, Copy, Debug)]
enum Shape {
    Text,
    Flag,
    Integer,
    Number,
    /// Any value: a message that has it as YAML.
    Any,
    Object(&'static [Field]),
    /// Fields of the same message, whose numbers go on from this one.
    Part(&'static [Field]),
    /// An object's own names: a message of the name and the value for each.
    Named(&'static Shape),
    /// The same field for each of a list; for what is no list once.
    Each(&'static Shape),
    /// What has a message to itself, under this number there: alternatives and lists in Go's types.
    Within(u64, &'static Shape),
    /// What the value says that it is.
    Choice(fn(&Value) -> &'static Shape),
    /// All fields whose names begin with `x-`.
    Extensions,
}

use Shape::{
    Any, Choice, Each, Extensions, Flag, Integer, Named, Number, Object, Part, Text, Within,
};

/// The document, encoded.
pub(super) fn encoded(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put_fields(&mut out, &DOCUMENT, document, 0);
    out
}

/// Writes the fields that an object has; the numbers go on from `after`.
fn put_fields(out: &mut Vec<u8>, fields: &[Field], object: &Value, after: u64) {
    for (number, name, shape) in fields {
        let number = after + number;
        match shape {
            Part(fields) => put_fields(out, fields, object, number),
            Extensions => put_extensions(out, number, object),
            shape => object.get(name).into_iter().for_each(|it| put(out, number, shape, it)),
        }
    }
}

fn put_extensions(out: &mut Vec<u8>, number: u64, object: &Value) {
    let fields = object.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, _)| name.starts_with("x-")) {
        put_named(out, number, &Any, (name, value));
    }
}

fn put_named(out: &mut Vec<u8>, number: u64, shape: &Shape, (name, value): (&String, &Value)) {
    put_whole(out, number, |out| {
        put_bytes(out, 1, name.as_bytes());
        put(out, 2, shape, value);
    });
}

/// Writes a field.
fn put(out: &mut Vec<u8>, number: u64, shape: &Shape, value: &Value) {
    match shape {
        Text => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Flag => put_varint(out, number, u64::from(*value == true)),
        Integer => put_varint(out, number, value.as_u64().unwrap_or_default()),
        Number => put_fixed64(out, number, value.as_f64().unwrap_or_default().to_bits()),
        Any => put_whole(out, number, |out| put_bytes(out, 2, encode::yaml(value).as_bytes())),
        Object(fields) => put_whole(out, number, |out| put_fields(out, fields, value, 0)),
        Named(shape) => {
            let fields = value.as_object().into_iter().flatten();
            fields.for_each(|field| put_named(out, number, shape, field));
        }
        Each(shape) => match value.as_array() {
            Some(items) => items.iter().for_each(|item| put(out, number, shape, item)),
            None => put(out, number, shape, value),
        },
        Within(inner, shape) => put_whole(out, number, |out| put(out, *inner, shape, value)),
        Choice(choose) => put(out, number, choose(value), value),
        // They are the message's that they are in.
        Part(_) | Extensions => {}
    }
}

static DOCUMENT: [Field; 5] = [
    (1, "swagger", Text),
    (2, "info", Object(&[(1, "title", Text), (2, "version", Text)])),
    (8, "paths", Within(2, &Named(&PATH_ITEM))),
    (9, "definitions", Within(1, &Named(&SCHEMA))),
    (10, "parameters", Within(1, &Named(&Choice(parameter)))),
];

static PATH_ITEM: Shape = Object(&[
    (2, "get", OPERATION),
    (3, "put", OPERATION),
    (4, "post", OPERATION),
    (5, "delete", OPERATION),
    (6, "options", OPERATION),
    (7, "head", OPERATION),
    (8, "patch", OPERATION),
    (9, "parameters", Each(&Choice(parameter_or_reference))),
    (10, "", Extensions),
]);

static OPERATION: Shape = Object(&[
    (1, "tags", Each(&Text)),
    (2, "summary", Text),
    (3, "description", Text),
    (5, "operationId", Text),
    (6, "produces", Each(&Text)),
    (7, "consumes", Each(&Text)),
    (8, "parameters", Each(&Choice(parameter_or_reference))),
    (9, "responses", Within(1, &Named(&Within(1, &RESPONSE)))),
    (10, "schemes", Each(&Text)),
    (11, "deprecated", Flag),
    (13, "", Extensions),
]);

static RESPONSE: Shape =
    Object(&[(1, "description", Text), (2, "schema", Within(1, &SCHEMA)), (5, "", Extensions)]);

static REFERENCE: Shape = Within(2, &Object(&[(1, "$ref", Text)]));
static PARAMETER: Shape = Within(1, &Choice(parameter));

static BODY: Shape = Within(
    1,
    &Object(&[
        (1, "description", Text),
        (2, "name", Text),
        (3, "in", Text),
        (4, "required", Flag),
        (5, "schema", SCHEMA),
        (6, "", Extensions),
    ]),
);
static HEADER: Shape = Within(2, &Within(1, &PLACED));
static FORM: Shape = Within(2, &Within(2, &PERHAPS_EMPTY));
static QUERY: Shape = Within(2, &Within(3, &PERHAPS_EMPTY));
static PATH: Shape = Within(2, &Within(4, &PLACED));

/// A parameter in a header or a path.
static PLACED: Shape = Object(&[(0, "", Part(&NAME)), (4, "", Part(&VALUE))]);
/// A parameter in a query or a form.
static PERHAPS_EMPTY: Shape =
    Object(&[(0, "", Part(&NAME)), (5, "allowEmptyValue", Flag), (5, "", Part(&VALUE))]);

static NAME: [Field; 4] =
    [(1, "required", Flag), (2, "in", Text), (3, "description", Text), (4, "name", Text)];

static VALUE: [Field; 18] = [
    (1, "type", Text),
    (2, "format", Text),
    (3, "items", Object(&VALUE)),
    (4, "collectionFormat", Text),
    (5, "default", Any),
    (6, "maximum", Number),
    (7, "exclusiveMaximum", Flag),
    (8, "minimum", Number),
    (9, "exclusiveMinimum", Flag),
    (10, "maxLength", Integer),
    (11, "minLength", Integer),
    (12, "pattern", Text),
    (13, "maxItems", Integer),
    (14, "minItems", Integer),
    (15, "uniqueItems", Flag),
    (16, "enum", Each(&Any)),
    (17, "multipleOf", Number),
    (18, "", Extensions),
];

static SCHEMA: Shape = Object(&[
    (1, "$ref", Text),
    (2, "format", Text),
    (3, "title", Text),
    (4, "description", Text),
    (5, "default", Any),
    (6, "multipleOf", Number),
    (7, "maximum", Number),
    (8, "exclusiveMaximum", Flag),
    (9, "minimum", Number),
    (10, "exclusiveMinimum", Flag),
    (11, "maxLength", Integer),
    (12, "minLength", Integer),
    (13, "pattern", Text),
    (14, "maxItems", Integer),
    (15, "minItems", Integer),
    (16, "uniqueItems", Flag),
    (17, "maxProperties", Integer),
    (18, "minProperties", Integer),
    (19, "required", Each(&Text)),
    (20, "enum", Each(&Any)),
    (21, "additionalProperties", Choice(schema_or_flag)),
    (22, "type", Within(1, &Each(&Text))),
    (23, "items", Within(1, &Each(&SCHEMA))),
    (24, "allOf", Each(&SCHEMA)),
    (25, "properties", Within(1, &Named(&SCHEMA))),
    (27, "readOnly", Flag),
    (30, "example", Any),
    (31, "", Extensions),
]);

fn parameter_or_reference(value: &Value) -> &'static Shape {
    if value.get("$ref").is_some() { &REFERENCE } else { &PARAMETER }
}

fn parameter(value: &Value) -> &'static Shape {
    match value["in"].as_str() {
        Some("body") => &BODY,
        Some("header") => &HEADER,
        Some("formData") => &FORM,
        Some("path") => &PATH,
        _ => &QUERY,
    }
}

fn schema_or_flag(value: &Value) -> &'static Shape {
    static EITHER: [Shape; 2] = [Within(1, &SCHEMA), Within(2, &Flag)];
    &EITHER[usize::from(value.is_boolean())]
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
    use serde_json::json;

    use super::*;

    /// What `golden/document.json` is for gnostic-models v0.7.0 (`ParseDocument` and `proto.Marshal`).
    #[test]
    fn a_document_is_written_to_the_byte_as_gos_clients_would_write_it() {
        let document = serde_json::from_str(include_str!("golden/document.json")).unwrap();
        let expected = BASE64.decode(include_str!("golden/document.base64").trim()).unwrap();
        assert_eq!(encoded(&document), expected);
    }

    #[test]
    fn what_may_have_no_other_fields_says_so() {
        let document = json!({"definitions": {"X": {"additionalProperties": false}}});
        let expected = [74, 12, 10, 10, 10, 1, b'X', 18, 5, 0xaa, 1, 2, 0x10, 0];
        assert_eq!(encoded(&document), expected);
    }
}
