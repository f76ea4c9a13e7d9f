//! What is asked of a pod's kubelet: which one that is, and about which container.

use std::net::SocketAddr;

use api_machinery::ApiError;
use serde_json::Value;

use crate::{
    kubelet_client::{Kubelet, KubeletClient, causes},
    objects::Objects,
};

/// The port of a kubelet that doesn't say another.
const KUBELET_PORT: u16 = 10250;
const MAX_REFUSAL: usize = 64 << 10;

/// The container that is meant: the one named, or the only one that is no init container.
/// (Kubernetes: `validateContainer` in `pkg/registry/core/pod/strategy.go`.)
pub(super) fn container(
    pod: &Value,
    pod_name: &str,
    wanted: Option<&str>,
) -> Result<String, ApiError> {
    let all =
        || ["initContainers", "containers", "ephemeralContainers"].map(|l| names(pod, l)).concat();
    let message = match (wanted, names(pod, "containers").as_slice()) {
        (Some(wanted), _) if all().contains(&wanted) => return Ok(wanted.to_owned()),
        (Some(wanted), _) => format!("container {wanted} is not valid for pod {pod_name}"),
        (None, [only]) => return Ok((*only).to_owned()),
        (None, _) => format!(
            "a container name must be specified for pod {pod_name}, choose one of: [{}]",
            all().join(" ")
        ),
    };
    Err(ApiError::bad_request(message))
}

fn names<'a>(pod: &'a Value, list: &str) -> Vec<&'a str> {
    let containers = pod["spec"][list].as_array().into_iter().flatten();
    containers.filter_map(|c| c["name"].as_str()).collect()
}

/// The node that a pod is bound to, if it is.
pub(super) fn node(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// Where the kubelet of a node listens, as the node's status says, and how it is spoken to.
pub(super) async fn of_node<'a>(
    client: Option<&'a KubeletClient>,
    objects: Objects<'_>,
    node: &str,
) -> Result<(&'a KubeletClient, Kubelet), ApiError> {
    let Some(client) = client else {
        return Err(ApiError::internal("this server has no credentials for kubelets"));
    };
    let object = objects.get("nodes", None, node).await?;
    let kubelet = at(node, &object["status"])
        .ok_or_else(|| ApiError::internal(format!("node {node:?} has no internal address")))?;
    Ok((client, kubelet))
}

/// Where the kubelet of a node listens that has this status.
pub(crate) fn at(node: &str, status: &Value) -> Option<Kubelet> {
    let address = status["addresses"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|a| a["type"] == "InternalIP")
        .find_map(|a| a["address"].as_str()?.parse().ok())?;
    let port = status["daemonEndpoints"]["kubeletEndpoint"]["Port"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok())
        .unwrap_or(KUBELET_PORT);
    Some(Kubelet { node: node.to_owned(), address: SocketAddr::new(address, port) })
}

pub(super) fn unreachable(kubelet: &Kubelet, error: &reqwest::Error) -> ApiError {
    let causes = causes(error);
    ApiError::internal(format!("the kubelet of node {:?} can't be reached: {causes}", kubelet.node))
}

/// What a kubelet that refuses says, or the beginning of it.
pub(super) async fn refusal(mut answer: reqwest::Response) -> String {
    let mut text = Vec::new();
    while text.len() < MAX_REFUSAL
        && let Ok(Some(part)) = answer.chunk().await
    {
        text.extend_from_slice(&part[..part.len().min(MAX_REFUSAL - text.len())]);
    }
    String::from_utf8_lossy(&text).into_owned()
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
        let one =
            json!({"spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "i"}]}});
        check(&one, None, "a");
        let two = json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]}});
        check(&two, Some("i"), "i");
        check(&two, None, "a container name must be specified for pod web, choose one of: [i a b]");
    }
}
