//! Jobs and their pods. There are no kubelets: the tests say how pods end.

use api_types::api::batch::v1::Job;
use api_types::api::core::v1::Pod;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};
use testkit::{pod, wait};

use crate::{Cluster, create, list, names, patch, patch_status};

const TRACKING: &str = "batch.kubernetes.io/job-tracking";

fn job(name: &str, spec: Value) -> Job {
    let mut whole = json!({"template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "c", "image": "busybox"}]}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": name}, "spec": whole})).unwrap()
}

/// Those that run, once there are so many.
async fn until_running(pods: &Api<Pod>, count: usize) -> Vec<Pod> {
    wait::until(&format!("{count} pods run"), async || {
        let mut running = list(pods).await;
        running.retain(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_none() && phase == Some("Pending")
        });
        if running.len() == count { Ok(running) } else { Err(names(&running)) }
    })
    .await
}

async fn until_ended(jobs: &Api<Job>, name: &str, condition: &str) -> Job {
    wait::until_is(jobs, name, condition, |job| {
        let status = job.status.as_ref();
        let mut conditions = status.iter().flat_map(|it| it.conditions.iter().flatten());
        conditions.any(|it| it.type_ == condition && it.status == "True")
    })
    .await
}

fn is_held(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().next().is_some()
}

async fn until_free(pods: &Api<Pod>) {
    wait::until("no pod is held", async || {
        let held = list(pods).await.into_iter().filter(is_held);
        let held = names(&held.collect::<Vec<_>>());
        if held.is_empty() { Ok(()) } else { Err(held) }
    })
    .await;
}

async fn end(pods: &Api<Pod>, pod: &Pod, phase: &str) {
    patch_status(pods, pod.metadata.name.as_ref().unwrap(), json!({"phase": phase})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_made_until_enough_have_succeeded_and_each_counts_once() {
    let cluster = Cluster::start().await;
    let (jobs, pods) = (cluster.api::<Job>(), cluster.api::<Pod>());
    create(&jobs, &job("work", json!({"completions": 3, "parallelism": 2}))).await;
    for left in [2, 2, 1] {
        let running = until_running(&pods, left).await;
        assert_eq!(running[0].metadata.finalizers.as_deref(), Some(&[TRACKING.to_owned()][..]));
        end(&pods, &running[0], "Succeeded").await;
    }
    let job = until_ended(&jobs, "work", "Complete").await;
    let status = job.status.unwrap();
    assert_eq!((status.succeeded, status.active, status.failed), (Some(3), None, None));
    assert!(status.completion_time >= status.start_time);
    until_free(&pods).await;
    let made = cluster
        .plane
        .requests()
        .iter()
        .filter(|it| it.starts_with("POST /api/v1/namespaces/default/pods"))
        .count();
    assert_eq!(made, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_fails_stops_its_pods_and_says_why() {
    let cluster = Cluster::start().await;
    let (jobs, pods) = (cluster.api::<Job>(), cluster.api::<Pod>());
    let spec = json!({"completions": 2, "parallelism": 2, "backoffLimit": 0});
    create(&jobs, &job("work", spec)).await;
    end(&pods, &until_running(&pods, 2).await[0], "Failed").await;
    let job = until_ended(&jobs, "work", "Failed").await;
    let status = job.status.unwrap();
    let conditions = status.conditions.unwrap();
    let told: Vec<_> =
        conditions.iter().map(|it| (&*it.type_, it.reason.as_deref().unwrap())).collect();
    assert_eq!(
        told,
        [("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded")]
    );
    assert_eq!((status.failed, status.active), (Some(2), None));
    until_free(&pods).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn indexes_are_worked_off_and_a_suspended_job_has_no_pods() {
    let cluster = Cluster::start().await;
    let (jobs, pods) = (cluster.api::<Job>(), cluster.api::<Pod>());
    let spec =
        json!({"completions": 3, "parallelism": 3, "completionMode": "Indexed", "suspend": true});
    create(&jobs, &job("work", spec)).await;
    until_ended(&jobs, "work", "Suspended").await;
    assert!(list(&pods).await.is_empty());
    let suspend = |is: bool| json!({"spec": {"suspend": is}});
    patch(&jobs, "work", suspend(false)).await;
    let running = until_running(&pods, 3).await;
    let indexed = names(&running).iter().map(|name| name[..7].to_owned()).collect::<Vec<_>>();
    assert_eq!(indexed, ["work-0-", "work-1-", "work-2-"]);
    let second = running
        .iter()
        .find(|pod| pod.metadata.name.as_ref().unwrap().starts_with("work-1"))
        .unwrap();
    end(&pods, second, "Succeeded").await;
    wait::until_is(&jobs, "work", "has index 1", |job| {
        job.status.as_ref().is_some_and(|status| status.completed_indexes.as_deref() == Some("1"))
    })
    .await;
    patch(&jobs, "work", suspend(true)).await;
    until_running(&pods, 0).await;
    patch(&jobs, "work", suspend(false)).await;
    for pod in until_running(&pods, 2).await {
        end(&pods, &pod, "Succeeded").await;
    }
    let done = until_ended(&jobs, "work", "Complete").await.status.unwrap();
    assert_eq!((done.completed_indexes.as_deref(), done.failed), (Some("0-2"), None));
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_that_match_are_adopted_and_held_and_what_is_released_is_free() {
    let cluster = Cluster::start().await;
    let (jobs, pods) = (cluster.api::<Job>(), cluster.api::<Pod>());
    create(&pods, &pod("orphan").label("app", "web").build()).await;
    let mut job =
        job("work", json!({"manualSelector": true, "selector": {"matchLabels": {"app": "web"}}}));
    let template = &mut job.spec.as_mut().unwrap().template;
    template.metadata.get_or_insert_default().labels =
        Some([("app".to_owned(), "web".to_owned())].into());
    create(&jobs, &job).await;
    let is_owned = |pod: &Pod| pod.metadata.owner_references.iter().flatten().next().is_some();
    let is_taken = |pod: &Pod| is_owned(pod) && is_held(pod);
    wait::until_is(&pods, "orphan", "is adopted and held", is_taken).await;
    patch(&pods, "orphan", json!({"metadata": {"labels": {"app": "other"}}})).await;
    let is_free = |pod: &Pod| !is_owned(pod) && !is_held(pod);
    wait::until_is(&pods, "orphan", "is released and free", is_free).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_when_its_time_is_over_and_pods_of_a_deleted_one_are_not_held() {
    let cluster = Cluster::start().await;
    let (jobs, pods) = (cluster.api::<Job>(), cluster.api::<Pod>());
    create(&jobs, &job("short", json!({"ttlSecondsAfterFinished": 0}))).await;
    end(&pods, &until_running(&pods, 1).await[0], "Succeeded").await;
    wait::until("the Job is gone", async || {
        let left = names(&list(&jobs).await);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
    create(&jobs, &job("long", json!({"parallelism": 2}))).await;
    until_running(&pods, 2).await;
    jobs.delete("long", &DeleteParams::background()).await.unwrap();
    wait::until("its pods are gone", async || {
        let left = names(&list(&pods).await);
        if left.is_empty() { Ok(()) } else { Err(left) }
    })
    .await;
}
