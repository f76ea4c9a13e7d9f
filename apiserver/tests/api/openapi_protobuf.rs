//! The document of OpenAPI v2 in protobuf, as Go's clients ask for it: what it says is what the one in JSON says.

use std::collections::{BTreeMap, BTreeSet};

use axum::body::Body;
use http_body_util::BodyExt;
use prost::Message;
use serde_json::Value;

use crate::{
    custom_resources::cron_tab,
    harness::{Api, JSON},
};

/// What client-go asks for, and what it is called.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const NAMED: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

/// What of `openapi.v2.Document` is looked at.
#[derive(Clone, PartialEq, Message)]
struct Document {
    #[prost(string, tag = "1")]
    swagger: String,
    #[prost(message, required, tag = "8")]
    paths: Paths,
    #[prost(message, required, tag = "9")]
    definitions: Schemas,
}

#[derive(Clone, PartialEq, Message)]
struct Paths {
    #[prost(message, repeated, tag = "2")]
    all: Vec<NamedPath>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedPath {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, required, tag = "2")]
    path: Path,
}

#[derive(Clone, PartialEq, Message)]
struct Path {
    #[prost(message, optional, tag = "2")]
    get: Option<Operation>,
}

#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, tag = "5")]
    id: String,
    #[prost(string, repeated, tag = "6")]
    produces: Vec<String>,
    #[prost(message, repeated, tag = "8")]
    parameters: Vec<Empty>,
    #[prost(message, repeated, tag = "13")]
    extensions: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct Empty {}

#[derive(Clone, PartialEq, Message)]
struct Schemas {
    #[prost(message, repeated, tag = "1")]
    all: Vec<NamedSchema>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedSchema {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, required, tag = "2")]
    schema: Schema,
}

#[derive(Clone, PartialEq, Message)]
struct Schema {
    #[prost(string, tag = "1")]
    reference: String,
    #[prost(string, tag = "2")]
    format: String,
    #[prost(string, tag = "4")]
    description: String,
    #[prost(string, repeated, tag = "19")]
    required: Vec<String>,
    #[prost(message, repeated, tag = "20")]
    values: Vec<Any>,
    #[prost(message, optional, tag = "21")]
    others: Option<Others>,
    #[prost(message, optional, tag = "22")]
    type_: Option<Texts>,
    #[prost(message, optional, tag = "23")]
    items: Option<Items>,
    #[prost(message, optional, tag = "25")]
    properties: Option<Schemas>,
    #[prost(message, repeated, tag = "31")]
    extensions: Vec<NamedAny>,
}

#[derive(Clone, PartialEq, Message)]
struct Others {
    #[prost(message, optional, boxed, tag = "1")]
    schema: Option<Box<Schema>>,
}

#[derive(Clone, PartialEq, Message)]
struct Items {
    #[prost(message, repeated, tag = "1")]
    schemas: Vec<Schema>,
}

#[derive(Clone, PartialEq, Message)]
struct Texts {
    #[prost(string, repeated, tag = "1")]
    all: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
struct NamedAny {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, required, tag = "2")]
    value: Any,
}

#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "2")]
    yaml: String,
}

async fn document(api: &Api, accept: &str) -> Document {
    let response = api.exchange("GET", "/openapi/v2", (JSON, accept), Body::empty()).await;
    assert_eq!(response.status().as_u16(), 200);
    assert_eq!(response.headers()["content-type"], NAMED);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Document::decode(body).unwrap()
}

#[tokio::test]
async fn the_document_in_protobuf_says_what_the_one_in_json_says() {
    let api = Api::start().await;
    let mut kinds = api.server.kinds();
    kinds.push(cron_tab("v1").build().unwrap().into());
    api.server.serve_kinds(kinds).unwrap();
    let json = api.get("/openapi/v2").await.ok();
    let found = document(&api, ASKED).await;
    assert_eq!(found.swagger, "2.0");
    let paths = found.paths.all.iter().map(|named| (named.name.as_str(), &named.path));
    let paths: BTreeMap<_, _> = paths.collect();
    assert_eq!(paths.keys().copied().collect::<BTreeSet<_>>(), names(&json["paths"]));
    for (name, path) in paths {
        assert_eq!(path.get.is_some(), json["paths"][name]["get"].is_object(), "{name}");
        path.get.iter().for_each(|get| check_operation(get, &json["paths"][name]["get"]));
    }
    check_schemas(&found.definitions, &json["definitions"]);
}

#[tokio::test]
async fn go_finds_the_kind_of_a_deployment_and_how_it_is_patched() {
    let api = Api::start().await;
    let found = document(&api, NAMED).await;
    let schema = |name: &str| {
        let mut all = found.definitions.all.iter();
        &all.find(|named| named.name == format!("io.k8s.api.apps.v1.{name}")).unwrap().schema
    };
    let kind = extensions(&schema("Deployment").extensions);
    let expected = r#"[{"group": "apps", "kind": "Deployment", "version": "v1"}]"#;
    let expected: Value = serde_json::from_str(expected).unwrap();
    assert_eq!(kind["x-kubernetes-group-version-kind"], expected);
    let spec = schema("DeploymentSpec").properties.as_ref().unwrap();
    let strategy = &spec.all.iter().find(|field| field.name == "strategy").unwrap().schema;
    assert_eq!(strategy.reference, "#/definitions/io.k8s.api.apps.v1.DeploymentStrategy");
    let patched = extensions(&strategy.extensions);
    assert_eq!(patched["x-kubernetes-patch-strategy"], "retainKeys");
}

#[tokio::test]
async fn who_has_the_document_in_protobuf_is_told_so() {
    let api = Api::start().await;
    let whole = api.exchange("GET", "/openapi/v2", (JSON, ASKED), Body::empty()).await;
    let tag = whole.headers()["etag"].to_str().unwrap();
    let again = api.get_with("/openapi/v2", ASKED, Some(tag)).await;
    assert_eq!((again.code, again.text.as_str()), (304, ""));
    assert_eq!(api.get_with("/openapi/v2", JSON, Some(tag)).await.code, 200);
}

fn names(json: &Value) -> BTreeSet<&str> {
    json.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn check_operation(found: &Operation, json: &Value) {
    assert_eq!(json["operationId"], found.id);
    assert_eq!(json["produces"], Value::from(found.produces.clone()));
    assert_eq!(json["parameters"].as_array().unwrap().len(), found.parameters.len());
    check_extensions(&found.extensions, json);
}

fn check_schemas(found: &Schemas, json: &Value) {
    let found: BTreeMap<_, _> = found.all.iter().map(|it| (it.name.as_str(), &it.schema)).collect();
    assert_eq!(found.keys().copied().collect::<BTreeSet<_>>(), names(json));
    found.iter().for_each(|(name, schema)| check_schema(schema, &json[name]));
}

fn check_schema(found: &Schema, json: &Value) {
    let text = |name: &str| json[name].as_str().unwrap_or_default();
    let texts = |name: &str| json[name].as_array().cloned().unwrap_or_default();
    assert_eq!(found.reference, text("$ref"));
    assert_eq!(found.format, text("format"));
    assert_eq!(found.description, text("description"));
    assert_eq!(texts("required"), found.required);
    assert_eq!(texts("enum").len(), found.values.len());
    assert_eq!(found.type_.as_ref().map_or("", |types| &types.all[0]), text("type"));
    let items = found.items.as_ref().map(|items| &items.schemas[0]);
    let others = found.others.as_ref().and_then(|others| others.schema.as_deref());
    for (inner, name) in [(items, "items"), (others, "additionalProperties")] {
        assert_eq!(inner.is_some(), json[name].is_object(), "{name}");
        inner.into_iter().for_each(|inner| check_schema(inner, &json[name]));
    }
    match &found.properties {
        Some(properties) => check_schemas(properties, &json["properties"]),
        None => assert!(json.get("properties").is_none()),
    }
    check_extensions(&found.extensions, json);
}

#[track_caller]
fn check_extensions(found: &[NamedAny], json: &Value) {
    let fields = json.as_object().into_iter().flatten();
    let expected = fields.filter(|(name, _)| name.starts_with("x-"));
    let expected: BTreeMap<_, _> = expected.map(|(name, it)| (name.as_str(), it.clone())).collect();
    assert_eq!(extensions(found), expected);
}

fn extensions(found: &[NamedAny]) -> BTreeMap<&str, Value> {
    let value = |any: &Any| serde_yaml::from_str(&any.yaml).unwrap();
    found.iter().map(|named| (named.name.as_str(), value(&named.value))).collect()
}
