//! Every kind of the catalogue × every verb, against the control plane in process. The kinds come from the registry, an
//! object of each from `tests/catalogue/<plural>.yaml`: a kind without one fails here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use futures::{AsyncBufReadExt, StreamExt};
use kube::Client;
use registry::{ResourceDef, Scope, Subresource};
use serde_json::{Value, json};
use testkit::ControlPlane;

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// A kind and an object of it.
struct Case<'a> {
    client: &'a Client,
    def: &'a ResourceDef,
    object: Value,
}

fn example(def: &ResourceDef) -> Value {
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("catalogue/{}.yaml", def.names.plural));
    let missing = |e| panic!("{} needs an example: {}: {e}", def.names.kind, path.display());
    serde_yaml::from_str(&fs::read_to_string(&path).unwrap_or_else(missing)).unwrap()
}

impl Case<'_> {
    fn collection(&self) -> String {
        let names = &self.def.names;
        let group = if names.group.is_empty() {
            "/api".to_owned()
        } else {
            format!("/apis/{}", names.group)
        };
        let namespace =
            if self.def.scope == Scope::Namespaced { "/namespaces/default" } else { "" };
        format!("{group}/{}{namespace}/{}", names.version, names.plural)
    }

    fn object_path(&self) -> String {
        format!("{}/{}", self.collection(), self.object["metadata"]["name"].as_str().unwrap())
    }

    /// The body of a request's answer, or the code of its failure.
    async fn ask(&self, method: &str, path: &str, kind: &str, body: &Value) -> Result<Value, u16> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body).unwrap() };
        let accept = if kind == TABLE { TABLE } else { JSON };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .header("accept", accept);
        match self.client.request_text(request.body(body).unwrap()).await {
            Ok(text) => Ok(serde_json::from_str(&text).unwrap()),
            Err(kube::Error::Api(status)) => Err(status.code),
            Err(e) => panic!("{method} {path}: {e}"),
        }
    }

    async fn get(&self) -> Result<Value, u16> {
        self.ask("GET", &self.object_path(), JSON, &Value::Null).await
    }

    async fn patch(&self, kind: &str, patch: Value) -> Value {
        self.ask("PATCH", &self.object_path(), kind, &patch)
            .await
            .unwrap_or_else(|code| panic!("{kind} {}: {code}", self.object_path()))
    }

    /// Creates the object; what the server adds is there.
    async fn create(&self) -> Value {
        let created = self.ask("POST", &self.collection(), JSON, &self.object).await;
        let created = created.unwrap_or_else(|code| panic!("create {}: {code}", self.object));
        assert_eq!(created["kind"], self.object["kind"]);
        assert_eq!(created["apiVersion"], self.object["apiVersion"]);
        for set in ["uid", "creationTimestamp", "resourceVersion"] {
            assert!(created["metadata"][set].is_string(), "{set}: {created}");
        }
        assert_eq!(self.ask("POST", &self.collection(), JSON, &self.object).await, Err(409));
        created
    }

    async fn reads(&self, created: &Value) {
        assert_eq!(self.get().await.as_ref(), Ok(created));
        let list = self.ask("GET", &self.collection(), JSON, &Value::Null).await.unwrap();
        assert_eq!(list["kind"], format!("{}List", self.def.names.kind));
        let of = |list: &Value| {
            list["items"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|i| i["metadata"]["uid"] == created["metadata"]["uid"])
                .count()
        };
        assert_eq!(of(&list), 1);
        let by_name = format!(
            "{}?fieldSelector=metadata.name%3D{}",
            self.collection(),
            created["metadata"]["name"].as_str().unwrap()
        );
        let by_name = self.ask("GET", &by_name, JSON, &Value::Null).await.unwrap();
        assert_eq!(by_name["items"].as_array().unwrap().len(), 1);
        let by_label = self
            .ask(
                "GET",
                &format!("{}?labelSelector=no%3Dsuch", self.collection()),
                JSON,
                &Value::Null,
            )
            .await
            .unwrap();
        assert_eq!(by_label["items"], json!([]));

        let table = self.ask("GET", &self.object_path(), TABLE, &Value::Null).await.unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap();
        assert!(!columns.is_empty());
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns.len());
    }

    /// Labels it in each way there is; a stale update is refused.
    async fn writes(&self, created: &Value) {
        let mut labelled = self.get().await.unwrap();
        labelled["metadata"]["labels"]["updated"] = json!("yes");
        let updated = self.ask("PUT", &self.object_path(), JSON, &labelled).await.unwrap();
        assert_ne!(updated["metadata"]["resourceVersion"], created["metadata"]["resourceVersion"]);
        assert_eq!(updated["metadata"]["uid"], created["metadata"]["uid"]);
        assert_eq!(self.ask("PUT", &self.object_path(), JSON, &labelled).await, Err(409));

        self.patch(MERGE, json!({"metadata": {"labels": {"merged": "yes"}}})).await;
        self.patch(STRATEGIC, json!({"metadata": {"labels": {"strategic": "yes"}}})).await;
        let patched = self
            .patch(
                JSON_PATCH,
                json!([{"op": "add", "path": "/metadata/labels/patched", "value": "yes"}]),
            )
            .await;
        for label in ["updated", "merged", "strategic", "patched"] {
            assert_eq!(patched["metadata"]["labels"][label], "yes", "{patched}");
        }
        let dry = format!("{}?dryRun=All", self.object_path());
        self.ask("PATCH", &dry, MERGE, &json!({"metadata": {"labels": {"dry": "yes"}}}))
            .await
            .unwrap();
        assert_eq!(self.get().await, Ok(patched));
    }

    /// A write to the status leaves the rest as it is.
    async fn status(&self) {
        let path = format!("{}/status", self.object_path());
        if !self.def.subresources.contains(&Subresource::Status) {
            assert!(self.ask("GET", &path, JSON, &Value::Null).await.is_err());
            return;
        }
        let before = self.get().await.unwrap();
        let mut changed = before.clone();
        changed["metadata"]["labels"]["through-status"] = json!("no");
        changed["spec"] = json!({});
        changed["status"]["conditions"] = json!([]);
        let after = self.ask("PUT", &path, JSON, &changed).await.unwrap();
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(self.ask("GET", &path, JSON, &Value::Null).await, Ok(self.get().await.unwrap()));
    }

    /// Deletes it, with preconditions first; a watch from its creation has seen all of it.
    async fn delete(&self, created: &Value) {
        let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}});
        assert_eq!(self.ask("DELETE", &self.object_path(), JSON, &wrong).await, Err(409));
        let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
        self.ask("DELETE", &self.object_path(), JSON, &now).await.unwrap();
        if self.def.names.plural == "namespaces" {
            let finalized = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": created["metadata"], "spec": {"finalizers": []}});
            let mut finalized = finalized;
            finalized["metadata"]["resourceVersion"] = Value::Null;
            self.ask("PUT", &format!("{}/finalize", self.object_path()), JSON, &finalized)
                .await
                .unwrap();
        }
        assert_eq!(self.get().await, Err(404));
        assert_eq!(self.ask("DELETE", &self.object_path(), JSON, &Value::Null).await, Err(404));
        self.watched(created).await;
    }

    async fn watched(&self, created: &Value) {
        let version: u64 =
            created["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        let path = format!(
            "{}?watch=true&resourceVersion={}&fieldSelector=metadata.name%3D{}",
            self.collection(),
            version - 1,
            created["metadata"]["name"].as_str().unwrap()
        );
        let request = http::Request::get(path).body(Vec::new()).unwrap();
        let mut lines = self.client.request_stream(request).await.unwrap().lines();
        let mut types = Vec::new();
        while types.last().map(String::as_str) != Some("DELETED") {
            let line: Value = serde_json::from_str(&lines.next().await.unwrap().unwrap()).unwrap();
            assert_eq!(line["object"]["metadata"]["uid"], created["metadata"]["uid"], "{line}");
            types.push(line["type"].as_str().unwrap().to_owned());
        }
        assert_eq!(types.first().map(String::as_str), Some("ADDED"), "{types:?}");
        assert!(types.iter().filter(|t| *t == "MODIFIED").count() >= 4, "{types:?}");
    }

    async fn delete_collection(&self) {
        if self.def.names.plural == "namespaces" {
            return; // Kubernetes serves no such verb for namespaces.
        }
        self.ask("POST", &self.collection(), JSON, &self.object).await.unwrap();
        let by_name = format!(
            "{}?fieldSelector=metadata.name%3D{}",
            self.collection(),
            self.object["metadata"]["name"].as_str().unwrap()
        );
        let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0});
        self.ask("DELETE", &by_name, JSON, &now).await.unwrap();
        assert_eq!(self.get().await, Err(404));
    }
}

#[tokio::test]
async fn every_kind_takes_every_verb() {
    let plane = ControlPlane::start().await;
    let client = plane.client();
    for def in registry::all() {
        let case = Case { client: &client, object: example(&def), def: &def };
        let created = case.create().await;
        case.reads(&created).await;
        case.writes(&created).await;
        case.status().await;
        case.delete(&created).await;
        case.delete_collection().await;
    }
}

#[tokio::test]
async fn discovery_lists_every_kind_with_its_verbs() {
    let plane = ControlPlane::start().await;
    for def in registry::all() {
        let resources = plane.client().list_api_group_resources(&def.api_version()).await;
        let resources = if def.names.group.is_empty() {
            plane.client().list_core_api_resources("v1").await
        } else {
            resources
        };
        let listed = resources.unwrap().resources.into_iter().find(|r| r.name == def.names.plural);
        let listed = listed.unwrap_or_else(|| panic!("{} is not discovered", def.names.plural));
        for verb in ["create", "get", "list", "watch", "update", "patch", "delete"] {
            assert!(listed.verbs.iter().any(|v| v == verb), "{} {verb}", def.names.plural);
        }
    }
}
