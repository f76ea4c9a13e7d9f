//! The subresources of pods.

use serde_json::json;

use crate::harness::{Api, PODS, pod};

#[tokio::test]
async fn a_pod_is_bound_once() {
    let api = Api::start().await;
    api.post(PODS, &pod("p")).await.ok();
    let binding =
        |node: &str| json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": node}});
    let answer = api.post(&format!("{PODS}/p/binding"), &binding("n1")).await;
    assert_eq!((answer.code, &answer.ok()["status"]), (201, &json!("Success")));
    let bound = api.get(&format!("{PODS}/p")).await.ok();
    assert_eq!(bound["spec"]["nodeName"], "n1");
    let conditions = bound["status"]["conditions"].as_array().unwrap();
    assert!(
        conditions.iter().any(|c| c["type"] == "PodScheduled" && c["status"] == "True"),
        "{bound}"
    );
    let message = api
        .post("/api/v1/namespaces/default/bindings", &binding("n2"))
        .await
        .fails(409, "Conflict");
    assert!(message.contains("pod p is already assigned to node \"n1\""), "{message}");
    let missing = json!({"metadata": {"name": "q"}, "target": {"name": "n1"}});
    api.post("/api/v1/namespaces/default/bindings", &missing).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_pod_has_a_service_account() {
    let api = Api::start().await;
    let created = api.post(PODS, &pod("p")).await.ok();
    assert_eq!(created["spec"]["serviceAccountName"], "default");
}

#[tokio::test]
async fn the_log_of_a_pod_without_a_node_is_empty() {
    let api = Api::start().await;
    api.post(PODS, &pod("p")).await.ok();
    let log = api.get(&format!("{PODS}/p/log")).await;
    assert_eq!((log.code, log.text.as_str()), (200, ""));
    let message = api.get(&format!("{PODS}/p/log?container=x")).await.fails(400, "BadRequest");
    assert_eq!(message, "container x is not valid for pod p");
    api.get(&format!("{PODS}/q/log")).await.fails(404, "NotFound");
}
