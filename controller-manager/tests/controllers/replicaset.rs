//! ReplicaSets and their pods.

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{Event, Pod, ReplicationController};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use testkit::{ControlPlane, pod, replica_set, wait};

use crate::{Cluster, create, list, names, patch, patch_status};

async fn until_pods(api: &Api<Pod>, count: usize) -> Vec<Pod> {
    wait::until(&format!("there are {count} pods"), async || {
        let pods: Vec<Pod> = list(api)
            .await
            .into_iter()
            .filter(|pod| pod.metadata.deletion_timestamp.is_none())
            .collect();
        if pods.len() == count { Ok(pods) } else { Err(names(&pods)) }
    })
    .await
}

async fn until_replicas(api: &Api<ReplicaSet>, name: &str, replicas: i32) -> ReplicaSet {
    let what = format!("has {replicas} replicas");
    wait::until_is(api, name, &what, |set| {
        set.status.as_ref().is_some_and(|status| {
            status.replicas == replicas && status.observed_generation == set.metadata.generation
        })
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_set_has_as_many_pods_as_it_says_and_never_more() {
    let cluster = Cluster::start().await;
    let (sets, pods) = (cluster.api::<ReplicaSet>(), cluster.api::<Pod>());
    create(&sets, &replica_set("web").replicas(30).build()).await;
    until_replicas(&sets, "web", 30).await;
    let made = until_pods(&pods, 30).await;
    let owner = made[0].metadata.owner_references.as_ref().unwrap()[0].clone();
    assert_eq!(
        (owner.kind.as_str(), owner.name.as_str(), owner.controller),
        ("ReplicaSet", "web", Some(true))
    );
    assert!(
        names(&made).iter().all(|name| name.starts_with("web-") && name.len() == "web-".len() + 5)
    );

    patch(&sets, "web", json!({"spec": {"replicas": 2}})).await;
    until_replicas(&sets, "web", 2).await;
    let kept = until_pods(&pods, 2).await;
    pods.delete(kept[0].metadata.name.as_deref().unwrap(), &DeleteParams::default()).await.unwrap();
    wait::until("the deleted pod is replaced", async || {
        let now = until_pods(&pods, 2).await;
        if now.iter().all(|pod| pod.metadata.uid != kept[0].metadata.uid) {
            Ok(())
        } else {
            Err(names(&now))
        }
    })
    .await;
    let created = cluster
        .plane
        .requests()
        .iter()
        .filter(|request| request.starts_with("POST /api/v1/namespaces/default/pods"))
        .count();
    assert_eq!(created, 31, "30 at first and one replacement");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_controller_has_looked_at_is_in_the_metrics() {
    let cluster = Cluster::start().await;
    create(&cluster.api::<ReplicaSet>(), &replica_set("web").replicas(1).build()).await;
    until_pods(&cluster.api::<Pod>(), 1).await;
    let name = r#"{name="replicaset-controller"}"#;
    wait::until("the look is counted", async || {
        let told = cluster.metrics.encode().unwrap();
        let of = |metric: &str| {
            let line = told.lines().find_map(|line| line.strip_prefix(&format!("{metric}{name} ")));
            line.map_or(0, |count| count.parse().unwrap())
        };
        let looks = of("workqueue_work_duration_seconds_count");
        if looks > 0 && of("workqueue_adds_total") >= looks { Ok(()) } else { Err(told) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_pod_is_replaced_and_readiness_is_counted() {
    let cluster = Cluster::start().await;
    let (sets, pods) = (cluster.api::<ReplicaSet>(), cluster.api::<Pod>());
    create(&sets, &replica_set("web").replicas(2).build()).await;
    let made = until_pods(&pods, 2).await;
    let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    patch_status(&pods, &names(&made)[0], ready).await;
    wait::until_is(&sets, "web", "has one ready replica", |set| {
        let status = set.status.as_ref();
        status.is_some_and(|s| {
            s.ready_replicas == Some(1) && s.available_replicas == Some(1) && s.replicas == 2
        })
    })
    .await;
    patch_status(&pods, &names(&made)[1], json!({"phase": "Failed"})).await;
    until_pods(&pods, 3).await;
    let _ = until_replicas(&sets, "web", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_that_match_are_adopted_and_pods_that_no_longer_match_released() {
    let cluster = Cluster::start().await;
    let (sets, pods) = (cluster.api::<ReplicaSet>(), cluster.api::<Pod>());
    create(&pods, &pod("orphan").label("app", "web").build()).await;
    create(&sets, &replica_set("web").replicas(2).build()).await;
    let is_owned =
        |pod: &Pod| pod.metadata.owner_references.as_ref().is_some_and(|owners| !owners.is_empty());
    wait::until_is(&pods, "orphan", "is adopted", is_owned).await;
    until_pods(&pods, 2).await;
    patch(&pods, "orphan", json!({"metadata": {"labels": {"app": "debug"}}})).await;
    wait::until_is(&pods, "orphan", "is released", |pod| !is_owned(pod)).await;
    until_pods(&pods, 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_happens_is_told_in_events() {
    let cluster = Cluster::start().await;
    create(&cluster.api::<ReplicaSet>(), &replica_set("web").replicas(1).build()).await;
    let events = cluster.api::<Event>();
    wait::until("the creation is told", async || {
        let seen = list(&events).await;
        let told = seen.iter().any(|event| {
            event.reason.as_deref() == Some("SuccessfulCreate")
                && event
                    .message
                    .as_deref()
                    .is_some_and(|message| message.starts_with("Created pod: web-"))
        });
        if told { Ok(()) } else { Err(seen) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_is_survived() {
    let cluster = Cluster::start().await;
    let (sets, pods) = (cluster.api::<ReplicaSet>(), cluster.api::<Pod>());
    create(&sets, &replica_set("web").replicas(2).build()).await;
    until_pods(&pods, 2).await;
    cluster.plane.stop_server().await;
    cluster.plane.start_server().await;
    patch(&sets, "web", json!({"spec": {"replicas": 5}})).await;
    until_pods(&pods, 5).await;
    until_replicas(&sets, "web", 5).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_that_start_late_count_what_is_there() {
    let plane = ControlPlane::start().await;
    let sets = Api::<ReplicaSet>::namespaced(plane.client(), "default");
    let pods = Api::<Pod>::namespaced(plane.client(), "default");
    create(&sets, &replica_set("web").replicas(3).build()).await;
    create(&pods, &pod("mine").label("app", "web").build()).await;
    create(&pods, &pod("other").label("app", "db").build()).await;
    let cluster = Cluster::over(plane);
    until_replicas(&sets, "web", 3).await;
    assert_eq!(until_pods(&pods, 4).await.len(), 4);
    let created = "POST /api/v1/namespaces/default/pods?";
    let created = cluster.plane.requests().iter().filter(|r| r.starts_with(created)).count();
    assert_eq!(created, 2 + 2, "two by hand, and two that were missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_controller_keeps_its_pods_like_a_set() {
    let cluster = Cluster::start().await;
    let (controllers, pods) = (cluster.api::<ReplicationController>(), cluster.api::<Pod>());
    let template = json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let rc = json!({"metadata": {"name": "web"}, "spec": {"replicas": 3, "template": template}});
    create(&controllers, &serde_json::from_value(rc).unwrap()).await;
    let made = until_pods(&pods, 3).await;
    let owner = made[0].metadata.owner_references.as_ref().unwrap()[0].clone();
    assert_eq!(
        (&*owner.api_version, &*owner.kind, &*owner.name),
        ("v1", "ReplicationController", "web")
    );
    patch(&controllers, "web", json!({"spec": {"replicas": 1}})).await;
    until_pods(&pods, 1).await;
    wait::until_is(&controllers, "web", "has one replica", |rc| {
        rc.status.as_ref().is_some_and(|status| {
            status.replicas == 1 && status.observed_generation == rc.metadata.generation
        })
    })
    .await;
}
