//! The subresources of pods.

use std::collections::BTreeSet;

use apiserver::Config;
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

const ACCOUNTS: &str = "/api/v1/namespaces/default/serviceaccounts";

#[tokio::test]
async fn a_pod_gets_the_token_and_the_pull_secrets_of_an_account_that_exists() {
    let api = Api::with(Config { left_out: BTreeSet::new(), ..Config::default() }).await;
    let named = |name: &str, account: &str| {
        let mut pod = pod(name);
        pod["spec"]["serviceAccountName"] = account.into();
        pod
    };
    let message = api.post(PODS, &named("p", "robot")).await.fails(403, "Forbidden");
    let why = "pods \"p\" is forbidden: error looking up service account default/robot: serviceaccount \"robot\" not found";
    assert_eq!(message, why);
    let account = json!({"metadata": {"name": "robot"}, "imagePullSecrets": [{"name": "login"}]});
    api.post(ACCOUNTS, &account).await.ok();
    let spec = api.post(PODS, &named("p", "robot")).await.ok()["spec"].clone();
    assert_eq!(spec["imagePullSecrets"], json!([{"name": "login"}]));
    let sources = &spec["volumes"][0]["projected"]["sources"];
    assert_eq!(
        sources[0],
        json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}})
    );
    let mount = &spec["containers"][0]["volumeMounts"][0];
    assert_eq!(mount["mountPath"], "/var/run/secrets/kubernetes.io/serviceaccount");
    assert_eq!(mount["name"], spec["volumes"][0]["name"]);
    // Whoever changes the pod does not change that.
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    api.patch(&format!("{PODS}/p"), "merge-patch", &labelled).await.ok();
}

#[tokio::test]
async fn a_pod_waits_a_moment_for_the_usual_account_of_a_new_namespace() {
    let api = Api::with(Config { left_out: BTreeSet::new(), ..Config::default() }).await;
    let pod = pod("p");
    let (made, account) = tokio::join!(api.post(PODS, &pod), async {
        // It has been looked for in vain when this is made.
        tokio::task::yield_now().await;
        api.post(ACCOUNTS, &json!({"metadata": {"name": "default"}})).await
    });
    account.ok();
    made.ok();
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

#[tokio::test]
async fn a_pod_is_resized_by_patch_and_put_and_reads_as_the_pod() {
    let api = Api::start().await;
    let mut pod = pod("p");
    pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "20m"}});
    api.post(PODS, &pod).await.ok();
    let (whole, resize) = (format!("{PODS}/p"), format!("{PODS}/p/resize"));
    let cpu = |amount: &str| {
        let resources = json!({"requests": {"cpu": amount}, "limits": {"memory": "64Mi"}});
        json!({"spec": {"containers": [{"name": "main", "resources": resources}]}})
    };
    api.patch(&whole, "strategic-merge-patch", &cpu("30m")).await.fails(422, "Invalid");
    let patched = api.patch(&resize, "strategic-merge-patch", &cpu("30m")).await.ok();
    let container = &patched["spec"]["containers"][0];
    assert_eq!((&patched["kind"], &container["image"]), (&json!("Pod"), &json!("nginx:1")));
    // What is limited is asked for, as in a pod that is new.
    let requests = json!({"cpu": "30m", "memory": "64Mi"});
    assert_eq!(container["resources"]["requests"], requests);
    let mut given = api.get(&resize).await.ok();
    assert_eq!(given, api.get(&whole).await.ok());
    given["spec"]["containers"][0]["resources"]["requests"]["cpu"] = json!("40m");
    let stale = given.clone();
    let put = api.put(&resize, &given).await.ok();
    assert_eq!(put["metadata"]["generation"], 3);
    assert_eq!(put, api.get(&whole).await.ok());
    api.put(&resize, &stale).await.fails(409, "Conflict");
}
