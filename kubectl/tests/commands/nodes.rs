//! `kubectl wait`, `cordon`, `uncordon` and `drain`. No kubelet runs: pods go at once, or not at all.

use api_types::api::core::v1::Pod;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use testkit::wait;

use crate::{harness::Kubectl, pod};

async fn with_node() -> Kubectl {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("create -f -", "apiVersion: v1\nkind: Node\nmetadata: {name: n1}\n").await;
    kubectl
}

fn on_node(name: &str) -> String {
    format!("{}  nodeName: n1\n", pod(name, "nginx"))
}

#[tokio::test]
async fn objects_are_waited_for() {
    let kubectl = with_node().await;
    let (created, ()) = tokio::join!(kubectl.ok("wait --for=create pod/web"), async {
        kubectl.ok_with("create -f -", &on_node("web")).await;
    });
    assert_eq!(created, "pod/web condition met\n");
    let phase = "wait pods -l app=web --for=jsonpath={.status.phase}=Pending -o name";
    assert_eq!(kubectl.ok(phase).await, "pod/web\n");
    let late = kubectl.fails("wait pod/web --for=condition=Ready --timeout=0", "").await;
    assert_eq!(late, "error: timed out waiting for the condition on pods/web");
    let none = kubectl.fails("wait pod/none --for=condition=Ready", "").await;
    assert!(none.contains("pods \"none\" not found"), "{none}");
    let none = kubectl.fails("wait pods -l app=none --for=delete", "").await;
    assert_eq!(none, "error: no matching resources found");
    let (gone, _) = tokio::join!(
        kubectl.ok("wait --for=delete pod/web"),
        kubectl.ok("delete pod web --force --wait=false")
    );
    assert_eq!(gone, "pod/web condition met\n");
    assert_eq!(kubectl.ok("wait --for=delete pod/web").await, "pod/web condition met\n");
}

#[tokio::test]
async fn an_object_is_gone_though_another_has_its_name() {
    let kubectl = with_node().await;
    for name in ["a", "b"] {
        kubectl.ok_with("create -f -", &pod(name, "nginx")).await;
    }
    let (gone, ()) = tokio::join!(kubectl.ok("wait --for=delete pod/a pod/b"), async {
        wait::until("the first is watched", async || {
            let requests = kubectl.plane.requests();
            let is_watch = |request: &String| {
                request.contains("watch=true") && request.contains("metadata.name")
            };
            if requests.iter().any(is_watch) { Ok(()) } else { Err(requests) }
        })
        .await;
        kubectl.ok("delete pod b --force").await;
        kubectl.ok_with("create -f -", &pod("b", "nginx")).await;
        kubectl.ok("delete pod a --force").await;
    });
    assert_eq!(gone, "pod/a condition met\npod/b condition met\n");
}

#[tokio::test]
async fn nodes_are_cordoned() {
    let kubectl = with_node().await;
    assert_eq!(
        kubectl.ok("cordon n1 --dry-run=server").await,
        "node/n1 cordoned (server dry run)\n"
    );
    assert_eq!(kubectl.ok("cordon n1").await, "node/n1 cordoned\n");
    assert_eq!(kubectl.ok("cordon node/n1").await, "node/n1 already cordoned\n");
    let spec = kubectl.ok("get node n1 -o jsonpath={.spec.unschedulable}").await;
    assert_eq!(spec.trim(), "true");
    assert_eq!(kubectl.ok("uncordon -l !none").await, "node/n1 uncordoned\n");
    assert_eq!(kubectl.ok("uncordon n1").await, "node/n1 already uncordoned\n");
}

#[tokio::test]
async fn nodes_are_drained() {
    let kubectl = with_node().await;
    kubectl.ok_with("create -f -", &on_node("web")).await;
    kubectl.ok_with("create -f -", &pod("elsewhere", "nginx")).await;
    let refused = kubectl.fails("drain n1", "").await;
    let why =
        "cannot delete Pods that declare no controller (use --force to override): default/web";
    let told = format!(
        "error: unable to drain node \"n1\" due to error: {why}, continuing command...\nThere are pending nodes to be drained:\n n1\n"
    );
    assert!(refused.starts_with(&told), "{refused}");
    let drained = kubectl.ok("drain n1 --force --grace-period=0").await;
    let told =
        "node/n1 already cordoned\nevicting pod default/web\npod/web evicted\nnode/n1 drained\n";
    assert_eq!(drained, told);
    assert_eq!(kubectl.ok("get pods -o name").await, "pod/elsewhere\n");
}

#[tokio::test]
async fn a_pod_that_can_not_be_evicted_keeps_no_other() {
    let kubectl = with_node().await;
    for name in ["a", "b"] {
        kubectl.ok_with("create -f -", &on_node(name)).await;
    }
    let cut = kubectl.plane.refuse(|request| request.uri().path().ends_with("/pods/a/eviction"));
    let told = kubectl.fails("drain n1 --force --grace-period=0", "").await;
    drop(cut);
    assert!(told.contains("There are pending nodes to be drained:\n n1\n"), "{told}");
    assert_eq!(kubectl.ok("get pods -o name").await, "pod/a\n");
}

#[tokio::test]
async fn a_budget_keeps_pods_until_the_time_is_over() {
    let kubectl = with_node().await;
    kubectl.ok_with("create -f -", &on_node("web")).await;
    let budget: Value = json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"},
        "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}},
    });
    kubectl.ok_with("create -f -", &budget.to_string()).await;
    let running = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let pods = Api::<Pod>::default_namespaced(kubectl.plane.client());
    pods.patch_status("web", &PatchParams::default(), &Patch::Merge(running)).await.unwrap();
    let kept = kubectl.fails("drain n1 --force --timeout=1s", "").await;
    assert!(
        kept.contains("error when evicting pods/\"web\" -n \"default\" (will retry after 5s): "),
        "{kept}"
    );
    assert!(kept.contains("global timeout reached: 1s"), "{kept}");
    assert_eq!(kubectl.ok("get pods -o name").await, "pod/web\n");
    let deleted = kubectl.ok("drain n1 --force --disable-eviction --grace-period=0").await;
    assert!(deleted.contains("deleting pod default/web\npod/web deleted\n"), "{deleted}");
}
