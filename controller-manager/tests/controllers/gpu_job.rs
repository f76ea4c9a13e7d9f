//! The pod of a GPU job comes, comes again, and goes with the job.

use api_types::api::core::v1::{ConfigMap, Pod, Secret};
use api_types::minik8s::GpuJob;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use testkit::wait;

use crate::{Cluster, create, list, patch, patch_status};

/// With the job `add`, whose cluster is known.
async fn start() -> (Cluster, Api<GpuJob>) {
    let cluster = Cluster::start().await;
    let maps = Api::<ConfigMap>::namespaced(cluster.plane.client(), "kube-system");
    let key = "SHA256:0123456789012345678901234567890123456789012";
    let map = json!({"metadata": {"name": "gpu-cluster"}, "data": {"host": "h", "hostKey": key}});
    create(&maps, &serde_json::from_value(map).unwrap()).await;
    let jobs = cluster.api::<GpuJob>();
    let job = json!({
        "apiVersion": "minik8s.io/v1", "kind": "GpuJob", "metadata": {"name": "add"},
        "spec": {"runScripts": ["./add"], "credentials": {"secretRef": {"name": "hpc"}}},
    });
    create(&jobs, &serde_json::from_value(job).unwrap()).await;
    (cluster, jobs)
}

/// The pod of the job, when it is not one of those.
async fn until_pod(cluster: &Cluster, other_than: &[String]) -> (String, String) {
    let pods = cluster.api::<Pod>();
    wait::until("the job's pod", async || {
        let all = list(&pods).await;
        let mut found = all.iter().filter_map(|pod| {
            let metadata = &pod.metadata;
            let uid = metadata.uid.clone().filter(|_| metadata.deletion_timestamp.is_none())?;
            (!other_than.contains(&uid)).then_some((metadata.name.clone()?, uid))
        });
        found.next().ok_or(all.len())
    })
    .await
}

#[tokio::test]
async fn a_jobs_pod_that_is_deleted_is_made_again() {
    let (cluster, _) = start().await;
    let (name, first) = until_pod(&cluster, &[]).await;
    let at_once = DeleteParams::default().grace_period(0);
    cluster.api::<Pod>().delete(&name, &at_once).await.unwrap();
    until_pod(&cluster, &[first]).await;
}

/// The garbage collector deletes what a job owns before the job, but not what its server needs to clear up.
#[tokio::test]
async fn a_job_that_is_deleted_after_what_it_owns_keeps_it_until_its_server_lets_it_go() {
    let (cluster, jobs) = start().await;
    let (name, _) = until_pod(&cluster, &[]).await;
    let secrets = cluster.api::<Secret>();
    let owned = async |name: &str, version: &str, kind: &str, owner: &str, uid: &str| {
        let owner = json!({"apiVersion": version, "kind": kind, "name": owner, "uid": uid});
        let secret = json!({"metadata": {"name": name, "ownerReferences": [owner]}});
        create(&secrets, &serde_json::from_value(secret).unwrap()).await;
    };
    let uid = jobs.get("add").await.unwrap().metadata.uid.unwrap();
    owned("login", "minik8s.io/v1", "GpuJob", "add", &uid).await;
    let uploaded = json!({"type": "Uploaded", "status": "True", "reason": "r", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    patch_status(&jobs, "add", json!({"conditions": [uploaded]})).await;
    jobs.delete("add", &DeleteParams::foreground()).await.unwrap();
    // When this one has gone, the collector has heard of that.
    owned("later", "v1", "ConfigMap", "absent", "absent").await;
    wait::until_gone(&secrets, "later").await;
    assert_eq!(secrets.get("login").await.unwrap().metadata.deletion_timestamp, None);
    let pod = cluster.api::<Pod>().get(&name).await.unwrap();
    assert_eq!(pod.metadata.deletion_timestamp, None);
    let held = jobs.get("add").await.unwrap().metadata.finalizers.unwrap_or_default();
    let left: Vec<_> = held.into_iter().filter(|it| it != GpuJob::FINALIZER).collect();
    patch(&jobs, "add", json!({"metadata": {"finalizers": left}})).await;
    wait::until_gone(&jobs, "add").await;
    wait::until_gone(&secrets, "login").await;
    wait::until_gone(&cluster.api::<Pod>(), &name).await;
}
