//! CronJobs and their Jobs. There are no kubelets: the tests say how pods end.

use api_types::api::batch::v1::{CronJob, Job};
use api_types::api::core::v1::Pod;
use kube::Api;
use serde_json::{Value, json};
use testkit::wait;

use crate::{Cluster, create, list, names, patch_status};

fn cron_job(name: &str, spec: Value) -> CronJob {
    let pod = json!({"restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]});
    let mut whole = json!({"schedule": "@every 1s", "jobTemplate": {
        "metadata": {"labels": {"of": name}}, "spec": {"template": {"spec": pod}}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": whole})).unwrap()
}

/// The only Job, once it is another one than the one before.
async fn until_next(jobs: &Api<Job>, before: Option<&Job>) -> Job {
    wait::until("there is one Job, and a new one", async || {
        let mut all = list(jobs).await;
        all.retain(|job| Some(&job.metadata.uid) != before.map(|job| &job.metadata.uid));
        if all.len() == 1 { Ok(all.remove(0)) } else { Err(names(&all)) }
    })
    .await
}

async fn end_pod_of(pods: &Api<Pod>, job: &Job) {
    let is_its = |pod: &Pod| {
        let owners = pod.metadata.owner_references.iter().flatten();
        { owners }.any(|owner| Some(&owner.uid) == job.metadata.uid.as_ref())
    };
    let pod = wait::until("the Job has a pod", async || {
        let all = list(pods).await;
        all.iter().find(|pod| is_its(pod)).cloned().ok_or_else(|| names(&all))
    })
    .await;
    patch_status(pods, &pod.metadata.name.unwrap(), json!({"phase": "Succeeded"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_made_when_it_is_due_and_nothing_runs_and_goes_when_it_is_over() {
    let cluster = Cluster::start().await;
    let (cron_jobs, jobs) = (cluster.api::<CronJob>(), cluster.api::<Job>());
    let spec = json!({"concurrencyPolicy": "Forbid", "successfulJobsHistoryLimit": 0});
    create(&cron_jobs, &cron_job("often", spec)).await;
    let first = until_next(&jobs, None).await;
    let of = first.metadata.labels.as_ref().map(|labels| labels["of"].as_str());
    assert_eq!(of, Some("often"));
    let owner = &first.metadata.owner_references.as_ref().unwrap()[0];
    assert_eq!((&*owner.kind, owner.controller), ("CronJob", Some(true)));
    wait::until_is(&cron_jobs, "often", "names its Job", |it| {
        let active = it.status.iter().flat_map(|status| status.active.iter().flatten());
        { active }.any(|job| job.uid == first.metadata.uid)
    })
    .await;
    end_pod_of(&cluster.api(), &first).await;
    until_next(&jobs, Some(&first)).await;
    wait::until_is(&cron_jobs, "often", "knows of a success", |it| {
        it.status.as_ref().is_some_and(|status| status.last_successful_time.is_some())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_job_replaces_one_that_runs() {
    let cluster = Cluster::start().await;
    let (cron_jobs, jobs) = (cluster.api::<CronJob>(), cluster.api::<Job>());
    create(&cron_jobs, &cron_job("often", json!({"concurrencyPolicy": "Replace"}))).await;
    let first = until_next(&jobs, None).await;
    wait::until("the first Job is gone", async || {
        let left = list(&jobs).await;
        let is_first = |job: &Job| job.metadata.uid == first.metadata.uid;
        if left.iter().any(is_first) { Err(names(&left)) } else { Ok(()) }
    })
    .await;
}
