//! `pods/log`: the output of a container, fetched from the kubelet of the pod's node and passed on as it comes.

use api_machinery::ApiError;
use axum::body::Body;
use http::StatusCode;

use super::kubelet;
use crate::{
    call::Call,
    kubelet_client::KubeletClient,
    objects::Objects,
    respond::{self, Response, Streamed},
};

/// The options that the kubelet knows.
const OPTIONS: &[&str] =
    &["follow", "previous", "timestamps", "tailLines", "limitBytes", "sinceSeconds", "sinceTime"];

/// Streams the log of a container.
pub(crate) async fn stream(
    objects: Objects<'_>,
    client: Option<&KubeletClient>,
    call: &Call,
) -> Result<Response, ApiError> {
    let at = call.address()?;
    let pod = objects.storage.get(at).await?.object;
    let container = kubelet::container(&pod, at.name, call.query.get("container"))?;
    let Some(node) = kubelet::node(&pod) else {
        // Kubernetes: a pod without a node has an empty log.
        return Ok(respond::text(StatusCode::OK, Body::empty()));
    };
    let (client, kubelet) = kubelet::of_node(client, objects, node).await?;
    let namespace = at.namespace.unwrap_or_default();
    let path = format!("/containerLogs/{namespace}/{}/{container}", at.name);
    let options: Vec<(&str, &str)> =
        OPTIONS.iter().filter_map(|&o| Some((o, call.query.get(o)?))).collect();
    let answer = client.get(&kubelet, &path, &options).await;
    let answer = answer.map_err(|e| kubelet::unreachable(&kubelet, &e))?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let mut response = respond::text(StatusCode::OK, Body::from_stream(answer.bytes_stream()));
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

/// The kubelet's refusal in its own words.
async fn refused(answer: reqwest::Response) -> ApiError {
    let status = answer.status();
    let text = kubelet::refusal(answer).await;
    let message = text.trim();
    match status.as_u16() {
        400 => ApiError::bad_request(message),
        404 => ApiError::new(404, "NotFound", message),
        code => ApiError::internal(format!("the kubelet answered {code}: {message}")),
    }
}
