//! Operations in OpenAPI 3.0.

use serde_json::{Map, Value, json};

use super::{
    operation::{Body, Operation, Schema, path_parameters},
    parameters::Parameter,
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
        .map(|name| {
            json!({
                "name": name, "in": "path", "required": true,
                "schema": { "type": "string", "uniqueItems": true },
            })
        })
        .collect();
    if !parameters.is_empty() {
        item.insert("parameters".to_owned(), parameters.into());
    }
    Value::Object(item)
}

fn render(operation: &Operation, schemas: &mut Schemas) -> Value {
    let mut rendered = json!({
        "operationId": operation.id,
        "tags": [operation.tag],
        "x-kubernetes-action": operation.action,
        "x-kubernetes-group-version-kind": operation.kind,
        "responses": responses(operation, schemas),
    });
    if !operation.query.is_empty() {
        rendered["parameters"] = operation.query.iter().map(|p| parameter(p)).collect();
    }
    if let Some(body) = &operation.body {
        rendered["requestBody"] = request_body(body, schemas);
    }
    rendered
}

fn parameter(parameter: &Parameter) -> Value {
    json!({
        "name": parameter.name, "in": "query", "description": parameter.description,
        "schema": { "type": parameter.type_, "uniqueItems": true },
    })
}

fn request_body(body: &Body, schemas: &mut Schemas) -> Value {
    let mut rendered = json!({ "content": content(body.media_types, &body.schema, schemas) });
    if body.required {
        rendered["required"] = true.into();
    }
    rendered
}

fn responses(operation: &Operation, schemas: &mut Schemas) -> Value {
    let media: &[&str] =
        if operation.answer == Schema::Text { &["text/plain"] } else { &["application/json"] };
    let mut responses = Map::new();
    for (code, description) in operation.answers {
        let content = content(media, &operation.answer, schemas);
        let response = json!({ "description": description, "content": content });
        responses.insert((*code).to_owned(), response);
    }
    responses.insert("401".to_owned(), json!({ "description": "Unauthorized" }));
    Value::Object(responses)
}

fn content(media_types: &[&str], schema: &Schema, schemas: &mut Schemas) -> Value {
    let schema = schemas.reference(schema);
    let media = |media: &&str| ((*media).to_owned(), json!({ "schema": schema }));
    Value::Object(media_types.iter().map(media).collect())
}
