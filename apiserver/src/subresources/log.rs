//! `pods/log`: the output of a container, fetched from the kubelet of the pod's node and passed on as it comes.

use std::net::SocketAddr;

use api_machinery::ApiError;
use axum::body::Body;
use http::StatusCode;
use serde_json::Value;

use crate::{
    call::Call,
    kubelet_client::Kubelet,
    respond::{self, Response, Streamed},
    state::State,
    storage::Address,
};

/// The options that the kubelet knows.
const OPTIONS: &[&str] =
    &["follow", "previous", "timestamps", "tailLines", "limitBytes", "sinceSeconds", "sinceTime"];

/// The port of a kubelet that doesn't say another.
const KUBELET_PORT: u16 = 10250;

/// Streams the log of a container.
pub(crate) async fn stream(state: &State, call: &Call) -> Result<Response, ApiError> {
    let at = call.address()?;
    let pod = state.storage.get(at).await?.object;
    let container = container(&pod, at.name, call.query.get("container"))?;
    let Some(node) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) else {
        // Kubernetes: a pod without a node has an empty log.
        return Ok(respond::text(StatusCode::OK, Body::empty()));
    };
    let kubelet = kubelet(state, node).await?;
    let namespace = at.namespace.unwrap_or_default();
    let path = format!("/containerLogs/{namespace}/{}/{container}", at.name);
    let options: Vec<(&str, &str)> =
        OPTIONS.iter().filter_map(|&o| Some((o, call.query.get(o)?))).collect();
    let Some(client) = &state.config.kubelet_client else {
        return Err(ApiError::internal("this server has no credentials for kubelets"));
    };
    let answer =
        client.get(&kubelet, &path, &options).await.map_err(|e| unreachable(&kubelet, &e))?;
    if !answer.status().is_success() {
        return Err(refused(answer).await);
    }
    let mut response = respond::text(StatusCode::OK, Body::from_stream(answer.bytes_stream()));
    response.extensions_mut().insert(Streamed);
    Ok(response)
}

/// The container that is meant: the one named, or the only one.
fn container(pod: &Value, pod_name: &str, wanted: Option<&str>) -> Result<String, ApiError> {
    let (containers, init) = (names(pod, "containers"), names(pod, "initContainers"));
    let Some(wanted) = wanted else {
        return match containers.as_slice() {
            [only] if init.is_empty() => Ok((*only).to_owned()),
            _ => Err(ApiError::bad_request(choose(pod_name, &containers, &init))),
        };
    };
    let ephemeral = names(pod, "ephemeralContainers");
    if containers.iter().chain(&init).chain(&ephemeral).any(|name| *name == wanted) {
        return Ok(wanted.to_owned());
    }
    Err(ApiError::bad_request(format!("container {wanted} is not valid for pod {pod_name}")))
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    containers.filter_map(|c| c["name"].as_str()).collect()
}

fn choose(pod: &str, containers: &[&str], init: &[&str]) -> String {
    let mut message = format!(
        "a container name must be specified for pod {pod}, choose one of: [{}]",
        containers.join(" ")
    );
    if !init.is_empty() {
        message += &format!(" or one of the init containers: [{}]", init.join(" "));
    }
    message
}

/// Where the kubelet of a node listens, as the node's status says.
async fn kubelet(state: &State, node: &str) -> Result<Kubelet, ApiError> {
    let catalogue = state.catalogue.load();
    let Some(def) = catalogue.find("", "v1", "nodes") else {
        return Err(ApiError::internal("there is no kind Node"));
    };
    let object = state.storage.get(Address { def, namespace: None, name: node }).await?.object;
    let status = &object["status"];
    let address = status["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|a| a["type"] == "InternalIP")
        .find_map(|a| a["address"].as_str()?.parse().ok())
        .ok_or_else(|| ApiError::internal(format!("node {node:?} has no internal address")))?;
    let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok())
        .unwrap_or(KUBELET_PORT);
    Ok(Kubelet { node: node.to_owned(), address: SocketAddr::new(address, port) })
}

fn unreachable(kubelet: &Kubelet, error: &reqwest::Error) -> ApiError {
    let mut causes = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = source {
        causes += &format!(": {cause}");
        source = cause.source();
    }
    ApiError::internal(format!("the kubelet of node {:?} can't be reached{causes}", kubelet.node))
}

/// The kubelet's refusal in its own words.
async fn refused(answer: reqwest::Response) -> ApiError {
    let status = answer.status();
    let text = answer.text().await.unwrap_or_default();
    let message = text.trim();
    match status.as_u16() {
        400 => ApiError::bad_request(message),
        404 => ApiError::new(404, "NotFound", message),
        code => ApiError::internal(format!("the kubelet answered {code}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(pod: &Value, wanted: Option<&str>, expected: &str) {
        let got = container(pod, "web", wanted).unwrap_or_else(|e| e.to_string());
        assert_eq!(got, expected);
    }

    #[test]
    fn the_only_container_needs_no_name() {
        let one = json!({"spec": {"containers": [{"name": "a"}]}});
        check(&one, None, "a");
        check(&one, Some("a"), "a");
        check(&one, Some("b"), "container b is not valid for pod web");
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        check(&two, Some("i"), "i");
        check(
            &two,
            None,
            "a container name must be specified for pod web, choose one of: [a b] or one of the init containers: [i]",
        );
    }
}
