//! What the server says that it serves.

use serde_json::{Value, json};

use crate::harness::{Api, JSON};

#[tokio::test]
async fn groups_versions_and_resources_can_be_found() {
    let api = Api::start().await;
    assert_eq!(api.get("/api").await.ok()["versions"], json!(["v1"]));
    let groups = api.get("/apis").await.ok();
    assert_eq!(groups["kind"], "APIGroupList");
    let apps = groups["groups"].as_array().unwrap().iter().find(|g| g["name"] == "apps").unwrap();
    assert_eq!(apps["preferredVersion"]["groupVersion"], "apps/v1");
    assert_eq!(api.get("/apis/apps").await.ok()["kind"], "APIGroup");
    let core = api.get("/api/v1").await.ok();
    assert_eq!(core["groupVersion"], "v1");
    let find = |name: &str| -> Value {
        core["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone()
    };
    let pods = find("pods");
    assert_eq!(
        (&pods["kind"], &pods["namespaced"], &pods["shortNames"]),
        (&json!("Pod"), &json!(true), &json!(["po"]))
    );
    assert!(pods["verbs"].as_array().unwrap().contains(&json!("watch")));
    assert_eq!(find("pods/log")["verbs"], json!(["get"]));
    assert_eq!(find("bindings")["verbs"], json!(["create"]));
    assert_eq!(find("nodes")["namespaced"], false);
    api.get("/apis/frogs").await.fails(404, "NotFound");
    api.get("/apis/frogs/v1").await.fails(404, "NotFound");
}

#[tokio::test]
async fn discovery_comes_in_one_document_too() {
    let api = Api::start().await;
    let accept =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";
    let answer = api.send("GET", "/apis", (JSON, accept), "").await;
    let content_type = answer.headers["content-type"].to_str().unwrap();
    assert_eq!(
        content_type,
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    );
    let list = answer.ok();
    assert_eq!(list["apiVersion"], "apidiscovery.k8s.io/v2");
    let apps =
        list["items"].as_array().unwrap().iter().find(|g| g["metadata"]["name"] == "apps").unwrap();
    let resource = &apps["versions"][0]["resources"][0];
    assert_eq!(
        (&resource["resource"], &resource["scope"]),
        (&json!("replicasets"), &json!("Namespaced"))
    );
    let subresources = resource["subresources"].as_array().unwrap();
    let scale = subresources.iter().find(|s| s["subresource"] == "scale").unwrap();
    assert_eq!(
        scale["responseKind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
}

#[tokio::test]
async fn every_reference_of_an_open_api_document_leads_somewhere() {
    let api = Api::start().await;
    let index = api.get("/openapi/v3").await.ok();
    for (path, entry) in index["paths"].as_object().unwrap() {
        let url = entry["serverRelativeURL"].as_str().unwrap();
        assert!(url.starts_with(&format!("/openapi/v3/{path}?hash=")));
        let document = api.get(url).await.ok();
        check_references(&document, &document);
    }
    api.get("/openapi/v3/apis/frogs/v1").await.fails(404, "NotFound");
    api.send("GET", "/openapi/v2", (JSON, "text/plain"), "").await.fails(406, "NotAcceptable");
    let v2 = api.get("/openapi/v2").await.ok();
    check_references(&v2, &v2);
}

#[tokio::test]
async fn an_old_kubectl_gets_the_open_api_form_it_insists_on() {
    let api = Api::start().await;
    let form = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let answer = api.send("GET", "/openapi/v2", (JSON, form), "").await;
    assert_eq!(
        (answer.code, answer.headers["content-type"].as_bytes().contains(&b'@')),
        (200, false)
    );
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(answer.text, format!("\n\x032.0\x12\x10\n\x07minik8s\x12\x05{version}"));
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

#[tokio::test]
async fn a_patch_is_documented_to_take_field_validation() {
    let api = Api::start().await;
    let document = api.get("/openapi/v3/api/v1").await.ok();
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"];
    assert_eq!(
        patch["x-kubernetes-group-version-kind"],
        json!({"group": "", "version": "v1", "kind": "Pod"})
    );
    let parameters = patch["parameters"].as_array().unwrap();
    assert!(parameters.iter().any(|p| p["name"] == "fieldValidation"));
    assert!(
        document["components"]["schemas"]["io.k8s.api.core.v1.Pod"]["properties"]["spec"]
            .is_object()
    );
}

#[tokio::test]
async fn the_server_says_how_it_is_and_what_it_counted() {
    let api = Api::start().await;
    assert_eq!(api.get("/readyz").await.text, "ok");
    assert_eq!(api.get("/version").await.ok()["major"], "1");
    api.get("/api/v1/pods").await.ok();
    let metrics = api.get("/metrics").await.text;
    assert!(
        metrics.contains(r#"apiserver_request_total{verb="list",group="",resource="pods",subresource="",code="200"} 1"#),
        "{metrics}"
    );
}
