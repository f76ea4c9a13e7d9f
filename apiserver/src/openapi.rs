//! OpenAPI documents, made of the schemas of the catalogue. `kubectl` reads from them which parameters the server
//! understands (`fieldValidation`) and what to `explain`.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use registry::{ResourceDef, Scope};
use serde_json::{Map, Value, json};

use crate::catalogue::Catalogue;

type GroupVersion = (&'static str, &'static str);

/// The documents, made at the first request.
#[derive(Debug)]
pub(crate) struct OpenApi {
    catalogue: Arc<Catalogue>,
    documents: OnceLock<HashMap<GroupVersion, Bytes>>,
    v2: OnceLock<Bytes>,
}

impl OpenApi {
    /// The documents of a catalogue.
    pub(crate) fn new(catalogue: Arc<Catalogue>) -> Self {
        Self { catalogue, documents: OnceLock::new(), v2: OnceLock::new() }
    }

    /// `/openapi/v3`. The hash in the addresses lets clients keep a document until it changes.
    pub(crate) fn index(&self) -> Value {
        let entry = |(&(group, version), document): (&GroupVersion, &Bytes)| {
            let path = match group {
                "" => format!("api/{version}"),
                group => format!("apis/{group}/{version}"),
            };
            let mut hasher = DefaultHasher::new();
            document.hash(&mut hasher);
            let url = format!("/openapi/v3/{path}?hash={:016X}", hasher.finish());
            (path, json!({ "serverRelativeURL": url }))
        };
        let paths: Map<String, Value> = self.documents().iter().map(entry).collect();
        json!({ "paths": paths })
    }

    /// The document of a group version, encoded.
    pub(crate) fn document(&self, group: &str, version: &str) -> Option<Bytes> {
        self.documents()
            .iter()
            .find(|((g, v), _)| (*g, *v) == (group, version))
            .map(|(_, d)| d.clone())
    }

    /// `/openapi/v2`, for clients that know no other.
    pub(crate) fn v2(&self) -> Bytes {
        self.v2.get_or_init(|| v2(&self.catalogue).to_string().into()).clone()
    }

    fn documents(&self) -> &HashMap<GroupVersion, Bytes> {
        self.documents.get_or_init(|| {
            let versions = self.catalogue.group_versions().into_iter();
            versions.map(|gv| (gv, v3(&self.catalogue, gv).to_string().into())).collect()
        })
    }
}

/// The form of `/openapi/v2` that kubectl asks for up to 1.26, as Debian has it.
pub(crate) const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// `/openapi/v2` in protobuf, without definitions: a client that finds none leaves validation to the server.
/// The message is `openapi.v2.Document` of github.com/google/gnostic-models: 1 is `swagger`, 2 is `info`
/// with 1 `title` and 2 `version`.
pub(crate) fn v2_protobuf() -> Vec<u8> {
    let info = [field(1, b"minik8s"), field(2, env!("CARGO_PKG_VERSION").as_bytes())].concat();
    [field(1, b"2.0"), field(2, &info)].concat()
}

/// A short field of bytes in protobuf's encoding.
fn field(number: u8, content: &[u8]) -> Vec<u8> {
    let length = u8::try_from(content.len()).expect("these texts are shorter than 128 bytes");
    [&[number << 3 | 2, length], content].concat()
}

fn v3(catalogue: &Catalogue, (group, version): GroupVersion) -> Value {
    let mut schemas = Map::new();
    let mut paths = Map::new();
    for def in catalogue.of_group(group, version) {
        collect(def, "#/components/schemas/", &mut schemas);
        add_paths(def, "#/components/schemas/", &mut paths);
    }
    json!({
        "openapi": "3.0.0",
        "info": info(),
        "paths": paths,
        "components": { "schemas": schemas },
    })
}

fn v2(catalogue: &Catalogue) -> Value {
    let mut definitions = Map::new();
    let mut paths = Map::new();
    for def in catalogue.iter() {
        collect(def, "#/definitions/", &mut definitions);
        add_paths(def, "#/definitions/", &mut paths);
    }
    json!({ "swagger": "2.0", "info": info(), "paths": paths, "definitions": definitions })
}

fn info() -> Value {
    json!({ "title": "minik8s", "version": env!("CARGO_PKG_VERSION") })
}

/// The name of the kind's schema, in the manner of Kubernetes' own: `io.k8s.api.core.v1.Pod`.
fn schema_name(def: &ResourceDef) -> String {
    let names = &def.names;
    let group = match names.group {
        "" => "io.k8s.api.core".to_owned(),
        group if group.ends_with(".k8s.io") || !group.contains('.') => {
            format!("io.k8s.api.{}", group.split('.').next().unwrap_or_default())
        }
        group => group.rsplit('.').collect::<Vec<_>>().join("."),
    };
    format!("{group}.{}.{}", names.version, names.kind)
}

fn kind(def: &ResourceDef) -> Value {
    let names = &def.names;
    json!({ "group": names.group, "version": names.version, "kind": names.kind })
}

/// Adds the kind's schema and those of the types it uses.
fn collect(def: &ResourceDef, root: &str, schemas: &mut Map<String, Value>) {
    let mut schema = def.schema();
    let used = schema.as_object_mut().and_then(|s| s.remove("$defs"));
    for (name, mut used) in used.as_ref().and_then(Value::as_object).cloned().unwrap_or_default() {
        adapt(&mut used, root);
        schemas.entry(name).or_insert(used);
    }
    adapt(&mut schema, root);
    if let Some(schema) = schema.as_object_mut() {
        schema.remove("$schema");
        schema.remove("title");
    }
    schema["x-kubernetes-group-version-kind"] = json!([kind(def)]);
    schemas.insert(schema_name(def), schema);
}

/// Turns JSON Schema into OpenAPI's dialect of it: references point into the document, and `null` is no type.
fn adapt(schema: &mut Value, root: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| adapt(item, root)),
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref") {
                *reference = reference.replace("#/$defs/", root);
            }
            if let Some(Value::Array(types)) = fields.get("type").cloned().as_ref() {
                let real = types.iter().find(|t| *t != "null").cloned().unwrap_or_default();
                fields.insert("type".to_owned(), real);
            }
            unwrap_nullable(fields);
            fields.values_mut().for_each(|field| adapt(field, root));
        }
        _ => {}
    }
}

/// `anyOf: [X, null]` is X.
fn unwrap_nullable(fields: &mut Map<String, Value>) {
    let Some(Value::Array(options)) = fields.get("anyOf") else { return };
    let real: Vec<Value> = options.iter().filter(|o| o["type"] != "null").cloned().collect();
    if real.len() < options.len() && real.len() == 1 {
        fields.remove("anyOf");
        fields.insert("allOf".to_owned(), real.into());
    }
}

/// Adds the paths of a resource, with as much of their operations as clients look at.
fn add_paths(def: &ResourceDef, root: &str, paths: &mut Map<String, Value>) {
    let collection = collection_path(def);
    let schema = json!({ "$ref": format!("{root}{}", schema_name(def)) });
    let operation = |action: &str, parameters: Vec<Value>| {
        json!({
            "operationId": format!("{action}{}{}", def.names.group.replace('.', "_"), def.names.kind),
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": kind(def),
            "parameters": parameters,
            "responses": { "200": {
                "description": "OK",
                "content": { "application/json": { "schema": schema } },
            } },
        })
    };
    let write =
        || vec![parameter("dryRun"), parameter("fieldManager"), parameter("fieldValidation")];
    paths.insert(
        collection.clone(),
        json!({ "get": operation("list", vec![]), "post": operation("post", write()) }),
    );
    paths.insert(
        format!("{collection}/{{name}}"),
        json!({
            "get": operation("get", vec![]),
            "put": operation("put", write()),
            // No content type is named, so that kubectl takes merge keys from its own types.
            "patch": operation("patch", write()),
            "delete": operation("delete", vec![parameter("dryRun")]),
        }),
    );
}

fn collection_path(def: &ResourceDef) -> String {
    let names = &def.names;
    let root = match names.group {
        "" => format!("/api/{}", names.version),
        group => format!("/apis/{group}/{}", names.version),
    };
    match def.scope {
        Scope::Namespaced => format!("{root}/namespaces/{{namespace}}/{}", names.plural),
        Scope::Cluster => format!("{root}/{}", names.plural),
    }
}

fn parameter(name: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": { "type": "string", "uniqueItems": true } })
}
