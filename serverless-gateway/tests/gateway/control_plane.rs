//! What the gateway learns from a real API server in process.

use api_types::{api::core::v1::Pod, minik8s::Function};
use component::Health;
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use serverless_gateway::watch;
use testkit::{ControlPlane, wait};

use crate::rig::{Options, Rig, address, echo, instance};

#[tokio::test]
async fn functions_and_their_ready_pods_are_learnt_and_forgotten() {
    let plane = ControlPlane::start().await;
    let functions = Api::<Function>::default_namespaced(plane.client());
    let pods = Api::<Pod>::default_namespaced(plane.client());
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::without_lists(port, Options::default()).await;
    let (listwatch, health, watched) =
        (plane.listwatch(), Health::default(), rig.functions.clone());
    let check = health.check("functions");
    assert!(!health.is_ready());
    tokio::spawn(async move { watch(&listwatch, &watched, &check).await });
    let answered = async |code: u16| {
        let answer = async || match rig.post("/add", "").await.status().as_u16() {
            answer if answer == code => Ok(()),
            other => Err(other),
        };
        wait::until(&format!("a call is answered with {code}"), answer).await;
    };
    answered(404).await;
    assert!(health.is_ready());

    let function = json!({
        "apiVersion": "minik8s.io/v1",
        "kind": "Function",
        "metadata": {"name": "add"},
        "spec": {"source": {"files": {"add.py": "def main(params): return params"}}},
    });
    let function = serde_json::from_value(function).unwrap();
    functions.create(&PostParams::default(), &function).await.unwrap();
    let status = Patch::Merge(json!({"status": {"version": 1}}));
    functions.patch_status("add", &PatchParams::default(), &status).await.unwrap();
    let known = async || match rig.metric("function_calls_queued") {
        Some(0) => Ok(()),
        other => Err(other),
    };
    wait::until("the function is known", known).await;
    let call = tokio::spawn(rig.client.post(format!("{}/add", rig.url)).send());
    rig.queued(1).await;

    let labels = json!({"minik8s.io/function": "add", "minik8s.io/function-version": "1"});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "add-1", "labels": labels},
        "spec": {"containers": [{"name": "function", "image": "minik8s/python:0.1"}]},
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod).unwrap()).await.unwrap();
    let ready = json!({"type": "Ready", "status": "True"});
    let status = json!({"status": {"podIP": address(1), "conditions": [ready]}});
    let params = PatchParams::default();
    pods.patch_status("add-1", &params, &Patch::Merge(&status)).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 201);

    functions.delete("add", &Default::default()).await.unwrap();
    answered(404).await;
}
