//! Operations in Swagger 2.0.

use serde_json::{Map, Value, json};

use super::{
    operation::{Operation, Schema, path_parameters},
    schemas::Schemas,
};

/// A path with its operations.
pub(super) fn path_item(path: &str, operations: Vec<Operation>, schemas: &mut Schemas) -> Value {
    let mut item = Map::new();
    for operation in operations {
        let method = operation.method.as_str().to_lowercase();
        item.insert(method, render(&operation, schemas));
    }
    let parameters: Vec<Value> = path_parameters(path)
        .map(|name| json!({ "name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true }))
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    Value::Object(item)
}

fn render(operation: &Operation, schemas: &mut Schemas) -> Value {
    let produces = if operation.answer == Schema::Text { "text/plain" } else { "application/json" };
    let mut rendered = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.kind,
        "produces": [produces],
        "parameters": parameters(operation, schemas),
        "responses": responses(operation, schemas),
    });
    if let Some(body) = &operation.body {
        rendered["consumes"] = json!(body.media_types);
    }
    rendered
}

fn parameters(operation: &Operation, schemas: &mut Schemas) -> Vec<Value> {
    let body = operation.body.as_ref().map(|body| {
        let schema = schemas.reference(&body.schema);
        json!({ "name": "body", "in": "body", "required": body.required, "schema": schema })
    });
    let query = operation.query.iter().map(|p| {
        json!({
            "name": p.name, "in": "query", "description": p.description, "type": p.type_,
            "uniqueItems": true,
        })
    });
    body.into_iter().chain(query).collect()
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let schema = schemas.reference(&operation.answer);
    let answers = operation.answers.iter().map(|(code, description)| {
        ((*code).to_owned(), json!({ "description": description, "schema": schema }))
    });
    let mut responses: Map<String, Value> = answers.collect();
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    Value::Object(responses)
}

/// What a schema of Swagger 2.0 may say, beside `x-…`.
const KEYWORDS: [&str; 24] = [
    "$ref",
    "additionalProperties",
    "allOf",
    "default",
    "description",
    "enum",
    "example",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minProperties",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "type",
];

/// What its own schema takes for an object, though a default may be a text.
const ANYTHING: &str = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON";

/// The same of a definition. Of a kind whose objects may have any fields it must not have any, or kubectl would take those
/// for all (Kubernetes: `apiextensions-apiserver/pkg/controller/openapi/builder`).
pub(super) fn simplify_definition(name: &str, schema: &mut Value) {
    const KIND: &str = "x-kubernetes-group-version-kind";
    if name == ANYTHING {
        *schema = json!({ "description": schema["description"].take() });
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true && schema[KIND].is_array() {
        *schema = json!({ "type": "object", KIND: schema[KIND].take() });
    }
    simplify(schema);
}

/// Leaves of a schema what Swagger 2.0 knows, which is no alternatives.
fn simplify(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else { return };
    join_single(fields);
    fields.retain(|name, _| KEYWORDS.contains(&name.as_str()) || name.starts_with("x-"));
    for inner in ["additionalProperties", "items"] {
        fields.get_mut(inner).into_iter().for_each(simplify);
    }
    let properties = fields.get_mut("properties").and_then(Value::as_object_mut);
    properties.into_iter().flatten().for_each(|(_, schema)| simplify(schema));
    let all = fields.get_mut("allOf").and_then(Value::as_array_mut);
    all.into_iter().flatten().for_each(simplify);
}

/// `allOf: [X]` is X: clients look for a reference there alone, and know nothing of what has none.
fn join_single(fields: &mut Map<String, Value>) {
    let all = fields.get_mut("allOf").and_then(Value::as_array_mut);
    let single = all.filter(|all| all.len() == 1).and_then(Vec::pop);
    let Some(Value::Object(single)) = single else { return };
    fields.remove("allOf");
    for (name, value) in single {
        fields.entry(name).or_insert(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_whose_objects_may_have_any_fields_tells_none() {
        let kind = json!([{"group": "x.io", "version": "v1", "kind": "X"}]);
        let mut schema = json!({
            "type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"kind": {"type": "string"}}, "x-kubernetes-group-version-kind": kind,
        });
        simplify_definition("io.x.v1.X", &mut schema);
        assert_eq!(schema, json!({"type": "object", "x-kubernetes-group-version-kind": kind}));
    }

    #[test]
    fn a_reference_is_no_alternative_and_what_has_alternatives_says_nothing() {
        let check = |mut schema: Value, expected: Value| {
            simplify(&mut schema);
            assert_eq!(schema, expected);
        };
        let reference = json!({"$ref": "#/definitions/X"});
        check(
            json!({"properties": {"a": {"description": "An a.", "allOf": [reference]}}}),
            json!({"properties": {"a": {"description": "An a.", "$ref": "#/definitions/X"}}}),
        );
        check(
            json!({"description": "Ours.", "allOf": [{"description": "Theirs.", "type": "string"}]}),
            json!({"description": "Ours.", "type": "string"}),
        );
        let two = json!({"allOf": [reference, {"minimum": 1}]});
        check(two.clone(), two);
        check(json!({"anyOf": [reference, {"type": "boolean"}]}), json!({}));
    }
}
