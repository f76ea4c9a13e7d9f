//! What the gateway learns from a real API server in process.

use std::{sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{Event, Pod},
    minik8s::Function,
};
use axum::{Router, body::Body, http::StatusCode, routing::post};
use component::{Health, Tasks, events::Recorder};
use futures::StreamExt;
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams, PostParams},
    runtime::watcher,
};
use serde_json::json;
use serverless_gateway::watch;
use testkit::{ControlPlane, wait};
use tokio::sync::Notify;

use crate::rig::{Options, Rig, address, echo, function, instance, pod};

#[tokio::test]
async fn functions_and_their_ready_pods_are_learnt_and_forgotten() {
    let plane = ControlPlane::start().await;
    let functions = Api::<Function>::default_namespaced(plane.client());
    let pods = Api::<Pod>::default_namespaced(plane.client());
    let port = instance(address(1), 0, echo("a")).await;
    let rig = Rig::without_lists(port, Options::default()).await;
    let (listwatch, health, watched) =
        (plane.listwatch_as("serverless-gateway"), Health::default(), rig.functions.clone());
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

/// The API server has the function; no watch has told of it.
async fn made(plane: &ControlPlane, name: &str) -> Api<Function> {
    let functions = Api::<Function>::default_namespaced(plane.client());
    let mut made = function(name, &json!({"source": {"files": {"a.py": ""}}}));
    made.status = None;
    functions.create(&PostParams::default(), &made).await.unwrap();
    functions
}

async fn until_asked(plane: &ControlPlane, name: &str) {
    let question = format!("GET /apis/minik8s.io/v1/namespaces/default/functions/{name}");
    let asked = async || {
        let requests = plane.requests();
        requests.contains(&question).then_some(()).ok_or(requests)
    };
    wait::until("the API server is asked", asked).await;
}

#[tokio::test]
async fn calls_of_a_function_that_no_watch_has_told_of_wait_until_one_does() {
    let plane = ControlPlane::start().await;
    let port = instance(address(1), 0, echo("a")).await;
    let options = Options { client: Some(plane.client()), ..Options::default() };
    let rig = Rig::with(port, &[], options).await;
    rig.refused("/none", 404, "NotFound").await;
    let functions = made(&plane, "new").await;
    let call = tokio::spawn(rig.client.post(format!("{}/new", rig.url)).send());
    until_asked(&plane, "new").await;
    rig.functions.function(watcher::Event::Apply(function("new", &json!({}))));
    rig.functions.pod(watcher::Event::Apply(pod("new", address(1))));
    assert_eq!(call.await.unwrap().unwrap().status(), 201);

    made(&plane, "gone").await;
    let call = tokio::spawn(rig.client.post(format!("{}/gone", rig.url)).send());
    until_asked(&plane, "gone").await;
    functions.delete("gone", &Default::default()).await.unwrap();
    assert_eq!(call.await.unwrap().unwrap().status(), 404);
}

#[tokio::test]
async fn while_nobody_can_say_whether_there_is_a_function_none_is_missing() {
    let plane = ControlPlane::start().await;
    let port = instance(address(1), 0, echo("a")).await;
    let options = Options { client: Some(plane.client()), ..Options::default() };
    let rig = Rig::with(port, &[("add", address(1))], options).await;
    plane.stop_server().await;
    let message = rig.refused("/sub", 503, "ServiceUnavailable").await;
    let unknown = "it is not known whether there is a function default/sub: ";
    assert!(message.starts_with(unknown), "{message}");
    assert_eq!(rig.post("/add", "").await.status(), 201);
}

#[tokio::test]
async fn a_call_that_no_watch_tells_of_in_time_is_refused() {
    let plane = ControlPlane::start().await;
    let soon = Duration::from_millis(100);
    let options = Options { client: Some(plane.client()), queue_time: soon, ..Options::default() };
    let rig = Rig::with(1, &[], options).await;
    made(&plane, "new").await;
    let message = rig.refused("/new", 503, "ServiceUnavailable").await;
    assert!(message.contains("default/new: no watch has told of it within"), "{message}");
}

#[tokio::test]
async fn what_failed_is_told_by_an_event_of_the_function() {
    let plane = ControlPlane::start().await;
    let error = r#"{"error": {"type": "ValueError", "message": "no such x"}}"#;
    let fails = post(async move || (StatusCode::INTERNAL_SERVER_ERROR, error));
    let is_read = Arc::new(Notify::new());
    let may_end = is_read.clone();
    let breaks_off = post(async move || {
        let may_end = may_end.clone();
        let end = async move {
            may_end.notified().await;
            Err(std::io::Error::other("killed"))
        };
        Body::from_stream(futures::stream::iter([Ok("begin")]).chain(futures::stream::once(end)))
    });
    let routes = Router::new().route("/", fails).route("/broken", breaks_off);
    let port = instance(address(1), 0, routes).await;
    let rig = Rig::start(port, &[("add", address(1))]).await;
    let mut add = function("add", &json!({}));
    add.metadata.uid = Some("of-add".to_owned());
    rig.functions.function(watcher::Event::Apply(add));
    let recorder = Recorder::new(&Tasks::default(), plane.client(), "serverless-gateway", "");
    let functions = rig.functions.clone();
    tokio::spawn(async move { functions.tell_failures(&recorder).await });
    let answer = rig.post("/add", "").await;
    assert_eq!((answer.status().as_u16(), &*answer.text().await.unwrap()), (500, error));
    until_told(&plane, (1, 500), " at 127.0.0.1: 500 ValueError: no such x").await;
    let answer = rig.post("/default/add/broken", "").await;
    assert_eq!(answer.status(), 200);
    is_read.notify_one();
    answer.text().await.unwrap_err();
    until_told(&plane, (2, 502), " at 127.0.0.1: 502 the answer broke off: ").await;
    let metrics = rig.metrics.encode().unwrap();
    for code in [500, 502] {
        let calls = "function_calls_total{namespace=\"default\",function=\"add\"";
        assert!(metrics.contains(&format!("{calls},code=\"{code}\"}} 1\n")), "{metrics}");
    }
}

/// There is one event of the function, which says so of the last call.
async fn until_told(plane: &ControlPlane, (count, code): (i32, u16), what: &str) {
    let events = Api::<Event>::default_namespaced(plane.client());
    wait::until("an event", async || {
        let found = events.list(&ListParams::default()).await.unwrap().items;
        let told = |event: &Event| {
            let message = event.message.as_deref().unwrap_or_default();
            event.reason.as_deref() == Some("CallsFailed")
                && event.involved_object.uid.as_deref() == Some("of-add")
                && event.count == Some(count)
                && message.starts_with(&format!("1 call failed ({code}: 1)\n  "))
                && message.contains(what)
        };
        if matches!(found.as_slice(), [event] if told(event)) { Ok(()) } else { Err(found) }
    })
    .await;
}
