//! The Pod Security Standards of a namespace: what its pods may not do, and who is told.

use http::HeaderMap;
use serde_json::{Value, json};

use crate::harness::{Answer, Api, JSON, PODS, pod};

const NAMESPACE: &str = "/api/v1/namespaces/default";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn label(api: &Api, labels: Value) -> (Answer, Vec<String>) {
    let patch = json!({"metadata": {"labels": labels}});
    let types = ("application/merge-patch+json", JSON);
    let answer = api.exchange("PATCH", NAMESPACE, types, patch.to_string()).await;
    let warnings = warnings(answer.headers());
    (Answer::of(answer).await, warnings)
}

fn warnings(headers: &HeaderMap) -> Vec<String> {
    let all = headers.get_all("warning").iter();
    all.map(|warning| warning.to_str().unwrap().to_owned()).collect()
}

fn privileged(name: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["hostNetwork"] = true.into();
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    pod
}

#[tokio::test]
async fn what_a_namespace_enforces_its_pods_are_held_to() {
    let api = Api::start().await;
    api.post(PODS, &privileged("there")).await.ok();
    let (labelled, warnings) =
        label(&api, json!({"pod-security.kubernetes.io/enforce": "baseline"})).await;
    labelled.ok();
    assert_eq!(
        warnings,
        [
            "299 - \"existing pods in namespace \\\"default\\\" violate the new PodSecurity enforce level \\\"baseline:latest\\\"\"",
            "299 - \"there: host namespaces, privileged\"",
        ]
    );
    let message = api.post(PODS, &privileged("p")).await.fails(403, "Forbidden");
    assert_eq!(
        message,
        "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true), \
        privileged (container \"main\" must not set securityContext.privileged=true)"
    );
    api.post(PODS, &pod("q")).await.ok();
    // Those that are there go on, and may be changed but for their images.
    let (there, merge) = (format!("{PODS}/there"), "merge-patch");
    api.patch(&there, merge, &json!({"metadata": {"labels": {"a": "b"}}})).await.ok();
    let image = json!({"spec": {"containers": [{"name": "main", "image": "other"}]}});
    api.patch(&there, "strategic-merge-patch", &image).await.fails(403, "Forbidden");
}

#[tokio::test]
async fn who_makes_pods_of_a_template_is_warned_of_what_they_violate() {
    let api = Api::start().await;
    label(&api, json!({"pod-security.kubernetes.io/warn": "restricted", "pod-security.kubernetes.io/warn-version": "v1.25"})).await.0.ok();
    let labels = json!({"app": "a"});
    let template = json!({"metadata": {"labels": labels}, "spec": pod("x")["spec"]});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": labels}, "template": template}});
    let answer = api.exchange("POST", DEPLOYMENTS, (JSON, JSON), deployment.to_string()).await;
    let told = warnings(answer.headers());
    assert_eq!(answer.status(), 201);
    assert!(told.len() == 1 && told[0].starts_with("299 - \"would violate PodSecurity \\\"restricted:v1.25\\\": allowPrivilegeEscalation != false (container"), "{told:?}");
}

#[tokio::test]
async fn labels_that_say_no_level_are_refused() {
    let api = Api::start().await;
    let (answer, _) = label(&api, json!({"pod-security.kubernetes.io/enforce": "strict", "pod-security.kubernetes.io/audit-version": "1"})).await;
    let message = answer.fails(422, "Invalid");
    assert!(message.contains("metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted"), "{message}");
    let new = json!({"metadata": {"name": "n", "labels": {"pod-security.kubernetes.io/warn": ""}}});
    api.post("/api/v1/namespaces", &new).await.fails(422, "Invalid");
}
