//! `kubectl reset`. No controller runs: what it leaves to them is shown by a real cluster.

use crate::harness::Kubectl;

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
    let question = "You are about to delete the following 3 resource(s):\nconfigmap/settings\nservice/web\ndeployment.apps/shop\nDo you want to continue? (y/N): ";
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
