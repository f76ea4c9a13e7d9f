//! `kubectl reset`. No controller runs: what it leaves to them is shown by a real cluster.

use std::io::Cursor;

use kubectl::Io;

use crate::harness::{Buffer, Kubectl, words};

const THINGS: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {selector: {app: web}, ports: [{port: 80}]}\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: shop}\nspec: {selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: c, image: i}]}}}\n";
const SYSTEM: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kube-root-ca.crt}\n---\napiVersion: v1\nkind: Node\nmetadata: {name: n1}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: its, namespace: kube-system}\n";

async fn everything(kubectl: &Kubectl) -> String {
    kubectl
        .ok("get nodes,namespaces,configmaps,services,endpointslices,pods,deployments -A -o name")
        .await
}

#[tokio::test]
async fn what_users_have_made_goes_and_the_clusters_own_stays() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", SYSTEM).await;
    kubectl.ok("cfg sched=spread").await;
    let before = everything(&kubectl).await;
    assert_eq!(kubectl.run_with("reset --yes", "").await.err, "No resources found\n");
    kubectl.ok_with("apply -f -", THINGS).await;
    let with_things = everything(&kubectl).await;

    let asked = kubectl.ok_with("reset", "n\n").await;
    let question = "You are about to delete the following 3 resource(s) of the cluster at in-process:\nconfigmap/settings\nservice/web\ndeployment.apps/shop\nDo you want to continue? (y/N): ";
    assert_eq!(asked, format!("{question}deletion is cancelled\n"));
    assert!(kubectl.ok("reset").await.ends_with("deletion is cancelled\n"), "nobody has answered");
    assert_eq!(everything(&kubectl).await, with_things);

    let done = kubectl.run_with("reset", "y\nmore").await;
    let deleted = "configmap/settings deleted\nservice/web deleted\ndeployment.apps/shop deleted\n";
    assert_eq!((done.ok, done.out), (true, format!("{question}{deleted}")));
    assert!(done.err.contains("1 of 3 gone, waiting for service/web\n"), "{}", done.err);
    assert_eq!(everything(&kubectl).await, before);
    assert_eq!(kubectl.ok("get events").await, "");
    assert!(kubectl.ok("cfg").await.starts_with("sched=spread\n"));
    kubectl.ok_with("apply -f -", THINGS).await;
    assert_eq!(everything(&kubectl).await, with_things);
}

#[tokio::test]
async fn the_whole_cluster_is_meant_and_a_namespace_is_refused() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", THINGS).await;
    let before = everything(&kubectl).await;
    for line in ["reset -n staging --yes", "--namespace=default reset --yes"] {
        let refused = kubectl.fails(line, "").await;
        assert!(refused.contains("takes no --namespace"), "{refused}");
    }
    kubectl.fails("reset -y", "").await;
    assert_eq!(everything(&kubectl).await, before);
}

/// A function that goes once its images are removed, which needs the Secret.
const HELD: &str = "apiVersion: minik8s.io/v1\nkind: Function\nmetadata: {name: add, finalizers: [minik8s.io/images]}\nspec: {source: {files: {add.py: 'def main(p): return p'}}, entryPoint: 'add:main'}\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: registry}\n";

#[tokio::test]
async fn functions_go_first_and_what_holds_one_is_told() {
    let kubectl = Kubectl::new().await;
    kubectl.ok_with("apply -f -", HELD).await;
    let done = kubectl.run_with("reset --yes --timeout=4s", "").await;
    let held = "function.minik8s.io/add (finalizers minik8s.io/images)";
    assert!(done.err.contains(&format!("waiting for {held}\n")), "{}", done.err);
    let left = format!("error: timed out waiting for the condition on secret/registry, {held}\n");
    assert!(!done.ok && done.err.ends_with(&left), "{}", done.err);
    assert_eq!(done.out, "function.minik8s.io/add deleted\n");
}

#[tokio::test]
async fn what_came_after_the_question_is_asked_for_too() {
    let kubectl = Kubectl::new().await;
    let map = |name: &str| {
        format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}, finalizers: [a.b/c]}}\n"
        )
    };
    kubectl.ok_with("apply -f -", &map("old")).await;
    let (out, err) = (Buffer::default(), Buffer::default());
    let io = Io::new(Cursor::new("y\n"), out.clone(), err.clone());
    let reset = kubectl::run(words("reset --timeout=20s"), io, kubectl.environment());
    let colleague = async {
        err.contains("waiting for configmap/old (finalizers a.b/c)\n").await;
        kubectl.ok_with("apply -f -", &map("new")).await;
        kubectl.ok_with("apply -f -", &map("old").replace(", finalizers: [a.b/c]", "")).await;
    };
    tokio::join!(reset, colleague);
    let said = out.text();
    let asked = "configmap/new\nDo you want to continue? (y/N): deletion is cancelled\n";
    assert!(said.ends_with(asked), "{said}");
    assert_eq!(kubectl.ok("get configmap new -o jsonpath={.metadata.deletionTimestamp}").await, "");
}
