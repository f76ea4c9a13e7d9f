//! ReplicaSets: the count is kept, whatever happens to the pods.

use std::collections::BTreeMap;

use api_types::api::core::v1::{Pod, PodCondition};
use kube::{Api, ResourceExt, api::ListParams};

use crate::harness::{Backing, Cluster, containers, root, run, until};

/// Restarts by name of the ReplicaSet's pods, once `count` of them are ready and no other is there.
pub(crate) async fn ready_pods(cluster: &Cluster, count: usize) -> BTreeMap<String, i32> {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    until(&format!("{count} ready pods"), async || {
        let list =
            pods.list(&ListParams::default().labels("app=web")).await.map_err(|e| e.to_string())?;
        let seen: BTreeMap<_, _> =
            list.iter().filter(|p| is_ready(p)).map(|p| (p.name_any(), restarts(p))).collect();
        if seen.len() == count && list.items.len() == count {
            Ok(seen)
        } else {
            Err(format!("{} pods, ready: {seen:?}", list.items.len()))
        }
    })
    .await
}

fn is_ready(pod: &Pod) -> bool {
    let ready = ready_condition(pod).is_some_and(|condition| condition.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    conditions.into_iter().flatten().find(|condition| condition.type_ == "Ready")
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|c| c.restart_count).sum()
}

/// Since when each of the ReplicaSet's pods is ready.
pub(crate) async fn ready_since(cluster: &Cluster) -> BTreeMap<String, String> {
    let pods: Api<Pod> = Api::default_namespaced(cluster.client());
    let list = pods.list(&ListParams::default().labels("app=web")).await.unwrap();
    list.iter().map(|pod| (pod.name_any(), format!("{:?}", ready_condition(pod)))).collect()
}

pub(crate) fn apply_web(cluster: &Cluster) {
    apply_with_service(cluster, "examples/replicaset");
}

/// [`apply_web`] with probes.
pub(crate) fn apply_probed_web(cluster: &Cluster) {
    apply_with_service(cluster, "tests/manifests/probed.yaml");
}

fn apply_with_service(cluster: &Cluster, replicaset: &str) {
    let (replicaset, service) = (root().join(replicaset), root().join("examples/service"));
    cluster
        .kubectl(&["apply", "-f", replicaset.to_str().unwrap(), "-f", service.to_str().unwrap()])
        .expect_ok();
}

#[tokio::test]
async fn three_pods_stay_three() {
    let cluster = Cluster::start(Backing::Embedded).await;
    apply_web(&cluster);
    let first = ready_pods(&cluster, 3).await;

    let victim = first.keys().next().unwrap();
    cluster.kubectl(&["delete", "pod", victim, "--now"]).expect_ok();
    let second = ready_pods(&cluster, 3).await;
    assert!(!second.contains_key(victim), "the deleted pod is back: {second:?}");

    let wounded = second.keys().next().unwrap();
    let container = containers(&[
        &format!("io.kubernetes.pod.name={wounded}"),
        "io.kubernetes.container.name=nginx",
    ]);
    run("docker", &["kill", &container[0]]).expect_ok();
    until("the killed container to be started again", async || {
        let pods = ready_pods(&cluster, 3).await;
        if pods.get(wounded) == Some(&1) { Ok(()) } else { Err(format!("{pods:?}")) }
    })
    .await;
    let row = cluster.stock_kubectl(&["get", "rs", "web", "--no-headers"]).expect_ok();
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["web", "3", "3", "3"]);
}
