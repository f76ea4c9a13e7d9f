//! DaemonSets: `rollout` and `describe`. No controller runs: the tests make the revisions, and write the status, as one would.

use api_types::api::apps::v1::{ControllerRevision, DaemonSet};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::Kubectl;

fn sets(kubectl: &Kubectl) -> Api<DaemonSet> {
    Api::default_namespaced(kubectl.plane.client())
}

async fn get(kubectl: &Kubectl) -> Value {
    serde_json::to_value(sets(kubectl).get("logs").await.unwrap()).unwrap()
}

/// A set that has the second of two revisions.
async fn created() -> Kubectl {
    let kubectl = Kubectl::new().await;
    let template = json!({"metadata": {"labels": {"app": "logs"}},
        "spec": {"containers": [{"name": "c", "image": "two"}], "nodeSelector": {"disk": "ssd"}}});
    let spec = json!({"selector": {"matchLabels": {"app": "logs"}}, "template": template});
    let set = serde_json::from_value(json!({"metadata": {"name": "logs"}, "spec": spec})).unwrap();
    sets(&kubectl).create(&PostParams::default(), &set).await.unwrap();
    let set = get(&kubectl).await;
    let owner = json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "logs",
        "uid": set["metadata"]["uid"], "controller": true}]);
    let revisions = Api::<ControllerRevision>::default_namespaced(kubectl.plane.client());
    for (number, image) in [(1, "one"), (2, "two")] {
        let mut template = set["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = json!(image);
        template["$patch"] = json!("replace");
        let metadata = json!({"name": format!("logs-{number}"), "labels": {"app": "logs"},
            "ownerReferences": owner});
        let revision = json!({"metadata": metadata, "revision": number, "data": {"spec": {"template": template}}});
        let revision = serde_json::from_value(revision).unwrap();
        revisions.create(&PostParams::default(), &revision).await.unwrap();
    }
    kubectl
}

#[tokio::test]
async fn the_revisions_are_shown_and_an_earlier_one_comes_back() {
    let kubectl = created().await;
    assert_eq!(
        kubectl.ok("rollout history ds/logs").await,
        "daemonset.apps/logs \nREVISION  CHANGE-CAUSE\n1         <none>\n2         <none>\n\n"
    );
    assert_eq!(kubectl.ok("rollout undo ds/logs").await, "daemonset.apps/logs rolled back\n");
    let now = get(&kubectl).await;
    assert_eq!(now["spec"]["template"]["spec"]["containers"][0]["image"], "one");
    assert_eq!(kubectl.ok("rollout restart ds/logs").await, "daemonset.apps/logs restarted\n");
    let refused = kubectl.fails("rollout pause ds/logs", "").await;
    assert!(refused.contains(r#"daemonsets.apps "logs" pausing is not supported"#), "{refused}");
}

#[tokio::test]
async fn status_says_how_far_it_is() {
    let kubectl = created().await;
    let status = "rollout status ds/logs --watch=false";
    let check = async |generation: i32, updated: i32, available: i32, expected: &str| {
        let told = json!({"observedGeneration": generation, "desiredNumberScheduled": 3,
            "updatedNumberScheduled": updated, "numberAvailable": available});
        let patch = Patch::Merge(json!({"status": told}));
        sets(&kubectl).patch_status("logs", &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(kubectl.ok(status).await, format!("{expected}\n"));
    };
    check(0, 3, 3, "Waiting for daemon set spec update to be observed...").await;
    let of = |rest: &str| format!("Waiting for daemon set \"logs\" rollout to finish: {rest}");
    check(1, 2, 1, &of("2 out of 3 new pods have been updated...")).await;
    check(1, 3, 2, &of("2 of 3 updated pods are available...")).await;
    check(1, 3, 3, "daemon set \"logs\" successfully rolled out").await;
    let by_hand = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
    let by_hand = Patch::Merge(by_hand);
    sets(&kubectl).patch("logs", &PatchParams::default(), &by_hand).await.unwrap();
    let refused = kubectl.fails(status, "").await;
    assert!(refused.contains("only available for RollingUpdate strategy type"), "{refused}");
}

#[tokio::test]
async fn it_is_described() {
    let kubectl = created().await;
    let told = json!({"status": {"desiredNumberScheduled": 3, "currentNumberScheduled": 2}});
    let patch = Patch::Merge(told);
    sets(&kubectl).patch_status("logs", &PatchParams::default(), &patch).await.unwrap();
    let page = kubectl.ok("describe ds logs").await;
    for line in [
        "Node-Selector:  disk=ssd",
        "Desired Number of Nodes Scheduled: 3",
        "Current Number of Nodes Scheduled: 2",
        "Number of Nodes Misscheduled: 0",
        "Pods Status:  0 Running / 0 Waiting / 0 Succeeded / 0 Failed",
    ] {
        assert!(page.lines().any(|it| it == line), "no {line:?} in\n{page}");
    }
}
