//! The pods that are made, listed and watched.

use serde_json::{Value, json};

use crate::{load::measure, server::Server};

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// How many creations are under way at once.
const AT_ONCE: usize = 64;

pub(crate) fn name(index: usize) -> String {
    format!("pod-{index:06}")
}

/// Where the API has it.
pub(crate) fn path(index: usize) -> String {
    format!("{PODS}/{}", name(index))
}

/// Where the store has it.
pub(crate) fn key(index: usize) -> String {
    format!("/registry/core/pods/default/{}", name(index))
}

/// A pod as a client sends it: about a kilobyte. One in a hundred has the label `rare=yes`.
pub(crate) fn pod(index: usize) -> Value {
    let environment: Vec<_> = (0..8)
        .map(|i| json!({"name": format!("VARIABLE_{i}"), "value": "a value of some length"}))
        .collect();
    let rare = if index.is_multiple_of(100) { "yes" } else { "no" };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name(index), "labels": {"app": "bench", "tier": "load", "rare": rare}},
        "spec": {"containers": [{"name": "main", "image": "minik8s/busybox:0.1", "env": environment, "ports": [{"containerPort": 80}]}]},
    })
}

/// A merge patch that makes a difference.
pub(crate) fn change(index: usize) -> String {
    json!({"metadata": {"annotations": {"change": index.to_string()}}}).to_string()
}

/// Creates so many.
pub(crate) async fn fill(server: &Server, count: usize) -> anyhow::Result<()> {
    let mut clients = server.clients(AT_ONCE).await?;
    let create = async |client: &mut crate::client::Client, index| {
        client.post(PODS, pod(index).to_string()).await
    };
    measure(count, &mut clients, create).await.map(drop)
}
