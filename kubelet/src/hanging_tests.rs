//! A runtime or a network that does not answer holds up one thing of a pod, and nothing else.

use api_types::api::core::v1::PodStatus;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::json;
use testkit::{pod, wait};

use crate::{
    fake_node::{IMAGE, Node},
    runtime::fake::ENDLESS_IMAGE,
};

fn runs(status: &PodStatus) -> bool {
    status.container_statuses.iter().flatten().any(|container| container.ready)
}

/// Deletes the pod, and waits until its worker has heard of it.
async fn delete(node: &Node, uid: &str) {
    node.api.delete("web", &DeleteParams::default().grace_period(1)).await.unwrap();
    let heard = async || {
        let pods = node.pods.pods();
        let pod = pods.iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
        let deleted = pod.is_some_and(|pod| pod.metadata.deletion_timestamp.is_some());
        if deleted { Ok(()) } else { Err("not yet") }
    };
    wait::until("the deletion is known", heard).await;
}

/// The calls to the runtime that begin so.
fn called(node: &Node, call: &str) -> usize {
    node.runtime.calls().iter().filter(|made| made.starts_with(call)).count()
}

async fn check_a_pod_that_is_not_made(hold: impl Fn(&Node, bool)) {
    let node = Node::start().await;
    hold(&node, true);
    let pod = pod("web").image(ENDLESS_IMAGE).node("n1").build();
    let uid = node.create(&pod).await;
    node.until_status("web", "is told of", |status| status.host_ip.is_some()).await;
    node.until_called(&format!("pull {ENDLESS_IMAGE}")).await;
    delete(&node, &uid).await;
    // The pull was for nothing but this pod.
    let given_up = async || match node.runtime.pulls() {
        0 => Ok(()),
        pulls => Err(pulls),
    };
    wait::until("the pull ends", given_up).await;
    assert_eq!((called(&node, "remove POD"), node.pods.count()), (0, 1));
    hold(&node, false);
    wait::until_gone(&node.api, "web").await;
    assert_eq!((called(&node, "sandbox"), called(&node, "start")), (1, 0));
    assert_eq!(node.network.held(&uid), None);
}

#[tokio::test]
async fn a_pod_whose_sandbox_is_not_made_is_told_of_and_its_deletion_taken_up() {
    check_a_pod_that_is_not_made(|node, held| node.runtime.hold("sandbox", held)).await;
}

#[tokio::test]
async fn a_pod_that_is_not_connected_is_told_of_and_its_deletion_taken_up() {
    check_a_pod_that_is_not_made(|node, held| node.network.hold("attach", held)).await;
}

#[tokio::test]
async fn ports_that_are_not_published_hold_up_neither_restarts_nor_the_stop() {
    let node = Node::start().await;
    node.network.hold("host ports", true);
    let uid = node.create(&pod("web").image(IMAGE).node("n1").build()).await;
    node.until_status("web", "runs", runs).await;
    node.runtime.end("main", 1);
    let restarted = |status: &PodStatus| {
        runs(status) && status.container_statuses.iter().flatten().any(|c| c.restart_count == 1)
    };
    node.until_status("web", "is restarted", restarted).await;
    delete(&node, &uid).await;
    node.until_called("remove main").await;
    assert_eq!(called(&node, "remove POD"), 0, "its link and ports are in use");
    node.network.hold("host ports", false);
    wait::until_gone(&node.api, "web").await;
}

#[tokio::test]
async fn a_signal_that_does_not_arrive_holds_up_neither_the_others_nor_the_kill() {
    let node = Node::start().await;
    let two = pod("web").image(IMAGE).node("n1").with(|pod| {
        let containers = &mut pod.spec.as_mut().unwrap().containers;
        let other = json!({"name": "other", "image": IMAGE});
        containers.push(serde_json::from_value(other).unwrap());
    });
    let uid = node.create(&two.build()).await;
    let both = |status: &PodStatus| {
        status.container_statuses.iter().flatten().filter(|c| c.ready).count() == 2
    };
    node.until_status("web", "runs", both).await;
    for name in ["SIGTERM main", "SIGTERM other", "remove main"] {
        node.runtime.hold(name, true);
    }
    delete(&node, &uid).await;
    for call in ["SIGTERM other", "SIGKILL main", "SIGKILL other", "remove other", "remove POD"] {
        node.until_called(call).await;
    }
    let ended = |status: &PodStatus| {
        let mut states = status.container_statuses.iter().flatten().map(|c| c.state.as_ref());
        states.all(|state| state.is_some_and(|state| state.terminated.is_some()))
    };
    node.until_status("web", "is told to have ended", ended).await;
    node.runtime.hold("remove main", false);
    wait::until_gone(&node.api, "web").await;
}

#[tokio::test]
async fn a_container_that_a_signal_did_not_reach_is_sent_it_again() {
    let node = Node::start().await;
    let uid = node.create(&pod("web").image(IMAGE).node("n1").build()).await;
    node.until_status("web", "runs", runs).await;
    node.runtime.set_broken("SIGTERM main", true);
    node.api.delete("web", &DeleteParams::default().grace_period(3600)).await.unwrap();
    node.until_called("SIGTERM main").await;
    node.runtime.set_broken("SIGTERM main", false);
    let again = async || match called(&node, "SIGTERM main") {
        1 => Err("once"),
        _ => Ok(()),
    };
    wait::until("it is asked again", again).await;
    node.runtime.end("main", 0);
    wait::until_gone(&node.api, "web").await;
    assert_eq!((called(&node, "SIGTERM main"), called(&node, "SIGKILL")), (2, 0));
    assert_eq!(node.network.held(&uid), None);
}

#[tokio::test]
async fn a_pod_has_not_failed_while_its_sandbox_may_still_come_up() {
    let node = Node::start().await;
    node.network.hold("attach", true);
    let uid = node.create(&pod("web").image(IMAGE).node("n1").build()).await;
    node.until_status("web", "is told of", |status| status.host_ip.is_some()).await;
    assert!(node.pods.evict(&uid, "it takes too much"));
    let lists = node.runtime.lists();
    for more in 1..=3 {
        node.pods.wake(&uid);
        let looked = async || if node.runtime.lists() < lists + more { Err("not") } else { Ok(()) };
        wait::until("the pod is looked at", looked).await;
    }
    // What was reported until then is written again.
    let ready = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let parameters = PatchParams::default();
    node.api.patch_status("web", &parameters, &Patch::Strategic(ready)).await.unwrap();
    let is_not_ready = |status: &PodStatus| {
        status.conditions.iter().flatten().any(|c| c.type_ == "Ready" && c.status == "False")
    };
    let pod = node.until_status("web", "is told of again", is_not_ready).await;
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Pending"));
    node.network.hold("attach", false);
    let failed = |status: &PodStatus| status.phase.as_deref() == Some("Failed");
    node.until_status("web", "has failed", failed).await;
}

#[tokio::test]
async fn a_pod_that_is_not_disconnected_stops_and_is_gone_when_it_is() {
    let node = Node::start().await;
    let uid = node.create(&pod("web").image(IMAGE).node("n1").build()).await;
    node.until_status("web", "runs", runs).await;
    node.network.hold("detach", true);
    delete(&node, &uid).await;
    node.until_called("remove main").await;
    assert_eq!((called(&node, "remove POD"), node.network.is_attached(&uid)), (0, true));
    node.network.hold("detach", false);
    wait::until_gone(&node.api, "web").await;
    assert_eq!(node.network.held(&uid), None);
}
