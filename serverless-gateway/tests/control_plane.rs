//! What the gateway learns from a real API server in process.

#![allow(clippy::unwrap_used, reason = "a test fails where it panics")]

use std::sync::Arc;

use api_types::{api::core::v1::Pod, minik8s::Function};
use component::Health;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use serverless_gateway::{
    directory::{Missing, SharedDirectory},
    watch,
};
use testkit::{ControlPlane, wait};

/// Waits until the function `add` has so many instances; None: until it does not exist.
async fn until_instances(directory: &SharedDirectory, expected: Option<usize>) {
    let look = async || match directory.target("default", "add") {
        Ok(target) if Some(target.instances.len()) == expected => Ok(()),
        Err(Missing::Unknown) if expected.is_none() => Ok(()),
        other => Err(other),
    };
    wait::until(&format!("instances: {expected:?}"), look).await;
}

#[tokio::test]
async fn functions_and_their_ready_pods_are_learnt_and_forgotten() {
    let plane = ControlPlane::start().await;
    let functions = Api::<Function>::default_namespaced(plane.client());
    let pods = Api::<Pod>::default_namespaced(plane.client());
    let (directory, health) = (Arc::<SharedDirectory>::default(), Health::default());
    let (listwatch, check) = (plane.listwatch(), health.check("functions"));
    assert!(!health.is_ready());
    let watched = directory.clone();
    tokio::spawn(async move { watch(&listwatch, &watched, &check).await });
    until_instances(&directory, None).await;
    assert!(health.is_ready());

    let function = json!({
        "apiVersion": "minik8s.io/v1",
        "kind": "Function",
        "metadata": {"name": "add"},
        "spec": {"source": {"files": {"add.py": "def main(params): return params"}}},
    });
    let function = serde_json::from_value(function).unwrap();
    functions.create(&PostParams::default(), &function).await.unwrap();
    until_instances(&directory, Some(0)).await;

    let labels = json!({"minik8s.io/function": "add"});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "add-1", "labels": labels},
        "spec": {"containers": [{"name": "add", "image": "minik8s/python:0.1"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"status": {"podIP": "10.244.0.2", "conditions": [ready]}});
    let params = PatchParams::default();
    pods.patch_status("add-1", &params, &Patch::Merge(&status)).await.unwrap();
    until_instances(&directory, Some(1)).await;

    functions.delete("add", &Default::default()).await.unwrap();
    until_instances(&directory, None).await;
}
