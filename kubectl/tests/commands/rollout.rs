//! Deployments: `create deployment`, `set image`, `rollout`. No controller runs: the tests make the sets, and write the
//! status, as one would.

use api_types::api::apps::v1::{Deployment, ReplicaSet};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::harness::{Buffer, Kubectl, words};

async fn created() -> Kubectl {
    let kubectl = Kubectl::new().await;
    let made = kubectl
        .ok("create deployment web --image=registry:5000/a/nginx:1 --replicas=3 --port=80")
        .await;
    assert_eq!(made, "deployment.apps/web created\n");
    kubectl
}

fn deployments(kubectl: &Kubectl) -> Api<Deployment> {
    Api::default_namespaced(kubectl.plane.client())
}

async fn get(kubectl: &Kubectl) -> Value {
    serde_json::to_value(deployments(kubectl).get("web").await.unwrap()).unwrap()
}

/// The set of a revision, with the Deployment's template but for the image.
async fn revision(kubectl: &Kubectl, revision: u32, image: &str, cause: &str) {
    let deployment = get(kubectl).await;
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": deployment["metadata"]["uid"], "controller": true}]);
    let hash = format!("hash{revision}");
    let mut template = deployment["spec"]["template"].clone();
    template["metadata"]["labels"]["pod-template-hash"] = json!(hash);
    template["spec"]["containers"][0]["image"] = json!(image);
    let labels = &template["metadata"]["labels"];
    let annotations = json!({"deployment.kubernetes.io/revision": revision.to_string(), "kubernetes.io/change-cause": cause});
    let set = json!({
        "metadata": {"name": format!("web-{hash}"), "labels": labels, "annotations": annotations, "ownerReferences": owner},
        "spec": {"replicas": 0, "selector": {"matchLabels": labels}, "template": template},
    });
    let sets = Api::<ReplicaSet>::default_namespaced(kubectl.plane.client());
    let set = serde_json::from_value(set).unwrap();
    sets.create(&PostParams::default(), &set).await.unwrap();
}

async fn set_status(kubectl: &Kubectl, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    deployments(kubectl).patch_status("web", &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_deployment_is_made_of_flags() {
    let kubectl = created().await;
    let made = get(&kubectl).await;
    assert_eq!(made["spec"]["replicas"], 3);
    let container = &made["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&container["name"], &container["ports"][0]["containerPort"]),
        (&json!("nginx"), &json!(80))
    );
    let several = kubectl.fails("create deployment b --image=a,b -- sleep 1", "").await;
    assert!(several.contains("cannot specify multiple --image options and command"), "{several}");
    kubectl.ok("create deployment sleep --image=busybox -- sleep 1").await;
    assert_eq!(
        kubectl
            .ok("get deploy sleep -o jsonpath={.spec.template.spec.containers[0].command}")
            .await,
        r#"["sleep","1"]"#
    );
}

#[tokio::test]
async fn an_image_is_set_by_the_containers_name() {
    let kubectl = created().await;
    assert_eq!(
        kubectl.ok("set image deployment/web nginx=nginx:2").await,
        "deployment.apps/web image updated\n"
    );
    assert_eq!(kubectl.ok("set image deployment/web *=nginx:2").await, "", "nothing changes");
    let shown = kubectl
        .ok("set image deploy/web nginx=nginx:3 --dry-run=client -o jsonpath={..image}")
        .await;
    assert_eq!(shown, "nginx:3");
    let unknown = kubectl.fails("set image deploy web other=a:1", "").await;
    assert!(unknown.contains(r#"unable to find container named "other""#), "{unknown}");
    assert_eq!(kubectl.ok("get deploy web -o jsonpath={..image}").await, "nginx:2");
}

#[tokio::test]
async fn a_rollout_is_paused_resumed_and_begun_again() {
    let kubectl = created().await;
    assert_eq!(kubectl.ok("rollout restart deploy/web").await, "deployment.apps/web restarted\n");
    let annotations = get(&kubectl).await["spec"]["template"]["metadata"]["annotations"].clone();
    assert!(annotations["kubectl.kubernetes.io/restartedAt"].is_string(), "{annotations}");
    let idle = kubectl.fails("rollout resume deploy/web", "").await;
    assert_eq!(idle, r#"error: deployments.apps "web" is not paused"#);
    assert_eq!(kubectl.ok("rollout pause deploy/web").await, "deployment.apps/web paused\n");
    assert_eq!(get(&kubectl).await["spec"]["paused"], true);
    let again = kubectl.fails("rollout pause deploy/web", "").await;
    assert_eq!(again, r#"error: deployments.apps "web" is already paused"#);
    for command in ["restart", "undo"] {
        let refused = kubectl.fails(&format!("rollout {command} deploy/web"), "").await;
        assert!(refused.contains("paused deployment"), "{refused}");
    }
    assert_eq!(kubectl.ok("rollout resume deploy/web").await, "deployment.apps/web resumed\n");
    assert_eq!(get(&kubectl).await["spec"]["paused"], Value::Null);
    kubectl.ok("create cm a").await;
    let other = kubectl.fails("rollout restart cm/a", "").await;
    assert!(other.contains("only Deployments, StatefulSets and DaemonSets have"), "{other}");
}

#[tokio::test]
async fn a_rollout_is_only_tried_and_shown_in_a_format() {
    let kubectl = created().await;
    let before = get(&kubectl).await;
    let pause = "rollout pause deploy/web";
    assert_eq!(
        kubectl.ok(&format!("{pause} --dry-run=server")).await,
        "deployment.apps/web paused (server dry run)\n"
    );
    let shown = kubectl.ok(&format!("{pause} --dry-run=client -o jsonpath={{.spec.paused}}")).await;
    assert_eq!(shown, "true");
    let tried = kubectl.ok("rollout restart deploy/web --dry-run=client").await;
    assert_eq!(tried, "deployment.apps/web restarted (dry run)\n");
    assert_eq!(get(&kubectl).await, before);
    assert_eq!(kubectl.ok(&format!("{pause} -o name")).await, "deployment.apps/web\n");
    let resumed = kubectl.ok("rollout resume deploy/web -o json").await;
    let resumed: Value = serde_json::from_str(&resumed).unwrap();
    assert_eq!(
        (&resumed["kind"], &resumed["spec"]["paused"]),
        (&json!("Deployment"), &Value::Null)
    );
}

#[tokio::test]
async fn the_revisions_are_shown_and_an_earlier_one_comes_back() {
    let kubectl = created().await;
    let none = kubectl.fails("rollout undo deploy/web", "").await;
    assert!(none.contains(r#"no rollout history found for deployment "web""#), "{none}");
    revision(&kubectl, 1, "nginx:0", "first").await;
    revision(&kubectl, 10, "registry:5000/a/nginx:1", "tenth").await;
    revision(&kubectl, 2, "nginx:2", "").await;
    assert_eq!(
        kubectl.ok("rollout history deploy/web").await,
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         first\n2         <none>\n10        tenth\n\n"
    );
    let page = kubectl.ok("rollout history deploy/web --revision=1").await;
    assert!(page.starts_with("deployment.apps/web with revision #1\nPod Template:\n"), "{page}");
    assert!(page.contains("nginx:0"), "{page}");
    let skipped = kubectl.ok("rollout undo deploy/web --to-revision=10").await;
    assert_eq!(
        skipped,
        "deployment.apps/web skipped rollback (current template already matches revision 10)\n"
    );
    let unknown = kubectl.fails("rollout undo deploy/web --to-revision=7", "").await;
    assert!(unknown.contains("unable to find the specified revision 7"), "{unknown}");
    assert_eq!(kubectl.ok("rollout undo deploy/web").await, "deployment.apps/web rolled back\n");
    let image =
        |object: &Value| object["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(image(&get(&kubectl).await), "nginx:2");
    assert_eq!(
        kubectl.ok("rollout undo deploy/web --to-revision=1").await,
        "deployment.apps/web rolled back\n"
    );
    let now = get(&kubectl).await;
    assert_eq!(image(&now), "nginx:0");
    assert_eq!(now["spec"]["template"]["metadata"]["labels"], json!({"app": "web"}));
    assert_eq!(now["metadata"]["annotations"]["kubernetes.io/change-cause"], "first");
}

#[tokio::test]
async fn status_says_how_far_it_is_until_it_is_done() {
    let kubectl = created().await;
    let look = "rollout status deploy/web --watch=false";
    assert_eq!(kubectl.ok(look).await, "Waiting for deployment spec update to be observed...\n");
    let status = |all: u32, updated: u32, available: u32| json!({"observedGeneration": 1, "replicas": all, "updatedReplicas": updated, "availableReplicas": available});
    for (status, said) in [
        (status(3, 1, 2), "1 out of 3 new replicas have been updated..."),
        (status(4, 3, 2), "1 old replicas are pending termination..."),
        (status(3, 3, 2), "2 of 3 updated replicas are available..."),
    ] {
        set_status(&kubectl, status).await;
        let line = format!("Waiting for deployment \"web\" rollout to finish: {said}\n");
        assert_eq!(kubectl.ok(look).await, line);
    }
    let out = Buffer::default();
    let io = kubectl::Io::new(std::io::empty(), out.clone(), Buffer::default());
    let following =
        tokio::spawn(kubectl::run(words("rollout status deploy/web"), io, kubectl.environment()));
    out.contains("2 of 3 updated").await;
    set_status(&kubectl, status(3, 3, 3)).await;
    following.await.unwrap();
    assert!(out.text().ends_with("deployment \"web\" successfully rolled out\n"), "{}", out.text());
    let late = json!({"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
    set_status(&kubectl, late).await;
    let failed = kubectl.fails("rollout status deploy/web", "").await;
    assert!(failed.contains(r#"deployment "web" exceeded its progress deadline"#), "{failed}");
    set_status(&kubectl, json!({"conditions": null, "updatedReplicas": 1})).await;
    let timed_out = kubectl.fails("rollout status deploy/web --timeout=1ms", "").await;
    assert_eq!(timed_out, "error: timed out waiting for the condition");
}

#[tokio::test]
async fn a_deployment_is_described_with_its_sets() {
    let kubectl = created().await;
    revision(&kubectl, 1, "registry:5000/a/nginx:1", "").await;
    set_status(&kubectl, json!({"replicas": 3, "updatedReplicas": 1})).await;
    let page = kubectl.ok("describe deploy web").await;
    for line in [
        "Replicas:               3 desired | 1 updated | 3 total | 0 available | 0 unavailable\n",
        "StrategyType:           RollingUpdate\n",
        "RollingUpdateStrategy:  25% max unavailable, 25% max surge\n",
        "\nOldReplicaSets:    <none>\n",
        "\nNewReplicaSet:     web-hash1 (0/0 replicas created)\n",
    ] {
        assert!(page.contains(line), "no {line} in\n{page}");
    }
}
