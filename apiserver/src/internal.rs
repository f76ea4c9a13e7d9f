//! Requests of the server to itself. They pass the whole chain, as anybody's, but no webhook is asked.

use api_machinery::ApiError;
use api_types::jiff::Timestamp;
use axum::body::Body;
use http::{Method, Request, header};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::service::InProcess;

/// Asks; gives the object of the answer.
pub(crate) async fn request(
    api: &InProcess,
    method: Method,
    path: &str,
    object: &Value,
) -> Result<Value, ApiError> {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::USER_AGENT, "kube-apiserver")
        .body(Body::from(object.to_string()))
        .map_err(ApiError::internal)?;
    // Apart: whoever asks would have room in itself for all that a request may need.
    let response = Box::pin(api.handle(request)).await;
    let code = response.status();
    let body = response.into_body().collect().await.map_err(ApiError::internal)?.to_bytes();
    let answer: Value = serde_json::from_slice(&body).map_err(ApiError::internal)?;
    if code.is_success() {
        return Ok(answer);
    }
    let text = |field: &str| answer[field].as_str().unwrap_or_default().to_owned();
    Err(ApiError::new(code.as_u16(), &text("reason"), format!("{path}: {}", text("message"))))
}

/// Creates an object unless it is there.
pub(crate) async fn ensure(
    api: &InProcess,
    collection: &str,
    object: &Value,
) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match request(api, Method::GET, &format!("{collection}/{name}"), &Value::Null).await {
        Err(error) if error.reason() == "NotFound" => {}
        result => return result.map(drop),
    }
    match request(api, Method::POST, collection, object).await {
        // Another server was faster.
        Err(error) if error.reason() == "AlreadyExists" => Ok(()),
        result => result.map(drop),
    }
}

/// Overwrites an object or creates it. What is there already isn't written again.
pub(crate) async fn replace(
    api: &InProcess,
    collection: &str,
    object: &Value,
) -> Result<(), ApiError> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    match request(api, Method::PUT, &format!("{collection}/{name}"), object).await {
        Err(error) if error.reason() == "NotFound" => {
            request(api, Method::POST, collection, object).await.map(drop)
        }
        result => result.map(drop),
    }
}

/// Warns with an Event about an object. Said again, it is counted rather than repeated. A warning that can't be
/// written is in the log alone.
pub(crate) async fn warn(
    api: &InProcess,
    object: &Value,
    reason: &str,
    action: &str,
    message: &str,
) {
    let event = event(object, reason, action, message);
    if let Err(error) = record(api, event).await {
        tracing::warn!(%error, reason, "event can't be written");
    }
}

async fn record(api: &InProcess, mut event: Value) -> Result<(), ApiError> {
    let namespace = event["metadata"]["namespace"].as_str().unwrap_or_default();
    let collection = format!("/api/v1/namespaces/{namespace}/events");
    let path = format!("{collection}/{}", event["metadata"]["name"].as_str().unwrap_or_default());
    match request(api, Method::GET, &path, &Value::Null).await {
        Ok(before) => {
            event["firstTimestamp"] = before["firstTimestamp"].clone();
            event["count"] = (before["count"].as_i64().unwrap_or(0) + 1).into();
            request(api, Method::PUT, &path, &event).await.map(drop)
        }
        Err(error) if error.code() == 404 => {
            request(api, Method::POST, &collection, &event).await.map(drop)
        }
        Err(error) => Err(error),
    }
}

/// The name is the same whenever the same is said of the same object.
fn event(object: &Value, reason: &str, action: &str, message: &str) -> Value {
    let metadata = &object["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default();
    let said = format!("{} {reason} {message}", text("uid"));
    let hash = Uuid::new_v5(&Uuid::NAMESPACE_OID, said.as_bytes()).simple();
    let now = format!("{:.0}", Timestamp::now());
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "namespace": text("namespace"), "name": format!("{}.{hash}", text("name")) },
        "involvedObject": {
            "apiVersion": object["apiVersion"], "kind": object["kind"],
            "namespace": metadata["namespace"], "name": metadata["name"],
            "uid": metadata["uid"], "resourceVersion": metadata["resourceVersion"],
        },
        "type": "Warning", "reason": reason, "action": action, "message": message,
        "source": { "component": "apiserver" },
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}
