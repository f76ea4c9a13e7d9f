//! Every kind of the catalogue × every verb, against the control plane in process. The kinds come from the registry, an
//! object of each from `tests/catalogue/<plural>.yaml`, of a version that is not stored from `<plural>.<version>.yaml`: a
//! kind without one fails here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{fs, path::Path};

use futures::{AsyncBufReadExt, StreamExt};
use kube::{Client, client::Body};
use registry::{ResourceDef, Scope, Subresource};
use serde_json::{Value, json};
use testkit::{ControlPlane, wait};

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON_PATCH: &str = "application/json-patch+json";
const CBOR: &str = "application/cbor";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// A kind and an object of it.
struct Case<'a> {
    client: &'a Client,
    def: &'a ResourceDef,
    object: Value,
}

fn example(def: &ResourceDef) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("catalogue");
    let version = if def.is_stored() { String::new() } else { format!(".{}", def.names.version) };
    let path = folder.join(format!("{}{version}.yaml", def.names.plural));
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

    fn is_definition(&self) -> bool {
        self.def.names.plural == "customresourcedefinitions"
    }

    /// The object once the server has done with it what it does by itself.
    async fn settled(&self, created: Value) -> Value {
        let (at, told) = match self.def.names.plural.as_str() {
            "customresourcedefinitions" => ("/status/conditions/1", "the second condition"),
            "flowschemas" => ("/status/conditions/0", "the condition"),
            "validatingadmissionpolicies" => ("/status/typeChecking", "what is wrong"),
            _ => return created,
        };
        wait::within(&format!("the server tells {told}"), async {
            loop {
                let object = self.get().await.unwrap();
                if object.pointer(at).is_some() {
                    return object;
                }
                tokio::task::yield_now().await;
            }
        })
        .await
    }

    /// What the controllers do, which are not here: storage that is in nobody's use goes.
    async fn let_go(&self) {
        if ["persistentvolumeclaims", "persistentvolumes"].contains(&self.def.names.plural.as_str())
        {
            self.patch(MERGE, json!({"metadata": {"finalizers": null}})).await;
        }
    }

    /// It is not there any more. A definition waits for what it defines.
    async fn is_gone(&self) {
        let gone = async {
            while self.is_definition() && self.get().await != Err(404) {
                tokio::task::yield_now().await;
            }
        };
        wait::within("the object goes", gone).await;
        assert_eq!(self.get().await, Err(404));
    }

    async fn reads(&self, created: &Value) {
        assert_eq!(self.get().await.as_ref(), Ok(created));
        let list = self.ask("GET", &self.collection(), JSON, &Value::Null).await.unwrap();
        assert_eq!(list["kind"], format!("{}List", self.def.names.kind));
        assert!(self.selects("", created).await);
        self.selectors(created).await;
        let table = self.ask("GET", &self.object_path(), TABLE, &Value::Null).await.unwrap();
        let columns = table["columnDefinitions"].as_array().unwrap();
        assert!(!columns.is_empty());
        assert_eq!(table["rows"][0]["cells"].as_array().unwrap().len(), columns.len());
    }

    /// Whether a list with this query shows the object.
    async fn selects(&self, query: &str, object: &Value) -> bool {
        let path = format!("{}?{query}", self.collection());
        let list = self.ask("GET", &path, JSON, &Value::Null).await.unwrap();
        let items = list["items"].as_array().unwrap();
        items.iter().any(|item| item["metadata"]["uid"] == object["metadata"]["uid"])
    }

    /// Each selector once so that it selects the object, and once so that it doesn't.
    async fn selectors(&self, object: &Value) {
        let name = object["metadata"]["name"].as_str().unwrap();
        for (query, selected) in [
            (format!("fieldSelector=metadata.name%3D{name}"), true),
            ("fieldSelector=metadata.name%3Dother".to_owned(), false),
            (format!("fieldSelector=metadata.name%21%3D{name}"), false),
            ("labelSelector=tested%3Dyes".to_owned(), true),
            ("labelSelector=tested".to_owned(), true),
            ("labelSelector=tested+in+%28no%2Cyes%29".to_owned(), true),
            ("labelSelector=tested%3Dno".to_owned(), false),
            ("labelSelector=tested%21%3Dyes".to_owned(), false),
            ("labelSelector=%21tested".to_owned(), false),
            ("labelSelector=no%3Dsuch".to_owned(), false),
        ] {
            assert_eq!(self.selects(&query, object).await, selected, "{query}");
        }
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

    /// What is read in another encoding and written back in it is the same.
    async fn encodings(&self) {
        let object = self.get().await.unwrap();
        let protobuf = (self.def.names.group != "minik8s.io").then_some(PROTOBUF);
        for encoding in [CBOR].into_iter().chain(protobuf) {
            let read = http::Request::get(self.object_path()).header("accept", encoding);
            let read = self.client.send(read.body(Body::empty()).unwrap()).await.unwrap();
            assert_eq!(read.headers()["content-type"], encoding);
            let write = http::Request::put(format!("{}?dryRun=All", self.object_path()))
                .header("content-type", encoding)
                .body(read.into_body().collect_bytes().await.unwrap().to_vec());
            let written = self.client.request::<Value>(write.unwrap()).await;
            assert_eq!(written.unwrap(), object, "{encoding}");
        }
    }

    /// A write to the status changes it and leaves the rest as it is; a write to the object leaves the status.
    async fn status(&self) {
        let path = format!("{}/status", self.object_path());
        if !self.def.subresources.contains(&Subresource::Status) {
            assert!(self.ask("GET", &path, JSON, &Value::Null).await.is_err());
            return;
        }
        let before = self.get().await.unwrap();
        let status = status_of(&self.def.names.plural);
        let mut changed = before.clone();
        changed["spec"] = json!({});
        for (field, value) in status.as_object().unwrap() {
            changed["status"][field] = value.clone();
        }
        assert_ne!(changed["status"], before["status"], "the status to write says nothing new");
        let after = self.ask("PUT", &path, JSON, &changed).await.unwrap();
        assert_eq!(after["spec"], before["spec"]);
        assert_eq!(after["status"], changed["status"]);
        assert_ne!(after["metadata"]["resourceVersion"], before["metadata"]["resourceVersion"]);
        assert_eq!(self.get().await.as_ref(), Ok(&after));
        assert_eq!(self.ask("GET", &path, JSON, &Value::Null).await.as_ref(), Ok(&after));
        let mut back = after.clone();
        back["status"] = before["status"].clone();
        assert_eq!(self.ask("PUT", &self.object_path(), JSON, &back).await.as_ref(), Ok(&after));
    }

    /// Deletes it, with preconditions first; a watch from its creation has seen all of it.
    async fn delete(&self, created: &Value) {
        let wrong = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": "another"}});
        assert_eq!(self.ask("DELETE", &self.object_path(), JSON, &wrong).await, Err(409));
        // Jobs and ReplicationControllers would wait for what orphans their pods.
        let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        let answer = self.ask("DELETE", &self.object_path(), JSON, &now).await.unwrap();
        if self.def.is_shown_when_deleted {
            assert_eq!(answer["kind"], self.def.names.kind, "{answer}");
        }
        self.let_go().await;
        if self.def.names.plural == "namespaces" {
            let finalized = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": created["metadata"], "spec": {"finalizers": []}});
            let mut finalized = finalized;
            finalized["metadata"]["resourceVersion"] = Value::Null;
            self.ask("PUT", &format!("{}/finalize", self.object_path()), JSON, &finalized)
                .await
                .unwrap();
        }
        self.is_gone().await;
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

    /// Deletes those that selectors select; the others stay.
    async fn delete_collection(&self) {
        if self.def.names.plural == "namespaces" {
            return; // Kubernetes serves no such verb for namespaces.
        }
        let survivor = Self { object: renamed(&self.object, "survivor", "no"), ..*self };
        for case in [self, &survivor] {
            case.ask("POST", &case.collection(), JSON, &case.object).await.unwrap();
        }
        // Jobs and ReplicationControllers would wait for what orphans their pods.
        let now = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0, "propagationPolicy": "Background"});
        let tested = format!("{}?labelSelector=tested%3Dyes", self.collection());
        let deleted = self.ask("DELETE", &tested, JSON, &now).await.unwrap();
        assert_eq!(deleted["items"].as_array().unwrap().len(), 1, "{deleted}");
        self.let_go().await;
        self.is_gone().await;
        let left = survivor.get().await.unwrap();
        let name = left["metadata"]["name"].as_str().unwrap();
        let by_name = format!("{}?fieldSelector=metadata.name%3D{name}", self.collection());
        self.ask("DELETE", &by_name, JSON, &now).await.unwrap();
        survivor.let_go().await;
        survivor.is_gone().await;
    }
}

/// What a test writes into a status. A kind that has one must be here.
fn status_of(plural: &str) -> Value {
    match plural {
        "apiservices" => json!({"conditions": [condition("Available")]}),
        "certificatesigningrequests" => {
            let mut told = condition("Tested");
            told["lastUpdateTime"] = json!("2026-01-01T00:00:00Z");
            told["lastTransitionTime"] = told["lastUpdateTime"].clone();
            json!({ "conditions": [told] })
        }
        "cronjobs" => json!({"lastScheduleTime": "2026-01-01T00:00:00Z"}),
        "customresourcedefinitions" => json!({"observedGeneration": 1}),
        "daemonsets" => json!({"currentNumberScheduled": 1, "desiredNumberScheduled": 2,
            "numberMisscheduled": 0, "numberReady": 1}),
        "deployments" => json!({"replicas": 2, "updatedReplicas": 1}),
        "dnses" => json!({"address": "10.96.0.77"}),
        "flowschemas" => {
            // What the server insists on.
            let message = "This FlowSchema references the PriorityLevelConfiguration object named \"workload-low\" and it exists";
            let dangling = json!({"type": "Dangling", "status": "False", "reason": "Found", "message": message});
            json!({ "conditions": [dangling, condition("Tested")] })
        }
        "functions" => json!({"replicas": 7, "readyReplicas": 3}),
        "gpujobs" => {
            json!({"state": "RUNNING", "jobId": "77", "active": 1, "succeeded": 0, "failed": 0})
        }
        "horizontalpodautoscalers" => json!({"currentReplicas": 2, "desiredReplicas": 3}),
        "ingresses" => json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}),
        "jobs" => json!({"active": 2, "ready": 1}),
        "namespaces" => json!({"conditions": [condition("NamespaceContentRemaining")]}),
        "nodes" => json!({"conditions": [condition("Ready")], "phase": "Running"}),
        "poddisruptionbudgets" => json!({"currentHealthy": 2, "disruptionsAllowed": 1}),
        "prioritylevelconfigurations" => json!({"conditions": [condition("Tested")]}),
        "persistentvolumeclaims" => json!({"phase": "Bound", "accessModes": ["ReadWriteOnce"]}),
        "persistentvolumes" => json!({"phase": "Available"}),
        "pods" => {
            json!({"phase": "Running", "podIP": "10.244.0.77", "podIPs": [{"ip": "10.244.0.77"}]})
        }
        "replicasets" | "replicationcontrollers" => json!({"replicas": 2, "readyReplicas": 1}),
        "resourcequotas" => json!({"hard": {"pods": "10"}, "used": {"pods": "1"}}),
        "resourceclaims" => {
            let result = json!({"request": "gpu", "driver": "gpu.example.com", "pool": "node-1", "device": "gpu-0"});
            json!({"allocation": {"devices": {"results": [result]}}})
        }
        "servicecidrs" | "services" => {
            let mut told = condition("Tested");
            told["lastTransitionTime"] = json!("2026-01-01T00:00:00Z");
            json!({ "conditions": [told] })
        }
        "statefulsets" => json!({"replicas": 2, "readyReplicas": 1}),
        "validatingadmissionpolicies" => json!({"observedGeneration": 7}),
        "volumeattachments" => json!({"attached": true}),
        "workflowruns" => json!({"phase": "Running"}),
        "workflows" => json!({"lastRun": {"name": "example-7", "phase": "Running"}, "active": 1}),
        other => panic!("{other} has a status, and nothing to write into it here"),
    }
}

fn condition(type_: &str) -> Value {
    json!({"type": type_, "status": "True", "reason": "Tested", "message": "by a test"})
}

fn renamed(object: &Value, name: &str, tested: &str) -> Value {
    let mut other = object.clone();
    other["metadata"]["name"] = json!(name);
    other["metadata"]["labels"]["tested"] = json!(tested);
    if other["kind"] == "APIService" {
        // It is called what it is for.
        other["metadata"]["name"] = json!(format!("v1.{name}.example.com"));
        other["spec"]["group"] = json!(format!("{name}.example.com"));
    }
    if other["kind"] == "IPAddress" {
        // It is called what it is.
        let last = if name == "example" { 7 } else { 8 };
        other["metadata"]["name"] = json!(format!("192.0.2.{last}"));
    }
    if other["kind"] == "CustomResourceDefinition" {
        // It is called what it defines.
        other["metadata"]["name"] = json!(format!("{name}.stable.example.com"));
        other["spec"]["names"] = json!({"plural": name, "kind": format!("Kind{name}")});
    }
    other
}

#[tokio::test]
async fn every_kind_takes_every_verb() {
    let plane = ControlPlane::start().await;
    let client = plane.client();
    for def in registry::all() {
        let object = renamed(&example(&def), "example", "yes");
        let case = Case { client: &client, object, def: &def };
        let created = case.create().await;
        let settled = case.settled(created.clone()).await;
        case.reads(&settled).await;
        case.writes(&settled).await;
        case.status().await;
        case.encodings().await;
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
