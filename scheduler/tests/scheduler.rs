//! The scheduler against a real control plane in process.

#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]
#![allow(clippy::needless_pass_by_value, reason = "json!() is given as it is made")]

use std::collections::BTreeMap;

use api_types::api::core::v1::{
    ConfigMap, Event, Node, PersistentVolume, PersistentVolumeClaim, Pod,
};
use component::Tasks;
use kube::Api;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use listwatch::Heartbeat;
use scheduler::Failed;
use scheduler::metrics::Metrics;
use scheduler::strategy::Strategy;
use serde_json::json;
use testkit::{ControlPlane, Redis, node, pod, wait};
use tokio::task::JoinSet;

/// A control plane with a scheduler, which stops with it.
struct Cluster {
    plane: ControlPlane,
    nodes: Api<Node>,
    pods: Api<Pod>,
    scheduler: JoinSet<Failed>,
    served: component::Metrics,
}

impl Cluster {
    async fn start(strategy: &str) -> Self {
        Self::over(ControlPlane::start().await, strategy)
    }

    fn over(plane: ControlPlane, strategy: &str) -> Self {
        let (listwatch, strategy): (_, Strategy) =
            (plane.listwatch_as("kube-scheduler"), strategy.parse().unwrap());
        let served = component::Metrics::default();
        let metrics = Metrics::register(&served);
        let mut scheduler = JoinSet::new();
        scheduler.spawn(async move {
            scheduler::run(&listwatch, &Tasks::default(), strategy, &metrics, || {}).await
        });
        let nodes = Api::all(plane.client());
        let pods = Api::namespaced(plane.client(), "default");
        Self { plane, nodes, pods, scheduler, served }
    }

    async fn add_node(&self, node: &Node) {
        let name = node.metadata.name.as_deref().unwrap();
        self.nodes.create(&PostParams::default(), node).await.unwrap();
        let status = Patch::Merge(json!({"status": node.status}));
        self.nodes.patch_status(name, &PatchParams::default(), &status).await.unwrap();
    }

    async fn add_pod(&self, pod: &Pod) {
        self.pods.create(&PostParams::default(), pod).await.unwrap();
    }

    /// Waits until the scheduler serves this line of metrics.
    async fn counts(&self, line: &str) {
        wait::until(line, async || {
            let text = self.served.encode().unwrap();
            if text.lines().any(|served| served == line) { Ok(()) } else { Err(text) }
        })
        .await;
    }

    async fn until_bound(&self, name: &str) -> String {
        let pod = wait::until_is(&self.pods, name, "is bound", |pod| node_of(pod).is_some()).await;
        node_of(&pod).unwrap()
    }

    /// Waits until somebody has written an event with this reason.
    async fn until_event(&self, namespace: &str, reason: &str) -> Event {
        let events = Api::<Event>::namespaced(self.plane.client(), namespace);
        wait::until(&format!("an event says {reason}"), async || {
            let all = events.list(&ListParams::default()).await.unwrap().items;
            let found = all.iter().find(|event| event.reason.as_deref() == Some(reason)).cloned();
            found.ok_or(all)
        })
        .await
    }
}

/// Writes the scheduler's ConfigMap.
async fn configure(plane: &ControlPlane, strategy: &str) {
    let maps = Api::<ConfigMap>::namespaced(plane.client(), "kube-system");
    let map = json!({"metadata": {"name": "scheduler"}, "data": {"strategy": strategy}});
    maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
}

fn node_of(pod: &Pod) -> Option<String> {
    pod.spec.as_ref()?.node_name.clone()
}

/// Whether its pod is bound by now is not known, and whoever schedules next looks.
#[tokio::test(flavor = "multi_thread")]
async fn a_binding_that_panics_ends_the_scheduler() {
    let plane = ControlPlane::start().await;
    let _panicking = plane.panic(|request| request.uri().path().ends_with("/binding"));
    let mut cluster = Cluster::over(plane, "min-pods");
    cluster.add_node(&node("n1").build()).await;
    cluster.add_pod(&pod("a").build()).await;
    let ended = tokio::time::timeout(wait::DEADLINE, cluster.scheduler.join_next()).await;
    let failed = ended.expect("it ends").unwrap().unwrap();
    assert_eq!(failed.to_string(), "telling the API server about a pod has failed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_is_spread_evenly() {
    let cluster = Cluster::start("min-pods").await;
    for index in 0..4 {
        cluster.add_node(&node(&format!("n{index}")).build()).await;
    }
    for index in 0..80 {
        cluster.add_pod(&pod(&format!("p{index}")).build()).await;
    }
    let counts = wait::until("all pods are bound", async || {
        let all = cluster.pods.list(&ListParams::default()).await.unwrap().items;
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        all.iter().filter_map(node_of).for_each(|node| *counts.entry(node).or_default() += 1);
        if counts.values().sum::<usize>() == 80 { Ok(counts) } else { Err(counts) }
    })
    .await;
    assert!(counts.values().all(|count| *count == 20), "{counts:?}");
    let event = cluster.until_event("default", "Scheduled").await;
    assert!(event.message.unwrap().starts_with("Successfully assigned default/p"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_fits_nowhere_says_why_and_is_bound_when_a_node_appears() {
    let cluster = Cluster::start("min-pods").await;
    cluster.add_node(&node("small").allocatable("cpu", "1").build()).await;
    cluster.add_pod(&pod("large").request("cpu", "2").build()).await;
    let expected = "0/1 nodes are available: 1 Insufficient cpu.";
    wait::until_is(&cluster.pods, "large", "says why it waits", |pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|condition| {
            condition.type_ == "PodScheduled"
                && condition.status == "False"
                && condition.reason.as_deref() == Some("Unschedulable")
                && condition.message.as_deref() == Some(expected)
        })
    })
    .await;
    let event = cluster.until_event("default", "FailedScheduling").await;
    assert_eq!(
        (event.message.as_deref(), event.type_.as_deref()),
        (Some(expected), Some("Warning"))
    );
    let labels = |result: &str| format!("{{result=\"{result}\",profile=\"default-scheduler\"}}");
    let in_vain = labels("unschedulable");
    cluster.counts(&format!("scheduler_schedule_attempts_total{in_vain} 1")).await;
    cluster.counts("scheduler_pending_pods{queue=\"unschedulable\"} 1").await;
    cluster.add_node(&node("big").build()).await;
    assert_eq!(cluster.until_bound("large").await, "big");
    for attempts in ["schedule_attempts_total", "scheduling_attempt_duration_seconds_count"] {
        cluster.counts(&format!("scheduler_{attempts}{} 1", labels("scheduled"))).await;
    }
    let sli = "scheduler_pod_scheduling_sli_duration_seconds_count{attempts=\"2\"} 1";
    cluster.counts(sli).await;
    cluster.counts("scheduler_pending_pods{queue=\"unschedulable\"} 0").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn why_a_pod_waits_is_written_when_the_api_server_takes_it_again() {
    let cluster = Cluster::start("min-pods").await;
    let is_report =
        |request: &str| request.starts_with("PATCH") && request.contains("/pods/lonely/status");
    let away = cluster.plane.refuse(|request| {
        request.method() == "PATCH" && request.uri().path().ends_with("/pods/lonely/status")
    });
    cluster.add_pod(&pod("lonely").build()).await;
    wait::until("a report is refused", async || {
        let requests = cluster.plane.requests();
        requests.iter().any(|request| is_report(request)).then_some(()).ok_or(requests)
    })
    .await;
    drop(away);
    wait::until_is(&cluster.pods, "lonely", "says why it waits", |pod| {
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
        conditions.unwrap_or_default().iter().any(|condition| {
            condition.reason.as_deref() == Some("Unschedulable")
                && condition.message.as_deref() == Some("no nodes available to schedule pods")
        })
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_makes_room_for_a_waiting_one() {
    let cluster = Cluster::start("random").await;
    cluster.add_node(&node("n1").allocatable("cpu", "1").build()).await;
    cluster.add_pod(&pod("first").request("cpu", "1").build()).await;
    cluster.until_bound("first").await;
    cluster.add_pod(&pod("second").request("cpu", "1").build()).await;
    cluster.until_event("default", "FailedScheduling").await;
    cluster.pods.delete("first", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(cluster.until_bound("second").await, "n1");
}

#[tokio::test(flavor = "multi_thread")]
async fn node_selectors_taints_and_other_schedulers_are_respected() {
    let cluster = Cluster::start("min-pods").await;
    cluster.add_node(&node("plain").build()).await;
    cluster.add_node(&node("ssd").label("disk", "ssd").build()).await;
    cluster.add_node(&node("broken").label("disk", "ssd").ready(false).build()).await;
    let foreign = pod("foreign").with(|pod| {
        pod.spec.get_or_insert_default().scheduler_name = Some("other".to_owned());
    });
    cluster.add_pod(&foreign.build()).await;
    for index in 0..5 {
        let wants = pod(&format!("p{index}")).with(|pod| {
            let selector = BTreeMap::from([("disk".to_owned(), "ssd".to_owned())]);
            pod.spec.get_or_insert_default().node_selector = Some(selector);
        });
        cluster.add_pod(&wants.build()).await;
        assert_eq!(cluster.until_bound(&format!("p{index}")).await, "ssd");
    }
    assert_eq!(node_of(&cluster.pods.get("foreign").await.unwrap()), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_strategy_can_be_changed_while_it_runs() {
    let cluster = Cluster::start("random").await;
    configure(&cluster.plane, "min-pods").await;
    let event = cluster.until_event("kube-system", "StrategyChanged").await;
    assert_eq!(event.message.as_deref(), Some("Using min-pods from now on"));
    for index in 0..2 {
        cluster.add_node(&node(&format!("n{index}")).build()).await;
    }
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for index in 0..12 {
        cluster.add_pod(&pod(&format!("p{index}")).build()).await;
        *counts.entry(cluster.until_bound(&format!("p{index}")).await).or_default() += 1;
    }
    assert!(counts.values().all(|count| *count == 6), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_decided_before_it_is_known_by_which_strategy() {
    let plane = ControlPlane::start().await;
    configure(&plane, "max-pods").await;
    let held = plane.hold(|request| request.uri().path().ends_with("/kube-system/configmaps"));
    let cluster = Cluster::over(plane, "min-pods");
    cluster.add_node(&node("n1").build()).await;
    cluster.add_pod(&pod("a").build()).await;
    wait::until("the scheduler has asked for its ConfigMap", async || {
        let asked = cluster.plane.requests();
        let has = asked.iter().any(|request| request.contains("/configmaps?"));
        if has { Ok(()) } else { Err(asked) }
    })
    .await;
    drop(held);
    cluster.until_bound("a").await;
    let event = cluster.until_event("default", "Scheduled").await.message.unwrap();
    assert!(event.contains("(max-pods"), "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_use_by_their_heartbeats_decides_where_the_strategy_asks_for_it() {
    let redis = Redis::spawn().await;
    let cluster = Cluster::over(ControlPlane::builder().redis(&redis).start().await, "min-cpu");
    // By what is asked for, the large one has room for a thousand before the small one is as good.
    cluster.add_node(&node("large").allocatable("cpu", "1000").build()).await;
    cluster.add_node(&node("small").allocatable("cpu", "1").build()).await;
    let listwatch = cluster.plane.listwatch();
    let mut index = 0;
    wait::until("a pod goes to the node that uses less", async || {
        for (node, cpu_percent) in [("large", 95.0), ("small", 5.0)] {
            let node = node.to_owned();
            listwatch
                .beat(&Heartbeat { node, cpu_percent, memory_percent: 50.0, pods: 0, usage: None })
                .await;
        }
        index += 1;
        cluster.add_pod(&pod(&format!("p{index}")).build()).await;
        let node = cluster.until_bound(&format!("p{index}")).await;
        if node == "small" { Ok(()) } else { Err(node) }
    })
    .await;
    let event = cluster.until_event("default", "Scheduled").await.message.unwrap();
    assert!(event.contains(" (min-cpu, score "), "{event}");
}

/// The API server refuses such a one. It may have been written while there was that strategy.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_strategy_is_not_used_and_an_event_says_so() {
    let cluster = Cluster::start("min-pods").await;
    configure(&cluster.plane, "random").await;
    cluster.until_event("kube-system", "StrategyChanged").await;
    let (store, key) = (cluster.plane.store(), "/registry/core/configmaps/kube-system/scheduler");
    let stored = store.get(key).await.unwrap().unwrap();
    let wrong = String::from_utf8(stored.value.to_vec()).unwrap().replace("random", "fastest");
    store.put(key, wrong.into(), None).await.unwrap();
    let event = cluster.until_event("kube-system", "InvalidStrategy").await;
    let message = event.message.unwrap();
    assert!(message.contains("fastest") && message.ends_with("keeping random"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_is_survived() {
    let cluster = Cluster::start("min-pods").await;
    cluster.add_node(&node("n1").build()).await;
    cluster.add_pod(&pod("before").build()).await;
    cluster.until_bound("before").await;
    cluster.plane.stop_server().await;
    cluster.plane.start_server().await;
    cluster.add_pod(&pod("after").build()).await;
    assert_eq!(cluster.until_bound("after").await, "n1");
}

/// A pod that uses a claim.
fn user(name: &str, claim: &str) -> Pod {
    let volume = json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}});
    let volumes = vec![serde_json::from_value(volume).unwrap()];
    pod(name).with(|pod| pod.spec.as_mut().unwrap().volumes = Some(volumes)).build()
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_run_where_their_volumes_are_and_wait_for_claims_that_are_missing() {
    let cluster = Cluster::start("min-pods").await;
    for name in ["n1", "n2", "n3"] {
        cluster.add_node(&node(name).build()).await;
    }
    let claims = Api::<PersistentVolumeClaim>::default_namespaced(cluster.plane.client());
    let volumes = Api::<PersistentVolume>::all(cluster.plane.client());
    let claim = |name: &str, volume: Option<&str>, class: &str| {
        let spec = json!({"accessModes": ["ReadWriteOnce"], "storageClassName": class, "volumeName": volume,
                          "resources": {"requests": {"storage": "1Gi"}}});
        serde_json::from_value(json!({"metadata": {"name": name}, "spec": spec})).unwrap()
    };
    let here = json!({"key": "metadata.name", "operator": "In", "values": ["n2"]});
    let volume = json!({"metadata": {"name": "local"}, "spec": {
        "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchFields": [here]}]}},
    }});
    let params = PostParams::default();
    volumes.create(&params, &serde_json::from_value(volume).unwrap()).await.unwrap();
    claims.create(&params, &claim("data", Some("local"), "")).await.unwrap();
    cluster.add_pod(&user("waits", "data")).await;
    let told = cluster.until_event("default", "FailedScheduling").await.message.unwrap();
    assert!(told.contains("3 pod has unbound immediate PersistentVolumeClaims"), "{told}");
    let bound = Patch::Merge(json!({"status": {"phase": "Bound"}}));
    claims.patch_status("data", &PatchParams::default(), &bound).await.unwrap();
    assert_eq!(cluster.until_bound("waits").await, "n2");
    cluster.add_pod(&user("again", "data")).await;
    assert_eq!(cluster.until_bound("again").await, "n2");
    cluster.add_pod(&user("early", "late")).await;
    claims.create(&params, &claim("late", None, "host-path")).await.unwrap();
    cluster.until_bound("early").await;
}
