//! Pod addresses of nodes, and nodes that fall silent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::{Node, Pod, PodCondition, Toleration};
use controller_manager::eviction::EvictionArgs;
use futures::StreamExt;
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::client::Body;
use kube::{Api, Client};
use listwatch::{Heartbeat, ListWatch, Testimony, topics};
use serde_json::json;
use testkit::{ControlPlane, Redis, node, pod, replica_set, wait};

use crate::{Cluster, create, list, names, patch, patch_status};

async fn cidr_of(nodes: &Api<Node>, name: &str) -> String {
    let cidr = |node: &Node| node.spec.as_ref().and_then(|spec| spec.pod_cidr.clone());
    let node = wait::until_is(nodes, name, "has pod addresses", |node| cidr(node).is_some()).await;
    cidr(&node).unwrap()
}

fn has_taint(node: &Node, key: &str) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().any(|taint| taint.key.ends_with(key))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_gets_pod_addresses_of_its_own_and_leaves_them_to_others() {
    let cluster = Cluster::start().await;
    let nodes = cluster.cluster_api::<Node>();
    let mut given = BTreeSet::new();
    for index in 0..5 {
        create(&nodes, &node(&format!("n{index}")).build()).await;
    }
    for index in 0..5 {
        given.insert(cidr_of(&nodes, &format!("n{index}")).await);
    }
    assert_eq!(given.len(), 5, "{given:?}");
    let free = cidr_of(&nodes, "n2").await;
    nodes.delete("n2", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&nodes, "n2").await;
    create(&nodes, &node("n9").build()).await;
    assert_eq!(cidr_of(&nodes, "n9").await, free);
}

#[tokio::test(flavor = "multi_thread")]
async fn controllers_that_start_late_leave_the_nodes_their_addresses() {
    let plane = ControlPlane::start().await;
    let nodes = Api::<Node>::all(plane.client());
    let with = |cidr: &str| json!({"podCIDR": cidr, "podCIDRs": [cidr]});
    for (name, spec) in [("old", with("10.244.0.0/24")), ("new", json!({}))] {
        let spec = serde_json::from_value(spec).unwrap();
        create(&nodes, &node(name).with(|node| node.spec = spec).build()).await;
    }
    let _cluster = Cluster::over(plane);
    assert_eq!(cidr_of(&nodes, "new").await, "10.244.1.0/24");
    assert_eq!(cidr_of(&nodes, "old").await, "10.244.0.0/24");
}

#[tokio::test(flavor = "multi_thread")]
async fn taints_follow_readiness_and_cordoning() {
    let cluster = Cluster::start().await;
    let nodes = cluster.cluster_api::<Node>();
    create(&nodes, &node("n1").build()).await;
    let ready = |status: &str| json!({"conditions": [{"type": "Ready", "status": status}]});
    patch_status(&nodes, "n1", ready("False")).await;
    wait::until_is(&nodes, "n1", "is tainted", |node| has_taint(node, "not-ready")).await;
    patch_status(&nodes, "n1", ready("True")).await;
    wait::until_is(&nodes, "n1", "is not tainted", |node| !has_taint(node, "not-ready")).await;
    patch(&nodes, "n1", json!({"spec": {"unschedulable": true}})).await;
    wait::until_is(&nodes, "n1", "is tainted", |node| has_taint(node, "unschedulable")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_pressure_is_tainted() {
    let cluster = Cluster::start().await;
    let nodes = cluster.cluster_api::<Node>();
    create(&nodes, &node("n1").build()).await;
    let pressure = |status: &str| json!({"conditions": [{"type": "Ready", "status": "True"}, {"type": "DiskPressure", "status": status}]});
    patch_status(&nodes, "n1", pressure("True")).await;
    wait::until_is(&nodes, "n1", "is tainted", |node| has_taint(node, "disk-pressure")).await;
    patch_status(&nodes, "n1", pressure("False")).await;
    wait::until_is(&nodes, "n1", "is not tainted", |node| !has_taint(node, "disk-pressure")).await;
}

/// Services should leave them out. It takes the five seconds that a node may say so in passing.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_node_that_is_not_ready_are_not_ready_either() {
    let cluster = Cluster::start().await;
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    create(&nodes, &node("n1").build()).await;
    create(&pods, &pod("serves").node("n1").build()).await;
    let status = pod("serves").running("10.244.0.9").build().status;
    patch_status(&pods, "serves", serde_json::to_value(status).unwrap()).await;
    patch_status(&nodes, "n1", json!({"conditions": [{"type": "Ready", "status": "False"}]})).await;
    let not_ready =
        |pod: &Pod| condition(pod, "Ready").is_some_and(|ready| ready.status == "False");
    wait::until_is(&pods, "serves", "is not ready", not_ready).await;
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

fn is_evicted(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// A pod that tolerates a `NoExecute` taint: for so many seconds, or for ever.
fn tolerant(name: &str, node: &str, key: &str, seconds: Option<i64>) -> Pod {
    let toleration = json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds});
    let toleration: Toleration = serde_json::from_value(toleration).unwrap();
    let with = |pod: &mut Pod| pod.spec.as_mut().unwrap().tolerations = Some(vec![toleration]);
    pod(name).node(node).with(with).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_stay_for_as_long_as_they_tolerate_a_taint_without_a_time() {
    let cluster = Cluster::start().await;
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    create(&nodes, &node("n1").build()).await;
    create(&pods, &pod("intolerant").node("n1").build()).await;
    for (name, seconds) in [("patient", Some(2)), ("slow", Some(3600)), ("tolerant", None)] {
        create(&pods, &tolerant(name, "n1", "maintenance", seconds)).await;
    }
    // As kubectl writes it: without timeAdded.
    patch(
        &nodes,
        "n1",
        json!({"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}),
    )
    .await;
    let begin = Instant::now();
    let intolerant = wait::until_is(&pods, "intolerant", "is evicted", is_evicted).await;
    let why = condition(&intolerant, "DisruptionTarget").and_then(|why| why.reason.as_deref());
    assert_eq!(why, Some("DeletionByTaintManager"));
    assert!(!is_evicted(&pods.get("patient").await.unwrap()) || begin.elapsed().as_secs() >= 2);
    wait::until_is(&pods, "patient", "is evicted", is_evicted).await;
    assert!(begin.elapsed() >= Duration::from_millis(1900), "after {:?}", begin.elapsed());
    assert!(!is_evicted(&pods.get("slow").await.unwrap()));
    assert!(!is_evicted(&pods.get("tolerant").await.unwrap()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_cannot_be_deleted_keeps_no_other() {
    let plane = ControlPlane::start().await;
    let (nodes, pods) =
        (Api::<Node>::all(plane.client()), Api::namespaced(plane.client(), "default"));
    let listwatch = ListWatch::new(
        refusing_to_delete("a-stuck", plane.client()),
        None,
        &component::Tasks::default(),
    )
    .unwrap();
    let _controllers = Cluster::over_with(plane, listwatch, EvictionArgs::default());
    create(&nodes, &node("n1").build()).await;
    let names = ["a-stuck", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
    for name in names {
        create::<Pod>(&pods, &pod(name).node("n1").build()).await;
    }
    patch(
        &nodes,
        "n1",
        json!({"spec": {"taints": [{"key": "maintenance", "effect": "NoExecute"}]}}),
    )
    .await;
    for name in &names[1..] {
        wait::until_is(&pods, name, "is evicted", is_evicted).await;
    }
    assert!(!is_evicted(&pods.get("a-stuck").await.unwrap()));
}

/// A client whose server fails to delete one pod.
fn refusing_to_delete(pod: &'static str, client: Client) -> Client {
    let service = tower::service_fn(move |request: http::Request<Body>| {
        let refused =
            request.method() == http::Method::DELETE && request.uri().path().ends_with(pod);
        let client = client.clone();
        async move {
            if refused {
                let response = http::Response::builder().status(500).body(Body::empty());
                return response.map_err(tower::BoxError::from);
            }
            client.send(request).await.map_err(tower::BoxError::from)
        }
    });
    Client::new(service, "default")
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_deleted_node_are_removed() {
    let cluster = Cluster::start().await;
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    create(&nodes, &node("n1").build()).await;
    create(&nodes, &node("n2").build()).await;
    create(&pods, &pod("stays").node("n1").build()).await;
    create(&pods, &pod("goes").node("n2").build()).await;
    nodes.delete("n2", &DeleteParams::default()).await.unwrap();
    wait::until_gone(&pods, "goes").await;
    assert_eq!(list(&pods).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_a_deleted_node_has_failed_for_whoever_counts_before_it_is_removed() {
    let cluster = Cluster::start().await;
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    create(&nodes, &node("n1").build()).await;
    create(&pods, &pod("goes").node("n1").build()).await;
    let mut events = std::pin::pin!(pods.watch(&WatchParams::default(), "0").await.unwrap());
    nodes.delete("n1", &DeleteParams::default()).await.unwrap();
    let last = loop {
        let event = tokio::time::timeout(wait::DEADLINE, events.next()).await.unwrap();
        if let WatchEvent::Deleted(pod) = event.unwrap().unwrap() {
            break pod;
        }
    };
    assert_eq!(last.status.as_ref().unwrap().phase.as_deref(), Some("Failed"));
    let why = condition(&last, "DisruptionTarget").unwrap();
    assert_eq!((why.status.as_str(), why.reason.as_deref()), ("True", Some("DeletionByPodGC")));
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_end_on_a_node_out_of_service_are_removed() {
    let cluster = Cluster::start().await;
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    create(&nodes, &node("off").ready(false).build()).await;
    create(&nodes, &node("on").build()).await;
    for (name, node) in [("ends-here", "off"), ("ends-there", "on")] {
        create(&pods, &pod(name).node(node).build()).await;
        pods.delete(name, &DeleteParams::default()).await.unwrap();
    }
    let key = "node.kubernetes.io/out-of-service";
    patch(&nodes, "off", json!({"spec": {"taints": [{"key": key, "effect": "NoExecute"}]}})).await;
    wait::until_gone(&pods, "ends-here").await;
    assert!(is_evicted(&pods.get("ends-there").await.unwrap()), "its kubelet ends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_too_many_finished_pods_the_oldest_are_removed() {
    let plane = ControlPlane::start().await;
    let pods = Api::<Pod>::namespaced(plane.client(), "default");
    for name in ["a", "b", "c", "d"] {
        create(&pods, &pod(name).build()).await;
        patch_status(&pods, name, json!({"phase": "Failed"})).await;
    }
    create(&pods, &pod("runs").build()).await;
    let args = EvictionArgs { terminated_pod_gc_threshold: 2, ..EvictionArgs::default() };
    let listwatch = plane.listwatch();
    let cluster = Cluster::over_with(plane, listwatch, args);
    let pods = cluster.api::<Pod>();
    wait::until_gone(&pods, "a").await;
    wait::until_gone(&pods, "b").await;
    assert_eq!(names(&list(&pods).await), ["c", "d", "runs"]);
}

/// What the kubelets and kube-proxies of a cluster say over Redis, until told otherwise.
async fn say(listwatch: &ListWatch, beats: &[&str], testimony: Testimony) {
    for node in beats {
        let (cpu_percent, memory_percent, pods) = (1.0, 1.0, 1);
        let node = (*node).to_owned();
        listwatch.beat(&Heartbeat { node, cpu_percent, memory_percent, pods, usage: None }).await;
    }
    listwatch.announce(topics::PROXY_STATUS, &testimony);
}

/// It takes the seven seconds after which a host is believed to be gone.
#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_host_that_is_gone_are_replaced_at_once_unless_they_said_otherwise() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let cluster = Cluster::over(plane);
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    for name in ["gone", "lives", "lives-too"] {
        create(&nodes, &node(name).build()).await;
    }
    let replica_set = replica_set("web").replicas(1).build();
    create(&cluster.api::<ReplicaSet>(), &replica_set).await;
    let replica =
        wait::until("there is a replica", async || names(&list(&pods).await).pop().ok_or(())).await;
    bind(&pods, &replica, "gone").await;
    create(&pods, &pod("nobody-replaces").node("gone").build()).await;
    let unreachable = "node.kubernetes.io/unreachable";
    create(&pods, &tolerant("usual-by-itself", "gone", unreachable, Some(300))).await;

    let kubelets = cluster.plane.listwatch();
    let (reached, missed) = (vec!["gone".to_owned()], vec!["gone".to_owned()]);
    let testimony = |reached: &[String], missed: &[String]| Testimony {
        node: "lives".to_owned(),
        reached: reached.to_vec(),
        missed: missed.to_vec(),
    };
    let last_words = Instant::now() + Duration::from_secs(2);
    wait::until("the replica is evicted and replaced", async || {
        if Instant::now() < last_words {
            say(&kubelets, &["gone", "lives", "lives-too"], testimony(&reached, &[])).await;
        } else {
            say(&kubelets, &["lives", "lives-too"], testimony(&[], &missed)).await;
        }
        let all = list(&pods).await;
        let evicted =
            all.iter().any(|p| p.metadata.name.as_deref() == Some(&replica) && is_evicted(p));
        let replaced = all.iter().any(|p| !is_evicted(p) && is_replica(p));
        if evicted && replaced { Ok(()) } else { Err(names(&all)) }
    })
    .await;
    let gone = nodes.get("gone").await.unwrap();
    assert_eq!(ready_reason(&gone), "NodeHostGone");
    assert!(has_taint(&gone, "unreachable"));
    for pod in ["nobody-replaces", "usual-by-itself"] {
        assert!(!is_evicted(&pods.get(pod).await.unwrap()), "{pod}");
    }
    assert!(!has_taint(&nodes.get("lives").await.unwrap(), "unreachable"));
}

fn is_replica(pod: &Pod) -> bool {
    pod.metadata.owner_references.is_some()
}

fn ready_reason(node: &Node) -> String {
    let conditions = node.status.as_ref().unwrap().conditions.as_deref().unwrap();
    let ready = conditions.iter().find(|condition| condition.type_ == "Ready").unwrap();
    ready.reason.clone().unwrap_or_default()
}

/// What the scheduler does.
async fn bind(pods: &Api<Pod>, pod: &str, node: &str) {
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod},
        "target": {"kind": "Node", "name": node}});
    let _: serde_json::Value =
        pods.create_subresource("binding", pod, &PostParams::default(), &binding).await.unwrap();
}
