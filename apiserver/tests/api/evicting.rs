//! `pods/eviction`, with budgets whose status the tests write.

use serde_json::{Value, json};

use crate::harness::{Answer, Api, PODS, pod};

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A running pod with the label `app`.
async fn running(api: &Api, name: &str, ready: &str) {
    let mut given = pod(name);
    given["metadata"]["labels"] = json!({"app": "web"});
    // What nobody holds goes at once.
    given["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(PODS, &given).await.ok();
    let conditions = json!([{"type": "Ready", "status": ready}]);
    let status = json!({"status": {"phase": "Running", "conditions": conditions}});
    api.patch(&format!("{PODS}/{name}/status"), "merge-patch", &status).await.ok();
}

async fn budget(api: &Api, name: &str, spec: Value, status: Value) {
    let mut given = json!({"metadata": {"name": name}, "spec": spec});
    given["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
    api.post(BUDGETS, &given).await.ok();
    let mut status = json!({"status": status});
    status["status"]["observedGeneration"] = json!(1);
    api.patch(&format!("{BUDGETS}/{name}/status"), "merge-patch", &status).await.ok();
}

async fn evict(api: &Api, name: &str, options: Value) -> Answer {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": name}, "deleteOptions": options});
    api.post(&format!("{PODS}/{name}/eviction"), &eviction).await
}

async fn is_leaving(api: &Api, name: &str) -> bool {
    let pod = api.get(&format!("{PODS}/{name}")).await.ok();
    let leaving = pod["metadata"]["deletionTimestamp"].is_string();
    let conditions = pod["status"]["conditions"].as_array().unwrap();
    let told = conditions.iter().any(|it| it["reason"] == "EvictionByEvictionAPI");
    assert_eq!(leaving, told, "{pod}");
    leaving
}

#[tokio::test]
async fn an_eviction_uses_up_its_budget() {
    let api = Api::start().await;
    for name in ["a", "b"] {
        running(&api, name, "True").await;
    }
    let status = json!({"disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2});
    budget(&api, "web", json!({"minAvailable": 1}), status).await;
    evict(&api, "a", json!({"dryRun": ["All"]})).await.ok();
    assert!(!is_leaving(&api, "a").await);
    let wrong = json!({"preconditions": {"uid": "other"}});
    evict(&api, "a", wrong).await.fails(409, "Conflict");
    let done = evict(&api, "a", Value::Null).await;
    assert_eq!((done.code, &done.ok()["status"]), (201, &json!("Success")));
    assert!(is_leaving(&api, "a").await);
    let left = api.get(&format!("{BUDGETS}/web")).await.ok()["status"].clone();
    assert_eq!(left["disruptionsAllowed"], 0);
    assert!(left["disruptedPods"]["a"].is_string(), "{left}");
    let refused = evict(&api, "b", Value::Null).await;
    assert_eq!(refused.json()["details"]["causes"][0]["reason"], "DisruptionBudget");
    refused.fails(429, "TooManyRequests");
    assert!(!is_leaving(&api, "b").await);
    evict(&api, "c", Value::Null).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_pod_that_serves_nobody_needs_no_budget() {
    let api = Api::start().await;
    let nothing = || json!({"disruptionsAllowed": 0, "currentHealthy": 1, "desiredHealthy": 2});
    budget(&api, "web", json!({"minAvailable": 2}), nothing()).await;
    let mut pending = pod("pending");
    pending["metadata"]["labels"] = json!({"app": "web"});
    api.post(PODS, &pending).await.ok();
    evict(&api, "pending", Value::Null).await.ok();
    running(&api, "sick", "False").await;
    evict(&api, "sick", Value::Null).await.fails(429, "TooManyRequests");
    let always = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    api.patch(&format!("{BUDGETS}/web"), "merge-patch", &always).await.ok();
    evict(&api, "sick", Value::Null).await.ok();
    assert!(is_leaving(&api, "sick").await);
}

#[tokio::test]
async fn two_budgets_are_one_too_many() {
    let api = Api::start().await;
    running(&api, "a", "True").await;
    for name in ["one", "two"] {
        budget(&api, name, json!({"minAvailable": 1}), json!({"disruptionsAllowed": 1})).await;
    }
    let message = evict(&api, "a", Value::Null).await.fails(500, "InternalError");
    assert!(message.contains("more than one PodDisruptionBudget"), "{message}");
}
