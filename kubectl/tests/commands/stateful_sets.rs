//! StatefulSets: `rollout`, `scale`, `describe`. No controller runs: the tests make the revisions, and write the status, as
//! one would.

use api_types::api::apps::v1::{ControllerRevision, StatefulSet};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::Kubectl;

fn sets(kubectl: &Kubectl) -> Api<StatefulSet> {
    Api::default_namespaced(kubectl.plane.client())
}

fn template(image: &str) -> Value {
    json!({"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]}})
}

async fn get(kubectl: &Kubectl) -> Value {
    serde_json::to_value(sets(kubectl).get("db").await.unwrap()).unwrap()
}

/// A set of three pods that has the second of two revisions.
async fn created() -> Kubectl {
    let kubectl = Kubectl::new().await;
    let claim = json!({"metadata": {"name": "data"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
    }});
    let spec = json!({
        "replicas": 3, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
        "template": template("two"), "volumeClaimTemplates": [claim],
    });
    let set = serde_json::from_value(json!({"metadata": {"name": "db"}, "spec": spec})).unwrap();
    sets(&kubectl).create(&PostParams::default(), &set).await.unwrap();
    let uid = get(&kubectl).await["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": uid, "controller": true}]);
    let revisions = Api::<ControllerRevision>::default_namespaced(kubectl.plane.client());
    for (number, image) in [(1, "one"), (2, "two")] {
        // As the set has it, with defaults.
        let mut template = get(&kubectl).await["spec"]["template"].clone();
        template["spec"]["containers"][0]["image"] = json!(image);
        template["$patch"] = json!("replace");
        let metadata = json!({
            "name": format!("db-{number}"), "labels": {"app": "db"}, "ownerReferences": owner,
            "annotations": {"kubernetes.io/change-cause": image},
        });
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
        kubectl.ok("rollout history sts/db").await,
        "statefulset.apps/db \nREVISION  CHANGE-CAUSE\n1         one\n2         two\n\n"
    );
    let page = kubectl.ok("rollout history sts/db --revision=1").await;
    assert!(page.starts_with("statefulset.apps/db with revision #1\nPod Template:\n"), "{page}");
    assert!(page.contains("one"), "{page}");
    let skipped = kubectl.ok("rollout undo sts/db --to-revision=2").await;
    let expected = "skipped rollback (current template already matches revision 2)";
    assert_eq!(skipped, format!("statefulset.apps/db {expected}\n"));
    assert_eq!(kubectl.ok("rollout undo sts/db").await, "statefulset.apps/db rolled back\n");
    let now = get(&kubectl).await;
    assert_eq!(now["spec"]["template"]["spec"]["containers"][0]["image"], "one");
    assert_eq!(now["spec"]["template"]["$patch"], Value::Null);
}

#[tokio::test]
async fn it_is_begun_again_and_not_paused() {
    let kubectl = created().await;
    assert_eq!(kubectl.ok("rollout restart sts/db").await, "statefulset.apps/db restarted\n");
    for (command, done) in [("pause", "pausing"), ("resume", "resuming")] {
        let refused = kubectl.fails(&format!("rollout {command} sts/db"), "").await;
        let expected = format!("statefulsets.apps \"db\" {done} is not supported");
        assert!(refused.contains(&expected), "{refused}");
    }
}

#[tokio::test]
async fn status_says_how_far_it_is() {
    let kubectl = created().await;
    let status = "rollout status sts/db --watch=false";
    let check = async |told: Value, expected: &str| {
        let patch = Patch::Merge(json!({"status": told}));
        sets(&kubectl).patch_status("db", &PatchParams::default(), &patch).await.unwrap();
        assert_eq!(kubectl.ok(status).await, format!("{expected}\n"));
    };
    check(json!({"replicas": 0}), "Waiting for statefulset spec update to be observed...").await;
    let ready = |ready: i32, updated: i32| json!({"observedGeneration": 1, "replicas": 3, "readyReplicas": ready, "updatedReplicas": updated});
    check(ready(1, 1), "Waiting for 2 pods to be ready...").await;
    let partly =
        "Waiting for partitioned roll out to finish: 1 out of 3 new pods have been updated...";
    check(ready(3, 1), partly).await;
    check(ready(3, 3), "partitioned roll out complete: 3 new pods have been updated...").await;
    let by_hand = Patch::Merge(
        json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}}),
    );
    sets(&kubectl).patch("db", &PatchParams::default(), &by_hand).await.unwrap();
    let refused = kubectl.fails(status, "").await;
    assert!(refused.contains("only available for RollingUpdate strategy type"), "{refused}");
}

#[tokio::test]
async fn it_is_scaled_and_described() {
    let kubectl = created().await;
    assert_eq!(kubectl.ok("scale sts/db --replicas=5").await, "statefulset.apps/db scaled\n");
    let page = kubectl.ok("describe sts db").await;
    for line in [
        "Replicas:           5 desired | 0 total",
        "Update Strategy:    RollingUpdate",
        "  Partition:        0",
        "Pods Status:        0 Running / 0 Waiting / 0 Succeeded / 0 Failed",
        "  Capacity:      1Gi",
        "  Access Modes:  [ReadWriteOnce]",
    ] {
        assert!(page.lines().any(|it| it == line), "no {line:?} in\n{page}");
    }
}
