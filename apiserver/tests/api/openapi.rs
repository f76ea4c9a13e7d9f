//! The OpenAPI documents: valid by the schemas of OpenAPI (`schemas/`, from spec.openapis.org), and complete.

use std::collections::BTreeSet;

use registry::{ResourceDef, Scope, Subresource};
use serde_json::Value;

use crate::{
    custom_resources::cron_tab,
    harness::{Api, JSON},
};

/// All documents, the old form last.
async fn documents(api: &Api) -> Vec<(String, Value)> {
    let index = api.get("/openapi/v3").await.ok();
    let mut documents = Vec::new();
    for (path, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")));
        documents.push((path.clone(), api.get(url).await.ok()));
    }
    documents.push(("v2".to_owned(), api.get("/openapi/v2").await.ok()));
    documents
}

fn validator(name: &str) -> jsonschema::Validator {
    let schema = match name {
        "v2" => include_str!("schemas/swagger-2.0.json"),
        _ => include_str!("schemas/openapi-3.0.json"),
    };
    jsonschema::draft4::new(&serde_json::from_str(schema).unwrap()).unwrap()
}

#[tokio::test]
async fn every_document_is_valid() {
    let api = Api::start().await;
    let mut kinds = api.server.kinds();
    kinds.push(cron_tab("v1").build().unwrap().into());
    api.server.serve_kinds(kinds).unwrap();
    let documents = documents(&api).await;
    assert!(documents.len() > 4);
    for (name, document) in &documents {
        let faults: Vec<_> = validator(name)
            .iter_errors(document)
            .map(|fault| {
                format!(
                    "{}: {}",
                    fault.instance_path(),
                    fault.to_string().chars().take(200).collect::<String>()
                )
            })
            .take(10)
            .collect();
        assert!(faults.is_empty(), "{name}: {faults:#?}");
        check_references(document, document);
        check_operations(document);
    }
}

#[tokio::test]
async fn a_document_that_is_wrong_is_told() {
    let api = Api::start().await;
    let document = api.get("/openapi/v3/api/v1").await.ok();
    let breaks: [(&str, Value); 4] = [
        ("/info", Value::Null),
        ("/paths/~1api~1v1~1pods/get/responses", serde_json::json!({})),
        ("/components/schemas/io.k8s.api.core.v1.Pod/type", serde_json::json!(["object"])),
        ("/paths/~1api~1v1~1pods/get/parameters/0/in", "nowhere".into()),
    ];
    for (place, value) in breaks {
        let mut broken = document.clone();
        *broken.pointer_mut(place).unwrap() = value;
        assert!(!validator("v3").is_valid(&broken), "{place}");
    }
}

fn check_references(document: &Value, part: &Value) {
    if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
    match part {
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        Value::Object(fields) => {
            fields.values().for_each(|field| check_references(document, field))
        }
        _ => {}
    }
}

/// What the schema of OpenAPI can't say: a path's parameters are those in its braces, names are unique, what is sent
/// and answered has a schema.
fn check_operations(document: &Value) {
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let named: BTreeSet<_> =
            path.split(['{', '}']).skip(1).step_by(2).map(str::to_owned).collect();
        let parameters = item["parameters"].as_array().into_iter().flatten();
        let defined: BTreeSet<_> = parameters
            .filter(|p| p["in"] == "path" && p["required"] == true)
            .map(|p| p["name"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(defined, named, "{path}");
        for (method, operation) in
            item.as_object().unwrap().iter().filter(|(m, _)| *m != "parameters")
        {
            let id = operation["operationId"].as_str().unwrap();
            assert!(ids.insert(id.to_owned()), "{id} is there twice");
            let all: Vec<_> = operation["parameters"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|p| &p["name"])
                .collect();
            assert_eq!(
                all.len(),
                all.iter().map(|n| n.to_string()).collect::<BTreeSet<_>>().len(),
                "{id}"
            );
            let text = operation.to_string();
            let takes = text.contains("requestBody") || text.contains(r#""in":"body""#);
            let connects = operation["x-kubernetes-action"] == "connect";
            assert_eq!(takes, method != "get" && !connects, "{id}");
            assert!(operation["responses"]["200"].to_string().contains("schema"), "{id}");
        }
    }
}

#[tokio::test]
async fn every_verb_of_every_kind_is_documented() {
    let api = Api::start().await;
    let all = registry::all().into_iter().chain(registry::reviews());
    for def in all.chain(registry::computed()) {
        let names = &def.names;
        let path = if names.group.is_empty() { "api" } else { &format!("apis/{}", names.group) };
        let root = format!("/{path}/{}", names.version);
        let document = api.get(&format!("/openapi/v3{root}")).await.ok();
        let paths = &document["paths"];
        let has = |path: &str, methods: &[&str]| {
            let found: BTreeSet<_> = paths[path]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(m, _)| m.as_str())
                .filter(|m| *m != "parameters")
                .collect();
            assert_eq!(found, methods.iter().copied().collect(), "{path}");
        };
        let scope = if def.scope == Scope::Namespaced { "/namespaces/{namespace}" } else { "" };
        let collection = format!("{root}{scope}/{}", names.plural);
        let object = format!("{collection}/{{name}}");
        if def.is_review {
            has(&collection, &["post"]);
            continue;
        }
        if def.is_computed {
            has(&collection, &["get"]);
            has(&object, &["get"]);
            continue;
        }
        match names.plural.as_str() {
            "namespaces" => has(&collection, &["get", "post"]),
            _ => has(&collection, &["get", "post", "delete"]),
        }
        has(&object, &["get", "put", "patch", "delete"]);
        if def.scope == Scope::Namespaced {
            has(&format!("{root}/{}", names.plural), &["get"]);
        }
        for sub in &def.subresources {
            let methods: &[&str] = match sub {
                Subresource::Status
                | Subresource::Scale
                | Subresource::Approval
                | Subresource::EphemeralContainers
                | Subresource::Resize => &["get", "put", "patch"],
                Subresource::Binding | Subresource::Eviction | Subresource::Token => &["post"],
                Subresource::Log => &["get"],
                Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
                    &["get", "post"]
                }
                Subresource::Proxy => &["get", "put", "post", "delete", "options", "head", "patch"],
                Subresource::Finalize => &["put"],
            };
            if *sub == Subresource::Proxy {
                has(&format!("{object}/proxy/{{path}}"), methods);
            }
            has(&format!("{object}/{}", sub.name()), methods);
        }
        check_schemas(&document, &def, &object);
    }
    let unread = api.send("GET", "/openapi/v2", (JSON, "text/plain"), "").await;
    unread.fails(406, "NotAcceptable");
    api.get("/openapi/v3/apis/frogs/v1").await.fails(404, "NotFound");
}

/// The kinds of Kubernetes' `ReturnDeletedObject`, less namespaces, of which its documents do not say it.
const SHOWN_WHEN_DELETED: [&str; 16] = [
    "persistentvolumeclaims",
    "persistentvolumes",
    "pods",
    "podtemplates",
    "resourcequotas",
    "services",
    "serviceaccounts",
    "deviceclasses",
    "resourceclaims",
    "resourceclaimtemplates",
    "resourceslices",
    "csidrivers",
    "csinodes",
    "storageclasses",
    "volumeattachments",
    "volumeattributesclasses",
];

#[tokio::test]
async fn a_deletion_is_documented_to_answer_with_the_object_where_it_does() {
    let api = Api::start().await;
    let documents = documents(&api).await;
    let (_, document) = documents.last().unwrap();
    for def in registry::all() {
        let names = &def.names;
        let path = if names.group.is_empty() { "api" } else { &format!("apis/{}", names.group) };
        let scope = if def.scope == Scope::Namespaced { "/namespaces/{namespace}" } else { "" };
        let path = format!("/{path}/{}{scope}/{}/{{name}}", names.version, names.plural);
        let answers = &document["paths"][&path]["delete"]["responses"];
        let answer = answers["200"]["schema"]["$ref"].as_str().unwrap();
        assert_eq!(&answers["202"]["schema"]["$ref"], answer);
        let is_shown = SHOWN_WHEN_DELETED.contains(&names.plural.as_str());
        let expected = if is_shown { names.kind.as_str() } else { "Status" };
        assert_eq!(answer.rsplit('.').next(), Some(expected), "{path}");
        assert_eq!(def.is_shown_when_deleted, is_shown || def.is_core("namespaces"), "{path}");
    }
}

/// What is read and written is the kind's own schema, and patches are of the types that the server takes.
fn check_schemas(document: &Value, def: &ResourceDef, object: &str) {
    let item = &document["paths"][object];
    let answer = &item["get"]["responses"]["200"]["content"]["application/json"]["schema"];
    let schema = document.pointer(answer["$ref"].as_str().unwrap().strip_prefix('#').unwrap());
    let kinds = &schema.unwrap()["x-kubernetes-group-version-kind"];
    assert_eq!(kinds[0]["kind"], def.names.kind);
    assert_eq!(&item["put"]["requestBody"]["content"]["*/*"]["schema"], answer);
    let patches: Vec<_> =
        item["patch"]["requestBody"]["content"].as_object().unwrap().keys().collect();
    assert_eq!(
        patches,
        [
            "application/apply-patch+yaml",
            "application/json-patch+json",
            "application/merge-patch+json",
            "application/strategic-merge-patch+json"
        ]
    );
}

/// `kubectl` merges lists by what the schemas say of them; the server by its own table. They say the same.
#[tokio::test]
async fn lists_are_documented_to_be_merged_as_they_are() {
    let api = Api::start().await;
    let document = api.get("/openapi/v3/api/v1").await.ok();
    let merge = |path: &str| {
        let schema = field(&document, "io.k8s.api.core.v1.Pod", path);
        let text = |name: &str| schema[name].as_str().unwrap_or_default().to_owned();
        (text("x-kubernetes-patch-strategy"), text("x-kubernetes-patch-merge-key"))
    };
    let pair = |strategy: &str, key: &str| (strategy.to_owned(), key.to_owned());
    assert_eq!(merge("spec.containers"), pair("merge", "name"));
    assert_eq!(merge("spec.containers.ports"), pair("merge", "containerPort"));
    assert_eq!(merge("spec.initContainers.env"), pair("merge", "name"));
    assert_eq!(merge("spec.volumes"), pair("merge,retainKeys", "name"));
    assert_eq!(merge("metadata.finalizers"), pair("merge", ""));
    assert_eq!(merge("metadata.ownerReferences"), pair("merge", "uid"));
    assert_eq!(merge("status.conditions"), pair("merge", "type"));
    assert_eq!(merge("spec.tolerations"), pair("", ""));
    assert_eq!(merge("spec.containers.args"), pair("", ""));
    let document = api.get("/openapi/v3/apis/apps/v1").await.ok();
    let containers =
        field(&document, "io.k8s.api.apps.v1.ReplicaSet", "spec.template.spec.containers");
    assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
}

/// The schema of a field, found as `kubectl` does.
fn field(document: &Value, kind: &str, path: &str) -> Value {
    let schemas = &document["components"]["schemas"];
    let mut schema = schemas[kind].clone();
    for name in path.split('.') {
        for place in ["/items", "/allOf/0"] {
            schema = schema.pointer(place).cloned().unwrap_or(schema);
        }
        if let Some(reference) = schema["$ref"].as_str() {
            schema = schemas[reference.rsplit('/').next().unwrap()].clone();
        }
        schema = schema["properties"][name].clone();
        assert!(schema.is_object(), "{path}: no {name}");
    }
    schema
}
