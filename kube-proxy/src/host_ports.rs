//! Tells, on the node, whether Ingresses are served at the host's own addresses: who writes what addresses they have goes
//! by it.

use std::time::Duration;

use api_machinery::host_routes::HOST_PORTS_ANNOTATION;
use api_types::api::core::v1::Node;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    runtime::reflector::{ObjectRef, Store},
};
use serde_json::json;
use tracing::warn;

use crate::wake::Wake;

/// Until it is looked again, though nothing is said to have changed.
const UPKEEP: Duration = Duration::from_secs(60);

/// Keeps the node's annotation, until dropped.
pub(crate) async fn keep(
    client: &Client,
    node: &str,
    nodes: &Store<Node>,
    wake: &Wake,
    serves: bool,
) {
    let api = Api::<Node>::all(client.clone());
    loop {
        let there = nodes.get(&ObjectRef::new(node));
        if there.is_some_and(|node| says(&node) != serves) {
            let value = serves.then_some("true");
            let patch = json!({"metadata": {"annotations": {HOST_PORTS_ANNOTATION: value}}});
            let (patch, params) = (Patch::Merge(patch), PatchParams::default());
            if let Err(error) = api.patch_metadata(node, &params, &patch).await {
                warn!(%error, "cannot tell whether Ingresses are served at this host's addresses");
            }
        }
        wake.wait(UPKEEP).await;
    }
}

fn says(node: &Node) -> bool {
    let annotations = node.metadata.annotations.as_ref();
    annotations.is_some_and(|all| all.contains_key(HOST_PORTS_ANNOTATION))
}
