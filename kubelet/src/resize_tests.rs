//! Pods whose containers are to take more or less than they do, against an API server in process.

use api_types::api::core::v1::{Event as Recorded, Pod, PodStatus};
use kube::{
    Api,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};
use testkit::{ControlPlane, pod, wait};

use crate::{
    fake_node::{IMAGE, Node},
    runtime::fake::Fake,
};

/// The node has four processors.
fn sample(name: &str, resources: &Value, policy: &Value) -> Pod {
    let mut pod = serde_json::to_value(pod(name).image(IMAGE).node("n1").build()).unwrap();
    pod["spec"]["containers"][0]["resources"] = resources.clone();
    pod["spec"]["containers"][0]["resizePolicy"] = policy.clone();
    serde_json::from_value(pod).unwrap()
}

fn asks(cpu: &str) -> Value {
    json!({"requests": {"cpu": cpu}})
}

async fn resize(node: &Node, name: &str, resources: Value) {
    let patch = json!({"spec": {"containers": [{"name": "main", "resources": resources}]}});
    let (parameters, patch) = (PatchParams::default(), Patch::Strategic(patch));
    node.api.patch_subresource("resize", name, &parameters, &patch).await.unwrap();
}

/// The reason of a condition that is there.
fn condition<'a>(status: &'a PodStatus, kind: &str) -> Option<&'a str> {
    let mut all = status.conditions.iter().flatten();
    all.find(|c| c.type_ == kind).map(|c| c.reason.as_deref().unwrap_or_default())
}

fn only(status: &PodStatus) -> Value {
    serde_json::to_value(status.container_statuses.iter().flatten().next()).unwrap()
}

/// Whether the container has this, and its pod says of nothing more that it is to come.
fn has(status: &PodStatus, resources: &Value) -> bool {
    let goes_on = ["PodResizePending", "PodResizeInProgress"];
    let container = only(status);
    status.phase.as_deref() == Some("Running")
        && container["resources"] == *resources
        && container["allocatedResources"] == resources["requests"]
        && goes_on.iter().all(|kind| condition(status, kind).is_none())
}

async fn until_told(node: &Node, reason: &str) {
    let events: Api<Recorded> = Api::default_namespaced(node.control_plane.client());
    let told = async || {
        let events = events.list(&ListParams::default()).await.unwrap().items;
        let reasons: Vec<_> = events.into_iter().filter_map(|event| event.reason).collect();
        if reasons.iter().any(|told| told == reason) { Ok(()) } else { Err(reasons) }
    };
    wait::until(&format!("{reason} is told"), told).await;
}

#[tokio::test]
async fn a_container_takes_more_without_a_restart() {
    let node = Node::start().await;
    node.create(&sample("web", &asks("500m"), &json!([]))).await;
    let small = asks("500m");
    node.until_status("web", "runs", |status| has(status, &small)).await;
    let large = json!({"requests": {"cpu": "1", "memory": "64Mi"}, "limits": {"memory": "64Mi"}});
    resize(&node, "web", large.clone()).await;
    let done = |status: &PodStatus| has(status, &large) && status.observed_generation == Some(2);
    let pod = node.until_status("web", "is resized", done).await;
    assert_eq!(only(&pod.status.unwrap())["restartCount"], 0);
    assert_eq!(node.runtime.calls(), ["sandbox 0", "start main", "update main"]);
    let running = node.context().running.all();
    assert_eq!(running[0].containers[0].resources.memory, Some(64 << 20));
    until_told(&node, "ResizeStarted").await;
    until_told(&node, "ResizeCompleted").await;
}

#[tokio::test]
async fn a_container_that_wants_to_begins_anew_with_what_it_is_given() {
    let node = Node::start().await;
    let policy = json!([{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]);
    node.create(&sample("web", &asks("500m"), &policy)).await;
    let (small, large) = (asks("500m"), asks("1"));
    node.until_status("web", "runs", |status| has(status, &small)).await;
    resize(&node, "web", large.clone()).await;
    node.until_called("SIGTERM main").await;
    node.runtime.end("main", 143);
    let done = |status: &PodStatus| has(status, &large) && only(status)["restartCount"] == 1;
    node.until_status("web", "is resized", done).await;
    assert!(!node.runtime.calls().contains(&"update main".to_owned()));
    let made = node.runtime.specs().into_iter().find(|made| made.attempt == 1).unwrap();
    assert_eq!(made.resources.cpu_shares, Some(1024));
}

#[tokio::test]
async fn a_pod_waits_for_room_and_is_told_where_there_never_will_be() {
    let node = Node::start().await;
    node.create(&sample("web", &asks("1"), &json!([]))).await;
    node.create(&sample("other", &asks("2"), &json!([]))).await;
    let (one, two) = (asks("1"), asks("2"));
    node.until_status("web", "runs", |status| has(status, &one)).await;
    node.until_status("other", "runs", |status| has(status, &two)).await;
    resize(&node, "web", asks("5")).await;
    let refused = |status: &PodStatus| condition(status, "PodResizePending") == Some("Infeasible");
    let pod = node.until_status("web", "is refused", refused).await;
    let status = pod.status.unwrap();
    assert_eq!(only(&status)["resources"], one);
    assert_eq!(status.observed_generation, Some(2));
    until_told(&node, "ResizeInfeasible").await;

    resize(&node, "web", asks("3")).await;
    let deferred = |status: &PodStatus| condition(status, "PodResizePending") == Some("Deferred");
    node.until_status("web", "waits", deferred).await;
    assert!(!node.runtime.calls().contains(&"update main".to_owned()));
    node.api.delete("other", &DeleteParams::default().grace_period(0)).await.unwrap();
    let three = asks("3");
    node.until_status("web", "is resized", |status| has(status, &three)).await;
}

#[tokio::test]
async fn what_the_runtime_refuses_is_told_and_tried_again() {
    let node = Node::start().await;
    node.runtime.set_broken("update main", true);
    node.create(&sample("web", &asks("500m"), &json!([]))).await;
    let small = asks("500m");
    node.until_status("web", "runs", |status| has(status, &small)).await;
    resize(&node, "web", asks("1")).await;
    let failed = |status: &PodStatus| condition(status, "PodResizeInProgress") == Some("Error");
    let pod = node.until_status("web", "can't be resized", failed).await;
    let container = only(&pod.status.unwrap());
    assert_eq!(
        (&container["resources"], &container["allocatedResources"]["cpu"]),
        (&small, &json!("1"))
    );
    until_told(&node, "ResizeError").await;
    node.runtime.set_broken("update main", false);
    let large = asks("1");
    node.until_status("web", "is resized", |status| has(status, &large)).await;
}

#[tokio::test]
async fn a_kubelet_that_restarts_knows_what_was_given() {
    let plane = ControlPlane::start().await;
    let api: Api<Pod> = Api::default_namespaced(plane.client());
    let pod = sample("web", &asks("5"), &json!([]));
    api.create(&PostParams::default(), &pod).await.unwrap();
    let status = json!({"status": {"phase": "Running", "startTime": "2026-01-01T00:00:00Z",
    "containerStatuses": [{
        "name": "main", "image": IMAGE, "imageID": "", "restartCount": 0, "ready": true,
        "allocatedResources": {"cpu": "1"}, "resources": asks("1"),
    }]}});
    api.patch_status("web", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    let node = Node::on(plane, Fake::with_images(&[IMAGE]));
    let refused = |status: &PodStatus| {
        condition(status, "PodResizePending") == Some("Infeasible")
            && only(status)["state"]["running"].is_object()
    };
    node.until_status("web", "runs with less than it asks for", refused).await;
    let shares: Vec<_> =
        node.runtime.specs().iter().map(|made| made.resources.cpu_shares).collect();
    assert_eq!(shares, [Some(1024)]);
}
