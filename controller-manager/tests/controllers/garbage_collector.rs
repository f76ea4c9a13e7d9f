//! What becomes of objects whose owners go.

use std::pin::pin;

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{ConfigMap, Node, Pod};
use futures::TryStreamExt;
use kube::api::{DeleteParams, ListParams, WatchEvent, WatchParams};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use testkit::{ControlPlane, Obstacle, node, pod, replica_set, wait};

use crate::{Cluster, create, list, names, patch};

/// A version to watch from.
async fn version_now<K>(api: &Api<K>) -> String
where
    K: Clone + std::fmt::Debug + DeserializeOwned,
{
    let list = api.list(&ListParams::default().limit(1)).await.unwrap();
    list.metadata.resource_version.unwrap()
}

/// The version at which an object went that was there at that time.
async fn gone_at<K>(api: &Api<K>, since: &str, name: &str) -> u64
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    let mut events = pin!(api.watch(&params, since).await.unwrap());
    loop {
        let event = tokio::time::timeout(wait::DEADLINE, events.try_next()).await;
        let event = event.unwrap_or_else(|_| panic!("{name} does not go")).unwrap();
        if let WatchEvent::Deleted(object) = event.expect("the watch goes on") {
            return object.meta().resource_version.as_ref().unwrap().parse().unwrap();
        }
    }
}

fn map(name: &str, owner: Value, more: Value) -> ConfigMap {
    let mut metadata = json!({"name": name, "ownerReferences": owner});
    for (key, value) in more.as_object().into_iter().flatten() {
        metadata[key] = value.clone();
    }
    serde_json::from_value(json!({"metadata": metadata})).unwrap()
}

fn reference(kind: &str, owner: &impl Resource<DynamicType = ()>) -> Value {
    let metadata = owner.meta();
    let version = if kind == "ReplicaSet" { "apps/v1" } else { "v1" };
    json!({"apiVersion": version, "kind": kind, "name": metadata.name, "uid": metadata.uid,
           "blockOwnerDeletion": true, "controller": true})
}

/// A set with pods, without any controller.
async fn set_with_pods(plane: &ControlPlane, count: usize) -> (Api<ReplicaSet>, Api<Pod>) {
    let sets = Api::<ReplicaSet>::namespaced(plane.client(), "default");
    let pods = Api::<Pod>::namespaced(plane.client(), "default");
    let set = create(&sets, &replica_set("web").replicas(count.try_into().unwrap()).build()).await;
    for n in 0..count {
        let owner = serde_json::from_value(json!([reference("ReplicaSet", &set)])).unwrap();
        let pod = pod(&format!("web-{n}")).label("app", "web");
        let pod = pod.with(|pod| pod.metadata.owner_references = owner);
        create(&pods, &pod.build()).await;
    }
    (sets, pods)
}

/// The collector does not hear of any object of a kind.
fn hold_kind(plane: &ControlPlane, path: &'static str) -> Obstacle {
    plane.hold(move |request| {
        let accept = request.headers().get("accept").and_then(|value| value.to_str().ok());
        request.uri().path() == path
            && accept.is_some_and(|accept| accept.contains("PartialObjectMetadata"))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_released_though_the_collector_has_not_heard_of_them() {
    let plane = ControlPlane::start().await;
    let (sets, pods) = set_with_pods(&plane, 3).await;
    sets.delete("web", &DeleteParams::orphan()).await.unwrap();
    let lost =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "no-more"}]);
    let lost = serde_json::from_value(lost).unwrap();
    create(&pods, &pod("zz").with(|pod| pod.metadata.owner_references = lost).build()).await;
    let held = hold_kind(&plane, "/api/v1/pods");
    let _cluster = Cluster::over(plane);
    wait::until_gone(&sets, "web").await;
    drop(held);
    // The last one shows that the collector has judged them all.
    wait::until_gone(&pods, "zz").await;
    let left = list(&pods).await;
    assert_eq!(names(&left), ["web-0", "web-1", "web-2"]);
    for pod in left {
        assert!(pod.metadata.deletion_timestamp.is_none(), "{pod:?}");
        assert_eq!(pod.metadata.owner_references.unwrap_or_default(), []);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_waits_for_pods_that_the_collector_has_not_heard_of() {
    let plane = ControlPlane::start().await;
    let (sets, pods) = set_with_pods(&plane, 2).await;
    let since = version_now(&pods).await;
    sets.delete("web", &DeleteParams::foreground()).await.unwrap();
    let maps = Api::<ConfigMap>::namespaced(plane.client(), "default");
    let lost = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "web", "uid": "no-more"}]);
    create(&maps, &map("zz", lost, json!({}))).await;
    let held = hold_kind(&plane, "/api/v1/pods");
    let cluster = Cluster::over(plane);
    wait::until_gone(&maps, "zz").await;
    wait::until("the set was judged", async || {
        let asked = cluster.plane.requests();
        let looks = "GET /api/v1/namespaces/default/pods?&limit=500";
        let looks = asked.iter().filter(|request| request.starts_with(looks)).count();
        let is_gone = sets.get_opt("web").await.unwrap().is_none();
        if looks > 1 || is_gone { Ok(()) } else { Err(asked) }
    })
    .await;
    drop(held);
    let set_gone = gone_at(&sets, &since, "web").await;
    for pod in ["web-0", "web-1"] {
        assert!(gone_at(&pods, &since, pod).await < set_gone, "{pod} outlived its owner");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dependent_that_is_held_holds_up_its_owner() {
    let cluster = Cluster::start().await;
    let maps = cluster.api::<ConfigMap>();
    let owner = create(&maps, &map("owner", json!(null), json!({}))).await;
    let owned = json!([reference("ConfigMap", &owner)]);
    create(&maps, &map("held", owned, json!({"finalizers": ["example.com/hold"]}))).await;
    let since = version_now(&maps).await;
    maps.delete("owner", &DeleteParams::foreground()).await.unwrap();
    wait::until_is(&maps, "held", "is being deleted", |map| {
        map.metadata.deletion_timestamp.is_some()
    })
    .await;
    patch(&maps, "held", json!({"metadata": {"finalizers": []}})).await;
    assert!(gone_at(&maps, &since, "held").await < gone_at(&maps, &since, "owner").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_that_own_each_other_go_together() {
    let cluster = Cluster::start().await;
    let maps = cluster.api::<ConfigMap>();
    let a = create(&maps, &map("a", json!(null), json!({}))).await;
    let b = create(&maps, &map("b", json!([reference("ConfigMap", &a)]), json!({}))).await;
    let owned = json!({"metadata": {"ownerReferences": [reference("ConfigMap", &b)]}});
    patch(&maps, "a", owned).await;
    maps.delete("a", &DeleteParams::foreground()).await.unwrap();
    wait::until_gone(&maps, "a").await;
    wait::until_gone(&maps, "b").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_its_owners_costs_no_request_and_an_absent_owner_is_asked_for_once() {
    let plane = ControlPlane::start().await;
    let (_, pods) = set_with_pods(&plane, 30).await;
    let maps = Api::<ConfigMap>::namespaced(plane.client(), "default");
    let gone = json!([{"apiVersion": "v1", "kind": "Secret", "name": "gone", "uid": "no-more"}]);
    for n in 0..60 {
        create(&maps, &map(&format!("m{n:02}"), gone.clone(), json!({}))).await;
    }
    let held = hold_kind(&plane, "/apis/apps/v1/replicasets");
    let cluster = Cluster::over(plane);
    wait::until("what nobody owns is gone", async || {
        let left = list(&maps).await;
        let left = left.iter().filter(|map| map.metadata.owner_references.is_some()).count();
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    drop(held);
    let asked = cluster.plane.requests();
    let count = |start: &str| asked.iter().filter(|request| request.starts_with(start)).count();
    assert_eq!(count("GET /api/v1/namespaces/default/pods/"), 0);
    assert_eq!(count("GET /apis/apps/v1/namespaces/default/replicasets/"), 0);
    let owner = count("GET /api/v1/namespaces/default/secrets/gone");
    assert!((1..=20).contains(&owner), "{owner} times, with 20 workers");
    assert_eq!(list(&pods).await.len(), 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_of_a_kind_that_nobody_knows_keeps_its_dependents() {
    let cluster = Cluster::start().await;
    let maps = cluster.api::<ConfigMap>();
    let owner = |version: &str, kind: &str| json!({"apiVersion": version, "kind": kind, "name": "x", "uid": "no-more"});
    let unknown = json!([owner("example.com/v1", "Thing"), owner("v1", "Secret")]);
    create(&maps, &map("kept", unknown, json!({}))).await;
    create(&maps, &map("zz", json!([owner("v1", "Secret")]), json!({}))).await;
    wait::until_gone(&maps, "zz").await;
    let kept = maps.get("kept").await.unwrap();
    assert_eq!(kept.metadata.owner_references.unwrap().len(), 2);
}

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
        let made = names(&until_pods(&pods, 3).await);
        let since = version_now(&pods).await;
        sets.delete(name, &policy).await.unwrap();
        let set_gone = gone_at(&sets, &since, name).await;
        let mut pods_gone = Vec::new();
        for pod in &made {
            pods_gone.push(gone_at(&pods, &since, pod).await);
        }
        let after = pods_gone.iter().filter(|gone| **gone > set_gone).count();
        assert_eq!(after, if name == "background" { 3 } else { 0 }, "{set_gone} {pods_gone:?}");
    }
    until_pods(&pods, 0).await;
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
