//! Pod addresses of nodes, and nodes that fall silent.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use api_types::api::core::v1::{Node, Pod};
use kube::Api;
use kube::api::DeleteParams;
use listwatch::Heartbeat;
use serde_json::json;
use testkit::{ControlPlane, Redis, node, pod, wait};

use crate::{Cluster, create, list, patch, patch_status};

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
async fn pods_of_a_node_known_dead_are_evicted_unless_every_node_is() {
    let cluster = Cluster::start().await;
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    create(&nodes, &node("dead").build()).await;
    create(&pods, &pod("victim").node("dead").build()).await;
    let dead = json!({"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeHeartbeatLost"}]});
    patch_status(&nodes, "dead", dead).await;
    wait::until_is(&nodes, "dead", "is tainted", |node| has_taint(node, "unreachable")).await;
    let victim = pods.get("victim").await.unwrap();
    assert!(victim.metadata.deletion_timestamp.is_none(), "there is nowhere to go");

    create(&nodes, &node("alive").build()).await;
    patch_status(&nodes, "alive", json!({"conditions": [{"type": "Ready", "status": "True"}]}))
        .await;
    wait::until_is(&pods, "victim", "is evicted", |pod| pod.metadata.deletion_timestamp.is_some())
        .await;
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

/// The one test that waits for real time: eight seconds of silence.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_heartbeats_stop_is_given_up_and_its_pods_are_replaced() {
    let redis = Redis::spawn().await;
    let plane = ControlPlane::builder().redis(&redis).start().await;
    let cluster = Cluster::over(plane);
    let (nodes, pods) = (cluster.cluster_api::<Node>(), cluster.api::<Pod>());
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    for name in ["silent", "alive"] {
        create(&nodes, &node(name).build()).await;
        patch_status(&nodes, name, ready.clone()).await;
    }
    create(&pods, &pod("victim").node("silent").build()).await;
    create(&pods, &pod("safe").node("alive").build()).await;
    cidr_of(&nodes, "silent").await;

    let kubelets = cluster.plane.listwatch();
    let beat = async |node: &str| {
        let (cpu_percent, memory_percent, pods) = (1.0, 1.0, 1);
        kubelets
            .beat(&Heartbeat { node: node.to_owned(), cpu_percent, memory_percent, pods })
            .await;
    };
    let last_words = Instant::now() + Duration::from_secs(2);
    wait::until("the pod of the silent node is evicted", async || {
        beat("alive").await;
        if Instant::now() < last_words {
            beat("silent").await;
        }
        let victim = pods.get_opt("victim").await.unwrap();
        if victim.as_ref().is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()) {
            Ok(())
        } else {
            Err(victim)
        }
    })
    .await;
    let silent = nodes.get("silent").await.unwrap();
    let condition = silent
        .status
        .unwrap()
        .conditions
        .unwrap()
        .into_iter()
        .find(|c| c.type_ == "Ready")
        .unwrap();
    assert_eq!(
        (condition.status.as_str(), condition.reason.as_deref()),
        ("Unknown", Some("NodeHeartbeatLost"))
    );
    assert!(pods.get("safe").await.unwrap().metadata.deletion_timestamp.is_none());
    assert!(!has_taint(&nodes.get("alive").await.unwrap(), "unreachable"));
}
