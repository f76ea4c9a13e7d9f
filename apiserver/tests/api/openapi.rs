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

/// `kubectl` merges by what the schemas say; the server by its own tables.
#[tokio::test]
async fn fields_are_documented_to_be_merged_as_kubernetes_types_say() {
    let api = Api::start().await;
    let v2 = api.get("/openapi/v2").await.ok();
    let kubernetes = |def: &&ResourceDef| def.names.group != "minik8s.io";
    for def in registry::all().iter().filter(kubernetes) {
        let (version, names) = (def.api_version(), &def.names);
        let root = if names.group.is_empty() { "api" } else { "apis" };
        let v3 = api.get(&format!("/openapi/v3/{root}/{version}")).await.ok();
        let kind = format!("{version}/{}", names.kind);
        let expected = strategies(&kind);
        assert!(expected.len() > 1);
        for schemas in [&v2["definitions"], &v3["components"]["schemas"]] {
            let said = said(schemas, name_of(schemas, def), ("", &[]));
            assert_eq!(said.into_iter().collect::<BTreeSet<_>>(), expected, "{kind}");
        }
    }
}

#[tokio::test]
async fn unions_and_what_is_replaced_are_documented_to_be() {
    let api = Api::start().await;
    let strategy = async |group: &str, kind: &str, path: &str| {
        let v3 = api.get(&format!("/openapi/v3/apis/{group}/v1")).await.ok();
        let v2 = api.get("/openapi/v2").await.ok();
        let kind = format!("io.k8s.api.{group}.v1.{kind}");
        [&v2["definitions"], &v3["components"]["schemas"]].map(|schemas| {
            let field = field(schemas, &kind, path);
            field["x-kubernetes-patch-strategy"].as_str().unwrap_or_default().to_owned()
        })
    };
    let check = async |group: &str, kind: &str, path: &str, expected: &str| {
        assert_eq!(strategy(group, kind, path).await, [expected; 2], "{kind} {path}");
    };
    check("apps", "Deployment", "spec.strategy", "retainKeys").await;
    check("apps", "Deployment", "spec.template.spec.volumes", "merge,retainKeys").await;
    check("apps", "DaemonSet", "spec.template.spec.resourceClaims", "merge,retainKeys").await;
    check("policy", "PodDisruptionBudget", "spec.selector", "replace").await;
    check("apps", "Deployment", "spec.selector", "").await;
    check("apps", "Deployment", "spec.template.spec.tolerations", "").await;
}

/// What Kubernetes' types say of patches of a kind: path, strategy and key.
fn strategies(kind: &str) -> BTreeSet<String> {
    let all = include_str!("../../../crates/api-machinery/tests/patches/strategies.txt");
    let lines = all.lines().filter_map(|line| line.rsplit_once(' '));
    let of_kind =
        lines.filter(|(_, kinds)| *kinds == "*" || kinds.split(',').any(|other| other == kind));
    of_kind.map(|(said, _)| said.to_owned()).collect()
}

/// The same as the schemas below a type say it; a type within itself is left out.
fn said(schemas: &Value, name: &str, (path, within): (&str, &[&str])) -> Vec<String> {
    let within = [within, &[name]].concat();
    let mut all = Vec::new();
    for (field, schema) in schemas[name]["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
        let text = |name: &str| schema[name].as_str().unwrap_or("-");
        let strategy = text("x-kubernetes-patch-strategy");
        let key = text("x-kubernetes-patch-merge-key");
        if [strategy, key] != ["-", "-"] {
            all.push(format!("{path} {strategy} {key}"));
        }
        let inner = type_of(schema).filter(|inner| !within.contains(inner));
        all.extend(inner.into_iter().flat_map(|inner| said(schemas, inner, (&path, &within))));
    }
    all
}

/// What the schema of a kind is called.
fn name_of<'a>(schemas: &'a Value, def: &ResourceDef) -> &'a str {
    let names = &def.names;
    let kind =
        serde_json::json!([{"group": names.group, "version": names.version, "kind": names.kind}]);
    let mut all = schemas.as_object().unwrap().iter();
    all.find(|(_, schema)| schema["x-kubernetes-group-version-kind"] == kind).unwrap().0
}

/// The type that a field refers to, itself or in its list.
fn type_of(schema: &Value) -> Option<&str> {
    let places = ["/$ref", "/allOf/0/$ref", "/items/$ref", "/items/allOf/0/$ref"];
    let reference = places.into_iter().find_map(|place| schema.pointer(place))?;
    reference.as_str()?.rsplit('/').next()
}

/// The schema of a field, found as `kubectl` does.
fn field<'a>(schemas: &'a Value, kind: &str, path: &str) -> &'a Value {
    let mut within = &schemas[kind];
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let schema = &within["properties"][name];
        assert!(schema.is_object(), "{path}: no {name}");
        if names.peek().is_none() {
            return schema;
        }
        within = &schemas[type_of(schema).unwrap()];
    }
    within
}
