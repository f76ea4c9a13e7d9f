//! What is asked of a pod's kubelet: which one that is, and about which container.

use std::net::SocketAddr;

use api_machinery::ApiError;
use serde_json::Value;

use crate::{
    kubelet_client::{Kubelet, KubeletClient},
    state::State,
    storage::Address,
};

/// The port of a kubelet that doesn't say another.
const KUBELET_PORT: u16 = 10250;

/// The container that is meant: the one named, or the only one.
pub(super) fn container(
    pod: &Value,
    pod_name: &str,
    wanted: Option<&str>,
) -> Result<String, ApiError> {
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

/// The node that a pod is bound to, if it is.
pub(super) fn node(pod: &Value) -> Option<&str> {
    pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty())
}

/// Where the kubelet of a node listens, as the node's status says, and how it is spoken to.
pub(super) async fn of_node<'a>(
    state: &'a State,
    node: &str,
) -> Result<(&'a KubeletClient, Kubelet), ApiError> {
    let Some(client) = &state.config.kubelet_client else {
        return Err(ApiError::internal("this server has no credentials for kubelets"));
    };
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
    Ok((client, Kubelet { node: node.to_owned(), address: SocketAddr::new(address, port) }))
}

pub(super) fn unreachable(kubelet: &Kubelet, error: &reqwest::Error) -> ApiError {
    let mut causes = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = source {
        causes += &format!(": {cause}");
        source = cause.source();
    }
    ApiError::internal(format!("the kubelet of node {:?} can't be reached{causes}", kubelet.node))
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
