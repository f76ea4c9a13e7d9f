//! `pods/binding`: the scheduler's choice of a node, made once and for all
//! (Kubernetes: `pkg/registry/core/pod/storage/storage.go`, `assignPod`).

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::{
    body,
    call::Call,
    respond::{self, Response},
    server::Server,
    storage::Address,
};

/// How often a binding is tried that others get in the way of.
const ATTEMPTS: usize = 32;

/// Assigns a pod to a node.
pub(crate) async fn bind(server: &Server, call: &Call) -> Result<Response, ApiError> {
    let mut binding = body::object(&call.headers, &call.body)?;
    call.place(&mut binding)?;
    let name = binding["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let at =
        Address { def: &call.info.def, namespace: call.info.namespace.as_deref(), name: &name };
    let node = target(&binding)?;
    let dry_run = call.dry_run()?;
    let mut attempts = ATTEMPTS;
    loop {
        attempts -= 1;
        let old = server.storage.get(at).await?;
        let pod = bound(at, &old.object, &binding, &node)?;
        if dry_run {
            return Ok(created());
        }
        match server.storage.update(at, &old, pod).await {
            Err(error) if attempts > 0 && error.reason() == "Conflict" => {}
            result => return result.map(|_| created()),
        }
    }
}

fn created() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    respond::json(StatusCode::CREATED, &status)
}

fn target(binding: &Value) -> Result<String, ApiError> {
    let target = &binding["target"];
    let kind = target["kind"].as_str().unwrap_or_default();
    if !matches!(kind, "" | "Node") {
        return Err(invalid(format!(
            "target.kind: Unsupported value: {kind:?}: supported values: \"Node\", \"<empty>\""
        )));
    }
    match target["name"].as_str() {
        Some(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err(invalid("target.name: Required value".to_owned())),
    }
}

fn invalid(fault: String) -> ApiError {
    ApiError::new(422, "Invalid", fault)
}

fn bound(at: Address<'_>, pod: &Value, binding: &Value, node: &str) -> Result<Value, ApiError> {
    let uid = &binding["metadata"]["uid"];
    if uid.as_str().is_some_and(|uid| !uid.is_empty()) && *uid != pod["metadata"]["uid"] {
        return Err(at.conflict("the pod is another one than the binding names: its UID differs"));
    }
    if pod["metadata"]["deletionTimestamp"].is_string() {
        let name = at.name;
        return Err(
            at.conflict(&format!("pod {name} is being deleted, cannot be assigned to a host"))
        );
    }
    match pod["spec"]["nodeName"].as_str() {
        None | Some("") => {}
        Some(other) => {
            let name = at.name;
            return Err(at.conflict(&format!("pod {name} is already assigned to node {other:?}")));
        }
    }
    let mut pod = pod.clone();
    pod["spec"]["nodeName"] = node.into();
    copy_annotations(&mut pod, &binding["metadata"]["annotations"]);
    set_scheduled(&mut pod);
    Ok(pod)
}

fn copy_annotations(pod: &mut Value, annotations: &Value) {
    for (key, value) in annotations.as_object().into_iter().flatten() {
        pod["metadata"]["annotations"][key] = value.clone();
    }
}

/// Sets the condition `PodScheduled`.
fn set_scheduled(pod: &mut Value) {
    let condition = json!({
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": null,
        "lastTransitionTime": Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    });
    if !pod["status"].is_object() {
        pod["status"] = Value::Object(Map::new());
    }
    let mut conditions = pod["status"]["conditions"].as_array().cloned().unwrap_or_default();
    conditions.retain(|c| c["type"] != "PodScheduled");
    conditions.push(condition);
    pod["status"]["conditions"] = conditions.into();
}
