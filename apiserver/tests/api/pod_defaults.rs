//! What pods and nodes get from the cluster as a whole.

use std::collections::BTreeSet;

use apiserver::{AdmissionPlugin, Config};
use serde_json::{Value, json};

use crate::harness::{Api, PODS, pod};

const CLASSES: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";

fn of_class(name: &str, class: &str) -> Value {
    let mut pod = pod(name);
    pod["spec"]["priorityClassName"] = class.into();
    pod
}

fn class(name: &str, value: i32, is_default: bool) -> Value {
    json!({"metadata": {"name": name}, "value": value, "globalDefault": is_default, "preemptionPolicy": "Never"})
}

#[tokio::test]
async fn a_pod_has_the_priority_of_its_class() {
    let api = Api::start().await;
    let shown = |pod: &Value| {
        let spec = &pod["spec"];
        json!([spec["priorityClassName"], spec["priority"], spec["preemptionPolicy"]])
    };
    let made = api.post(PODS, &pod("a")).await.ok();
    assert_eq!(shown(&made), json!([null, 0, "PreemptLowerPriority"]));
    api.post(CLASSES, &class("high", 1000, false)).await.ok();
    let made = api.post(PODS, &of_class("b", "high")).await.ok();
    assert_eq!(shown(&made), json!(["high", 1000, "Never"]));
    let message = api.post(PODS, &of_class("c", "nope")).await.fails(403, "Forbidden");
    assert_eq!(message, "pods \"c\" is forbidden: no PriorityClass with name nope was found");
    let mut odd = of_class("c", "high");
    odd["spec"]["priority"] = 7.into();
    let message = api.post(PODS, &odd).await.fails(403, "Forbidden");
    assert!(message.contains("computed 1000 from the given PriorityClass name"), "{message}");
    // Who replaces it without these does not change them.
    let mut again = made.clone();
    let spec = again["spec"].as_object_mut().unwrap();
    spec.remove("priority");
    spec.remove("preemptionPolicy");
    assert_eq!(shown(&api.put(&format!("{PODS}/b"), &again).await.ok()), shown(&made));
}

#[tokio::test]
async fn of_priority_classes_one_is_the_default_at_most() {
    let api = Api::start().await;
    api.post(CLASSES, &class("usual", 10, true)).await.ok();
    api.until_cached(CLASSES, "usual").await;
    let made = api.post(PODS, &pod("a")).await.ok();
    assert_eq!(
        (&made["spec"]["priorityClassName"], &made["spec"]["priority"]),
        (&json!("usual"), &json!(10))
    );
    let message = api.post(CLASSES, &class("other", 5, true)).await.fails(403, "Forbidden");
    assert!(
        message.ends_with(
            "PriorityClass usual is already marked as default. Only one default can exist"
        ),
        "{message}"
    );
    let labelled = json!({"metadata": {"labels": {"a": "b"}}});
    api.patch(&format!("{CLASSES}/usual"), "merge-patch", &labelled).await.ok();
}

#[tokio::test]
async fn a_pod_that_says_nothing_stays_on_a_lost_node_for_five_minutes() {
    let api = Api::start().await;
    let usual = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300});
    let (not_ready, unreachable) =
        ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable");
    let made = api.post(PODS, &pod("a")).await.ok();
    assert_eq!(made["spec"]["tolerations"], json!([usual(not_ready), usual(unreachable)]));
    let own = json!({"key": not_ready, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 7});
    let mut pod = pod("b");
    pod["spec"]["tolerations"] = json!([own]);
    assert_eq!(
        api.post(PODS, &pod).await.ok()["spec"]["tolerations"],
        json!([own, usual(unreachable)])
    );
    pod["metadata"]["name"] = "c".into();
    pod["spec"]["tolerations"] = json!([{"operator": "Exists"}]);
    assert_eq!(
        api.post(PODS, &pod).await.ok()["spec"]["tolerations"],
        json!([{"operator": "Exists"}])
    );
}

#[tokio::test]
async fn a_new_node_takes_no_pods_until_it_is_found_ready() {
    let nodes = "/api/v1/nodes";
    let node = json!({"metadata": {"name": "n"}});
    let with = async |left_out: BTreeSet<AdmissionPlugin>| {
        let api = Api::with(Config { left_out, ..Config::default() }).await;
        api.post(nodes, &node).await.ok()["spec"]["taints"].clone()
    };
    let taint = json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]);
    assert_eq!(with([AdmissionPlugin::ServiceAccount].into()).await, taint);
    assert_eq!(with([AdmissionPlugin::TaintNodesByCondition].into()).await, Value::Null);
}
