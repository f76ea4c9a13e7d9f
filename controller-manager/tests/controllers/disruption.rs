//! PodDisruptionBudgets and evictions. There are no kubelets: the tests say which pods are ready.

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::api::policy::v1::PodDisruptionBudget;
use kube::Api;
use kube::api::EvictParams;
use serde_json::{Value, json};
use testkit::{replica_set, wait};

use crate::{Cluster, create, list, names, patch, patch_status};

fn budget(spec: Value) -> PodDisruptionBudget {
    let mut whole = json!({"selector": {"matchLabels": {"app": "web"}}});
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": whole})).unwrap()
}

async fn ready_pods(cluster: &Cluster, count: i32) -> Vec<String> {
    let (sets, pods) = (cluster.api::<ReplicaSet>(), cluster.api::<Pod>());
    create(&sets, &replica_set("web").replicas(count).build()).await;
    let made = wait::until("there are pods", async || {
        let made = names(&list(&pods).await);
        if made.len() == usize::try_from(count).unwrap() { Ok(made) } else { Err(made) }
    })
    .await;
    for name in &made {
        let ready =
            json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        patch_status(&pods, name, ready).await;
    }
    made
}

async fn until_allowed(budgets: &Api<PodDisruptionBudget>, allowed: i32) -> PodDisruptionBudget {
    wait::until_is(budgets, "web", &format!("allows {allowed}"), |budget| {
        budget.status.as_ref().is_some_and(|status| {
            status.disruptions_allowed == Some(allowed)
                && status.observed_generation == budget.metadata.generation
        })
    })
    .await
}

async fn evict(cluster: &Cluster, pod: &str) -> Result<(), kube::core::Status> {
    let evicted = cluster.api::<Pod>().evict(pod, &EvictParams::default()).await;
    match evicted {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) => Err(*status),
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_evicted_as_long_as_their_budget_allows() {
    let cluster = Cluster::start().await;
    let budgets = cluster.api::<PodDisruptionBudget>();
    let pods = ready_pods(&cluster, 3).await;
    create(&budgets, &budget(json!({"maxUnavailable": 1}))).await;
    let status = until_allowed(&budgets, 1).await.status.unwrap();
    let counts = (status.expected_pods, status.desired_healthy, status.current_healthy);
    assert_eq!(counts, (Some(3), Some(2), Some(3)));
    evict(&cluster, &pods[0]).await.unwrap();
    let refused = evict(&cluster, &pods[1]).await.unwrap_err();
    assert_eq!((refused.code, &*refused.reason), (429, "TooManyRequests"));
    assert_eq!(
        refused.message,
        "Cannot evict pod as it would violate the pod's disruption budget."
    );
    let cause = &refused.details.unwrap().causes[0];
    assert_eq!(cause.reason, "DisruptionBudget");
    // One of three is new, and not ready: it may go whenever.
    until_allowed(&budgets, 0).await;
    patch(&budgets, "web", json!({"spec": {"maxUnavailable": 2}})).await;
    until_allowed(&budgets, 1).await;
    evict(&cluster, &pods[1]).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_whose_pods_have_owners_without_a_scale_allows_none() {
    let cluster = Cluster::start().await;
    let budgets = cluster.api::<PodDisruptionBudget>();
    let owner = json!([{"apiVersion": "example.com/v1", "kind": "Pool", "name": "p", "uid": "u", "controller": true}]);
    let pod = json!({"metadata": {"name": "a", "labels": {"app": "web"}, "ownerReferences": owner},
        "spec": {"containers": [{"name": "c", "image": "nginx"}]}});
    create(&cluster.api::<Pod>(), &serde_json::from_value(pod).unwrap()).await;
    create(&budgets, &budget(json!({"minAvailable": "50%"}))).await;
    wait::until_is(&budgets, "web", "says why", |budget| {
        let conditions = budget.status.iter().flat_map(|it| it.conditions.iter().flatten());
        { conditions }.any(|it| it.message == "found no controllers for pod \"a\"")
    })
    .await;
}
