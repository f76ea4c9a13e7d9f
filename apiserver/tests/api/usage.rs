//! What nodes and pods use, as `metrics.k8s.io` tells it.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
};

use apiserver::{Config, Identity, pki::TlsFiles};
use axum::{Json, Router, body::Body, routing::get};
use component::Tasks;
use futures::TryStreamExt;
use http::Request;
use listwatch::{Announcements, ContainerUsage, Heartbeat, ListWatch, PodUsage, PodsUsage, Usage};
use serde_json::{Value, json};
use testkit::{Redis, wait};

use crate::{
    harness::{Api, JSON, PODS, TABLE, names, pod},
    tls::Tls,
};

const NODE_METRICS: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const ALL_POD_METRICS: &str = "/apis/metrics.k8s.io/v1beta1/pods";
const POD_METRICS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";

/// A node with a kubelet that can be asked.
struct Node {
    summary: Arc<Mutex<Value>>,
    asked: Arc<AtomicUsize>,
}

impl Node {
    async fn start(tls: &Tls, name: &str) -> Self {
        let node = Self { summary: Arc::default(), asked: Arc::default() };
        *node.summary.lock().unwrap() = json!({"node": stats(500, 1 << 30), "pods": []});
        let (summary, asked) = (node.summary.clone(), node.asked.clone());
        let answer = async move || {
            asked.fetch_add(1, Ordering::Relaxed);
            Json(summary.lock().unwrap().clone())
        };
        let routes = Router::new().route("/stats/summary", get(answer));
        tls.kubelet_of(name, name, routes).await;
        node
    }

    /// Adds what a pod uses, of which the summary says this uid.
    fn uses(&self, name: &str, uid: &str, containers: &Value) {
        let pod = json!({
            "podRef": {"namespace": "default", "name": name, "uid": uid}, "containers": containers,
        });
        self.summary.lock().unwrap()["pods"].as_array_mut().unwrap().push(pod);
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

/// Thousandths of a processor, and bytes.
fn stats(milli: u64, bytes: u64) -> Value {
    json!({
        "cpu": {"time": "2026-01-02T03:04:05.678Z", "usageNanoCores": milli * 1_000_000 + 1},
        "memory": {"time": "2026-01-02T03:04:05.678Z", "workingSetBytes": bytes},
    })
}

fn container(name: &str, milli: u64, bytes: u64) -> Value {
    let mut container = stats(milli, bytes);
    container["name"] = name.into();
    container
}

async fn without_redis() -> Tls {
    Tls::with_config(&TlsFiles::default(), Config::default()).await
}

/// A pod that runs on a node; its uid.
async fn running(api: &Api, name: &str, node: &str) -> String {
    let mut object = pod(name);
    object["spec"]["nodeName"] = node.into();
    let created = api.post(PODS, &object).await.ok();
    let status = json!({"status": {"phase": "Running"}});
    api.patch(&format!("{PODS}/{name}/status"), "merge-patch", &status).await.ok();
    created["metadata"]["uid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_used_is_told_as_metrics_server_tells_it() {
    let tls = without_redis().await;
    let (api, node) = (&tls.api, Node::start(&tls, "n1").await);
    let uid = running(api, "web", "n1").await;
    node.uses("web", &uid, &json!([container("main", 250, 3 << 20), container("side", 0, 1000)]));
    let list = api.get(ALL_POD_METRICS).await.ok();
    assert_eq!((&list["kind"], &list["metadata"]), (&json!("PodMetricsList"), &json!({})));
    let mut web = list["items"][0].clone();
    assert!(web["metadata"]["creationTimestamp"].take().is_string());
    let expected = json!({
        "kind": "PodMetrics", "apiVersion": "metrics.k8s.io/v1beta1",
        "metadata": {
            "name": "web", "namespace": "default", "labels": {"app": "web"}, "creationTimestamp": null,
        },
        "timestamp": "2026-01-02T03:04:05Z", "window": "10s",
        "containers": [
            {"name": "main", "usage": {"cpu": "250000001n", "memory": "3Mi"}},
            {"name": "side", "usage": {"cpu": "1n", "memory": "1k"}},
        ],
    });
    assert_eq!(web, expected);
    let one = api.get(&format!("{POD_METRICS}/web")).await.ok();
    assert_eq!(one["containers"], expected["containers"]);
    let node = api.get(&format!("{NODE_METRICS}/n1")).await.ok();
    assert_eq!(node["usage"], json!({"cpu": "500000001n", "memory": "1Gi"}));
    let table = api.send("GET", POD_METRICS, (JSON, TABLE), "").await.ok();
    let columns: Vec<_> = table["columnDefinitions"].as_array().unwrap().iter().collect();
    let columns: Vec<_> = columns.iter().map(|c| [&c["name"], &c["format"]]).collect();
    let named =
        [["Name", "name"], ["cpu", "quantity"], ["memory", "quantity"], ["Window", "duration"]];
    assert_eq!(json!(columns), json!(named));
    assert_eq!(table["rows"][0]["cells"], json!(["web", "250000002n", "3146728", "10s"]));
}

#[tokio::test]
async fn what_is_not_known_is_absent() {
    let tls = without_redis().await;
    let (api, node) = (&tls.api, Node::start(&tls, "n1").await);
    let main = json!([container("main", 1, 1)]);
    let known = running(api, "known", "n1").await;
    node.uses("known", &known, &main);
    running(api, "anew", "n1").await;
    node.uses("anew", "of-the-one-before", &main);
    let starting = running(api, "starting", "n1").await;
    let fresh = json!({"name": "side", "memory": {"workingSetBytes": 1}});
    node.uses("starting", &starting, &json!([container("main", 1, 1), fresh]));
    let ended = running(api, "ended", "n1").await;
    node.uses("ended", &ended, &main);
    let status = json!({"status": {"phase": "Succeeded"}});
    api.patch(&format!("{PODS}/ended/status"), "merge-patch", &status).await.ok();
    node.uses("gone", "gone", &main);
    api.post(PODS, &pod("waiting")).await.ok();
    assert_eq!(names(&api.get(POD_METRICS).await.ok()), ["known"]);
    for name in ["anew", "starting", "ended", "waiting"] {
        let why = api.get(&format!("{POD_METRICS}/{name}")).await.fails(404, "NotFound");
        assert_eq!(why, format!("podmetrics.metrics.k8s.io \"default/{name}\" not found"));
    }
    let why = api.get(&format!("{POD_METRICS}/gone")).await.fails(404, "NotFound");
    assert_eq!(why, "pods \"gone\" not found");
    api.post("/api/v1/nodes", &json!({"metadata": {"name": "mute"}})).await.ok();
    assert_eq!(names(&api.get(NODE_METRICS).await.ok()), ["n1"]);
    let why = api.get(&format!("{NODE_METRICS}/mute")).await.fails(404, "NotFound");
    assert_eq!(why, "nodemetrics.metrics.k8s.io \"mute\" not found");
    let why = api.get(&format!("{NODE_METRICS}/none")).await.fails(404, "NotFound");
    assert_eq!(why, "nodes \"none\" not found");
}

#[tokio::test]
async fn selectors_select_by_the_measured_objects() {
    let tls = without_redis().await;
    let (api, node) = (&tls.api, Node::start(&tls, "n1").await);
    for name in ["a", "b"] {
        let uid = running(api, name, "n1").await;
        node.uses(name, &uid, &json!([container("main", 1, 1)]));
    }
    let labels = json!({"metadata": {"labels": {"disk": "fast"}}});
    api.patch("/api/v1/nodes/n1", "merge-patch", &labels).await.ok();
    let check = async |path: &str, expected: &[&str]| {
        assert_eq!(names(&api.get(path).await.ok()), expected, "{path}");
    };
    check(&format!("{POD_METRICS}?labelSelector=app%3Da"), &["a"]).await;
    check(&format!("{ALL_POD_METRICS}?fieldSelector=metadata.name!%3Da"), &["b"]).await;
    check(&format!("{ALL_POD_METRICS}?fieldSelector=metadata.namespace%3Dx"), &[]).await;
    check(&format!("{ALL_POD_METRICS}?limit=1&continue=x"), &["a", "b"]).await;
    check("/apis/metrics.k8s.io/v1beta1/namespaces/x/pods", &[]).await;
    check(&format!("{NODE_METRICS}?labelSelector=disk%3Dfast"), &["n1"]).await;
    check(&format!("{NODE_METRICS}?labelSelector=disk%3Dslow"), &[]).await;
    let unknown = api.get(&format!("{POD_METRICS}?fieldSelector=status.phase%3DRunning")).await;
    assert_eq!(unknown.fails(400, "BadRequest"), "field label not supported: status.phase");
}

#[tokio::test]
async fn it_can_but_be_read() {
    let api = Api::start().await;
    for (method, path) in [
        ("POST", POD_METRICS.to_owned()),
        ("DELETE", POD_METRICS.to_owned()),
        ("GET", format!("{POD_METRICS}?watch=true")),
        ("GET", format!("{NODE_METRICS}?watch=1")),
        ("PUT", format!("{POD_METRICS}/a")),
        ("PATCH", format!("{NODE_METRICS}/a")),
        ("DELETE", format!("{NODE_METRICS}/a")),
    ] {
        let answer = api.send(method, &path, (JSON, JSON), "{}").await;
        answer.fails(405, "MethodNotAllowed");
    }
    api.get(&format!("{POD_METRICS}/a/status")).await.fails(404, "NotFound");
}

#[tokio::test]
async fn a_kubelet_that_hangs_leaves_out_its_own_figures() {
    let tls = without_redis().await;
    let _node = Node::start(&tls, "n1").await;
    let hanging = Router::new().route("/stats/summary", get(std::future::pending::<()>));
    tls.kubelet_of("n2", "n2", hanging).await;
    let other =
        Router::new().route("/stats/summary", get(async || Json(json!({"node": stats(1, 1)}))));
    tls.kubelet_of("n3", "another", other).await;
    assert_eq!(names(&tls.api.get(NODE_METRICS).await.ok()), ["n1"]);
}

#[tokio::test]
async fn a_node_that_is_lost_is_not_waited_for() {
    let tls = without_redis().await;
    let (api, node) = (&tls.api, Node::start(&tls, "n1").await);
    let ready = async |status: &str| {
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
        api.patch("/api/v1/nodes/n1/status", "merge-patch", &status).await.ok();
        names(&api.get(NODE_METRICS).await.ok()).len()
    };
    assert_eq!((ready("Unknown").await, node.asked()), (0, 0));
    assert_eq!((ready("False").await, node.asked()), (1, 1));
}

#[tokio::test]
async fn a_long_list_is_sent_piece_by_piece() {
    let tls = without_redis().await;
    let (api, node) = (&tls.api, Node::start(&tls, "n1").await);
    let labels: Value = (0..30).map(|n| (n.to_string(), json!("x".repeat(60)))).collect();
    for n in 0..40 {
        let name = format!("web-{n:02}");
        let uid = running(api, &name, "n1").await;
        let labels = json!({"metadata": {"labels": labels}});
        api.patch(&format!("{PODS}/{name}"), "merge-patch", &labels).await.ok();
        node.uses(&name, &uid, &json!([container("main", n, 1)]));
    }
    for form in [JSON, TABLE] {
        let request = Request::get(POD_METRICS).header("accept", form);
        let response = api.request(request.body(Body::empty()).unwrap()).await;
        let frames: Vec<_> = response.into_body().into_data_stream().try_collect().await.unwrap();
        assert_eq!(frames.len(), 2, "{form}");
        let list: Value = serde_json::from_slice(&frames.concat()).unwrap();
        let all = list.get("items").unwrap_or(&list["rows"]);
        assert_eq!(all.as_array().unwrap().len(), 40);
    }
}

#[tokio::test]
async fn who_asks_at_the_same_time_shares_the_answer() {
    let tls = without_redis().await;
    let node = Node::start(&tls, "n1").await;
    let readers = (0..5).map(|_| tls.api.get(NODE_METRICS));
    for answer in futures::future::join_all(readers).await {
        assert_eq!(names(&answer.ok()), ["n1"]);
    }
    assert_eq!(node.asked(), 1);
    wait::until("an answer is good for a second", async || {
        tls.api.get(NODE_METRICS).await.ok();
        (node.asked() > 1).then_some(()).ok_or(())
    })
    .await;
}

#[tokio::test]
async fn what_kubelets_announce_need_not_be_asked_for() {
    let redis = Redis::spawn().await;
    let tasks = Tasks::default();
    let announcements = Announcements::connect(&redis.server(), &tasks).unwrap();
    let config = Config { announcements: Some(announcements), ..Config::default() };
    let tls = Tls::with_config(&TlsFiles::default(), config).await;
    let (api, node) = (&tls.api, Node::start(&tls, "n1").await);
    let uid = running(api, "web", "n1").await;
    let client = kube::Client::new(api.server.service(Identity::admin()), "default");
    let kubelet = ListWatch::new(client, Some(&redis.server()), &tasks).unwrap();
    let usage = Usage {
        window_seconds: Some(1.5),
        cpu_nano_cores: Some(7),
        memory_working_set_bytes: Some(2048),
        ..Usage::default()
    };
    let container = ContainerUsage { name: "main".to_owned(), usage: usage.clone() };
    let web = PodUsage {
        namespace: "default".to_owned(),
        name: "web".to_owned(),
        uid,
        usage: usage.clone(),
        containers: vec![container],
    };
    let announce = async |node: &str| {
        kubelet.announce_pods_usage(&PodsUsage { node: node.to_owned(), pods: vec![web.clone()] });
        let (node, usage) = (node.to_owned(), Some(usage.clone()));
        let beat = Heartbeat { node, cpu_percent: 0.0, memory_percent: 0.0, pods: 1, usage };
        kubelet.beat(&beat).await;
    };
    let told = wait::until("figures have come", async || {
        announce("unknown").await;
        announce("n1").await;
        let told = api.get(&format!("{NODE_METRICS}/n1")).await.ok();
        (told["window"] == "1.5s").then_some(told).ok_or(())
    })
    .await;
    assert_eq!(told["usage"], json!({"cpu": "7n", "memory": "2Ki"}));
    let (silent, before) = (Node::start(&tls, "n2").await, node.asked());
    wait::until("a node that announces nothing is asked again", async || {
        assert_eq!(names(&api.get(NODE_METRICS).await.ok()), ["n1", "n2"]);
        (silent.asked() > 1).then_some(()).ok_or(())
    })
    .await;
    let list = api.get(POD_METRICS).await.ok();
    assert_eq!(list["items"][0]["containers"][0]["usage"], told["usage"]);
    assert_eq!(node.asked(), before);
    api.post("/api/v1/nodes", &json!({"metadata": {"name": "unknown"}})).await.ok();
    assert_eq!(names(&api.get(NODE_METRICS).await.ok()), ["n1", "n2"]);
}
