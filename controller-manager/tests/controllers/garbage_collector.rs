//! What becomes of objects whose owners go.

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{ConfigMap, Node, Pod};
use kube::Api;
use kube::api::DeleteParams;
use serde_json::json;
use testkit::{node, replica_set, wait};

use crate::{Cluster, create, list, names};

async fn until_pods(api: &Api<Pod>, count: usize) -> Vec<Pod> {
    wait::until(&format!("there are {count} pods"), async || {
        let pods = list(api).await;
        if pods.len() == count { Ok(pods) } else { Err(names(&pods)) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_go_with_their_set_before_it_or_not_at_all() {
    let cluster = Cluster::start().await;
    let (sets, pods) = (cluster.api::<ReplicaSet>(), cluster.api::<Pod>());
    for (name, policy) in
        [("background", DeleteParams::background()), ("foreground", DeleteParams::foreground())]
    {
        create(&sets, &replica_set(name).replicas(3).build()).await;
        until_pods(&pods, 3).await;
        sets.delete(name, &policy).await.unwrap();
        until_pods(&pods, 0).await;
        wait::until_gone(&sets, name).await;
    }
    create(&sets, &replica_set("orphan").replicas(2).build()).await;
    until_pods(&pods, 2).await;
    sets.delete("orphan", &DeleteParams::orphan()).await.unwrap();
    wait::until_gone(&sets, "orphan").await;
    let left = until_pods(&pods, 2).await;
    assert!(
        left.iter().all(|pod| pod.metadata.owner_references.as_ref().is_none_or(Vec::is_empty))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_known_by_its_uid_and_may_be_of_the_cluster() {
    let cluster = Cluster::start().await;
    let (nodes, maps) = (cluster.cluster_api::<Node>(), cluster.api::<ConfigMap>());
    let owner = create(&nodes, &node("n1").build()).await;
    let owned = |name: &str, uids: &[&str]| {
        let references: Vec<_> = uids
            .iter()
            .map(|uid| json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": uid}))
            .collect();
        serde_json::from_value(json!({"metadata": {"name": name, "ownerReferences": references}}))
            .unwrap()
    };
    let uid = owner.metadata.uid.as_deref().unwrap();
    create(&maps, &owned("right", &[uid])).await;
    create(&maps, &owned("wrong", &["11111111-1111-1111-1111-111111111111"])).await;
    create(&maps, &owned("both", &[uid, "11111111-1111-1111-1111-111111111111"])).await;
    wait::until_gone(&maps, "wrong").await;
    let references = |map: &ConfigMap| map.metadata.owner_references.as_ref().map_or(0, Vec::len);
    wait::until_is(&maps, "both", "has lost the dangling reference", |map| references(map) == 1)
        .await;
    assert!(maps.get_opt("right").await.unwrap().is_some());
    nodes.delete("n1", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&maps, "right").await;
    wait::until_gone(&maps, "both").await;
}
