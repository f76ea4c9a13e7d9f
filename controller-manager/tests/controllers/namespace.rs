//! Namespaces that are deleted with what is in them.

use api_types::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use testkit::{ControlPlane, pod, wait};

use crate::{Cluster, create, patch};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_has_a_service_account_and_takes_its_contents_along() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.cluster_api::<Namespace>();
    create(&namespaces, &serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap())
        .await;
    let client = cluster.plane.client();
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), "team");
    wait::until_is(&accounts, "default", "is there", |_| true).await;

    let pods = Api::<Pod>::namespaced(client.clone(), "team");
    let maps = Api::<ConfigMap>::namespaced(client, "team");
    create(&pods, &pod("a").namespace("team").build()).await;
    let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/hold"]}});
    create(&maps, &serde_json::from_value(held).unwrap()).await;

    // The API server takes back what is created while its namespace goes; one that stops has looked.
    cluster.plane.stop_server().await;
    cluster.plane.start_server().await;
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&pods, "a").await;
    wait::until_is(&namespaces, "team", "says what is left", |namespace| {
        let conditions = namespace.status.as_ref().and_then(|status| status.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|condition| {
            condition
                .message
                .as_deref()
                .is_some_and(|message| message.contains("configmaps. has 1"))
        })
    })
    .await;
    patch(&maps, "held", json!({"metadata": {"finalizers": []}})).await;
    wait::until_gone(&namespaces, "team").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_account_is_made_again_when_it_is_deleted() {
    let cluster = Cluster::start().await;
    let accounts = cluster.api::<ServiceAccount>();
    let first = wait::until_is(&accounts, "default", "is there", |_| true).await.metadata.uid;
    accounts.delete("default", &DeleteParams::default()).await.unwrap();
    wait::until_is(&accounts, "default", "is another", |it| it.metadata.uid != first).await;
}

/// With a finalizer of somebody else it is there for as long as one likes.
#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_goes_gets_nothing_any_more() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.cluster_api::<Namespace>();
    let team = json!({"metadata": {"name": "team", "finalizers": ["example.com/hold"]}});
    create(&namespaces, &serde_json::from_value(team).unwrap()).await;
    let maps = Api::<ConfigMap>::namespaced(cluster.plane.client(), "team");
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    wait::until_is(&maps, "kube-root-ca.crt", "is published", |_| true).await;
    patch(&maps, "kube-root-ca.crt", held).await;
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let is_going = |map: &ConfigMap| map.metadata.deletion_timestamp.is_some();
    wait::until_is(&maps, "kube-root-ca.crt", "is going", is_going).await;
    let forged = patch(&maps, "kube-root-ca.crt", json!({"data": {"ca.crt": "forged"}})).await;
    // Restored is what is seen later, in a namespace that stays.
    let staying = cluster.api::<ConfigMap>();
    patch(&staying, "kube-root-ca.crt", json!({"data": {"ca.crt": "forged"}})).await;
    let restored = |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data["ca.crt"] == "PEM");
    wait::until_is(&staying, "kube-root-ca.crt", "is restored", restored).await;
    assert_eq!(maps.get("kube-root-ca.crt").await.unwrap().data, forged.data);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_can_be_made_anew_again_and_again() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.cluster_api::<Namespace>();
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap();
    let maps = Api::<ConfigMap>::namespaced(cluster.plane.client(), "team");
    let map = serde_json::from_value(json!({"metadata": {"name": "mine"}})).unwrap();
    for _ in 0..5 {
        create(&namespaces, &team).await;
        create(&maps, &map).await;
        wait::until_is(&maps, "kube-root-ca.crt", "is published", |_| true).await;
        maps.get("mine").await.unwrap();
        namespaces.delete("team", &DeleteParams::default()).await.unwrap();
        wait::until_gone(&namespaces, "team").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_certificate_is_published_and_restored() {
    let plane = ControlPlane::start().await;
    let early = Api::<Namespace>::all(plane.client());
    create(&early, &serde_json::from_value(json!({"metadata": {"name": "early"}})).unwrap()).await;
    let cluster = Cluster::over(plane);
    for namespace in ["default", "kube-system", "early"] {
        let maps = Api::<ConfigMap>::namespaced(cluster.plane.client(), namespace);
        let published =
            |map: &ConfigMap| map.data.as_ref().is_some_and(|data| data["ca.crt"] == "PEM");
        wait::until_is(&maps, "kube-root-ca.crt", "is published", published).await;
    }
    let maps = cluster.api::<ConfigMap>();
    let only = |map: &ConfigMap| {
        map.data.as_ref().is_some_and(|data| data.len() == 1 && data["ca.crt"] == "PEM")
    };
    patch(&maps, "kube-root-ca.crt", json!({"data": {"ca.crt": "forged", "more": "x"}})).await;
    wait::until_is(&maps, "kube-root-ca.crt", "is restored", only).await;
    let before = maps.get("kube-root-ca.crt").await.unwrap().metadata.uid;
    maps.delete("kube-root-ca.crt", &DeleteParams::default()).await.unwrap();
    wait::until_is(&maps, "kube-root-ca.crt", "is made again", |map| map.metadata.uid != before)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_was_deleted_while_nobody_looked_is_emptied() {
    let plane = ControlPlane::start().await;
    let namespaces = Api::<Namespace>::all(plane.client());
    create(&namespaces, &serde_json::from_value(json!({"metadata": {"name": "team"}})).unwrap())
        .await;
    let maps = Api::<ConfigMap>::namespaced(plane.client(), "team");
    create(&maps, &serde_json::from_value(json!({"metadata": {"name": "mine"}})).unwrap()).await;
    namespaces.delete("team", &DeleteParams::default()).await.unwrap();
    let _cluster = Cluster::over(plane);
    wait::until_gone(&namespaces, "team").await;
    assert!(maps.get_opt("mine").await.unwrap().is_none());
}
