//! Which node is dead, tried on several hosts whose cables can be pulled.

mod faults;
mod functions;
mod joined;
mod network;
mod rig;
mod three;
mod web;

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use rig::{Rig, condition};

/// By uid, the names of the nodes that the pods are on which are ready and do not end.
type Running = BTreeMap<String, String>;

fn pod_spec() -> Value {
    json!({"terminationGracePeriodSeconds": 1, "containers": [
        {"name": "main", "image": "minik8s/busybox:0.1", "command": ["sleep", "3600"]}]})
}

fn web(replicas: usize) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"}, "spec": {
        "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod_spec()}}})
}

/// A pod that nobody replaces.
fn bare(name: &str, node: &str) -> Value {
    let mut spec = pod_spec();
    spec["nodeName"] = json!(node);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "bare"}}, "spec": spec})
}

fn running(rig: &Rig, app: &str) -> Running {
    let pods = rig.list("pods", &format!("app={app}"));
    let pods = pods.iter().filter(|pod| {
        condition(pod, "Ready") == "True" && pod["metadata"]["deletionTimestamp"].is_null()
    });
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    pods.map(|pod| (text(&pod["metadata"]["uid"]), text(&pod["spec"]["nodeName"]))).collect()
}

async fn until_running(rig: &Rig, app: &str, what: &str, is: impl Fn(&Running) -> bool) -> Running {
    rig.until(what, |rig| {
        let running = running(rig, app);
        if is(&running) { Ok(running) } else { Err(format!("{running:?}")) }
    })
    .await
}

/// Three nodes with a replica each, and a pod on each that nobody replaces.
async fn populated() -> (Rig, Running, Running) {
    let rig = Rig::start(3).await;
    rig.apply(&web(3));
    (0..3).for_each(|node| rig.apply(&bare(&format!("bare-{node}"), rig.node(node))));
    let web = until_running(&rig, "web", "three replicas", |running| running.len() == 3).await;
    let bare = until_running(&rig, "bare", "three bare pods", |running| running.len() == 3).await;
    (rig, web, bare)
}

/// Looks for so long whether everything is as it was: nothing evicted, no node given up.
async fn nothing_happens(rig: &Rig, for_so_long: Duration, web: &Running, bare: &Running) {
    let end = Instant::now() + for_so_long;
    while Instant::now() < end {
        assert_eq!(running(rig, "web"), *web);
        assert_eq!(running(rig, "bare"), *bare);
        let nodes = rig.list("nodes", "");
        assert!(!nodes.iter().any(is_given_up), "{nodes:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

fn is_given_up(node: &Value) -> bool {
    let taints = node["spec"]["taints"].as_array().map(Vec::as_slice).unwrap_or_default();
    condition(node, "Ready") == "Unknown" || taints.iter().any(|t| t["effect"] == "NoExecute")
}

/// One kubelet is killed for 24 s, and another host loses its way to Redis alone.
#[tokio::test]
async fn a_dead_kubelet_and_a_lost_redis_cost_no_pod() {
    let (mut rig, web, bare) = populated().await;
    rig.kill_kubelet(0);
    rig.cut_redis(1, true);
    nothing_happens(&rig, Duration::from_secs(24), &web, &bare).await;
    rig.start_kubelet(0);
    rig.cut_redis(1, false);
    nothing_happens(&rig, Duration::from_secs(5), &web, &bare).await;
}

/// The promise is 15 s, from the pulled cable to the replacement that runs.
#[tokio::test]
async fn pods_of_a_host_whose_cable_is_pulled_run_elsewhere_within_15_s() {
    let (rig, web, bare) = populated().await;
    let lost = rig.node(2).to_owned();
    rig.plug(2, false);
    let cut = Instant::now();
    let moved = until_running(&rig, "web", "three replicas elsewhere", |running| {
        running.len() == 3 && running.values().all(|node| *node != lost)
    })
    .await;
    let time = cut.elapsed();
    eprintln!("cut to replacement: {time:?}");
    assert!(time <= Duration::from_secs(15), "{time:?}");
    let stayed = web.iter().filter(|(_, node)| **node != lost);
    assert!(stayed.into_iter().all(|(uid, _)| moved.contains_key(uid)), "the others stay");

    rig.plug(2, true);
    until_running(&rig, "bare", "the bare pods as they were", |running| *running == bare).await;
    rig.until("what was replaced is gone", |rig| {
        let pods = rig.list("pods", "app=web");
        if pods.len() == 3 { Ok(()) } else { Err(format!("{} pods", pods.len())) }
    })
    .await;
    assert_eq!(running(&rig, "web"), moved);
}

/// All cables are pulled at once for 20 s, as when the master loses its own.
#[tokio::test]
async fn when_all_hosts_fall_silent_nobody_is_evicted() {
    let (rig, web, bare) = populated().await;
    (0..3).for_each(|node| rig.plug(node, false));
    nothing_happens(&rig, Duration::from_secs(20), &web, &bare).await;
    (0..3).for_each(|node| rig.plug(node, true));
    nothing_happens(&rig, Duration::from_secs(15), &web, &bare).await;
}
