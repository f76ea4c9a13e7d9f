//! What the gateway learns from a real API server in process.

use api_types::{
    api::core::v1::{Event, Pod},
    minik8s::Function,
};
use axum::{Router, http::StatusCode, routing::post};
use component::{Health, Tasks, events::Recorder};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::json;
use serverless_gateway::watch;
use testkit::{ControlPlane, wait};

use crate::rig::{Options, Rig, address, echo, function, instance};

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

#[tokio::test]
async fn what_failed_is_told_by_an_event_of_the_function() {
    let plane = ControlPlane::start().await;
    let error = r#"{"error": {"type": "ValueError", "message": "no such x"}}"#;
    let fails = post(async move || (StatusCode::INTERNAL_SERVER_ERROR, error));
    let port = instance(address(1), 0, Router::new().route("/", fails)).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let mut add = function("add", &json!({}));
    add.metadata.uid = Some("of-add".to_owned());
    rig.functions.function(watcher::Event::Apply(add));
    let recorder = Recorder::new(&Tasks::default(), plane.client(), "serverless-gateway", "");
    let functions = rig.functions.clone();
    tokio::spawn(async move { functions.tell_failures(&recorder).await });
    let answer = rig.post("/add", "").await;
    assert_eq!((answer.status().as_u16(), &*answer.text().await.unwrap()), (500, error));
    let events = Api::<Event>::default_namespaced(plane.client());
    wait::until("an event", async || {
        let found = events.list(&ListParams::default()).await.unwrap().items;
        let told = found.iter().any(|event| {
            let message = event.message.as_deref().unwrap_or_default();
            event.reason.as_deref() == Some("CallsFailed")
                && event.involved_object.uid.as_deref() == Some("of-add")
                && message.starts_with("1 call failed (500: 1); ")
                && message.ends_with(" at 127.0.0.1: 500 ValueError: no such x")
        });
        if told { Ok(()) } else { Err(found) }
    })
    .await;
}
