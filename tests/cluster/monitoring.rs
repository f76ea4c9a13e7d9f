//! A Prometheus watches over the cluster, as `scripts/monitoring.sh` sets it up.

use std::{
    fs::{self, File},
    net::TcpListener,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::pod;

use crate::harness::{Backing, Cluster, NODE, Replica, root, run, until, until_within};

const BUSYBOX: &str = "minik8s/busybox:0.1";

const JOBS: [&str; 8] = [
    "apiserver",
    "controller-manager",
    "scheduler",
    "serverless-gateway",
    "kube-proxy",
    "kubelet",
    "kubelet-resource",
    "kubelet-cadvisor",
];
/// What a container may use of a core.
const LOAD: f64 = 0.1;
/// What is known of such a container, of its sandbox and pod, and of its host.
const OF_BUSY: [&str; 8] = [
    r#"container_cpu_cfs_throttled_seconds_total{pod="busy", container="busy"} > 1"#,
    r#"container_cpu_user_seconds_total{pod="busy", container="busy"} > 0.1"#,
    r#"container_network_receive_packets_dropped_total{pod="busy", container="POD", interface="eth0"}"#,
    r#"container_memory_failures_total{pod="busy", container="POD", image!="", name=~"k8s_POD_busy_.+"} > 0"#,
    r#"container_memory_working_set_bytes{pod="busy", container="", image="", name=""} > 1e4"#,
    r#"container_fs_writes_bytes_total{id="/", device=~"/dev/.+"} > 0"#,
    r#"container_fs_limit_bytes{id="/", device=~"/dev/.+"} > 0"#,
    r#"kube_pod_container_status_restarts_total{pod="busy", container="busy"} == 0"#,
];
/// For so many seconds it is looked how much it does use.
const TIME: f64 = 15.0;
/// Seconds of which a container may use its share, before it is held back.
const PERIOD: f64 = 0.1;
/// So many seconds old what a container has used may be.
const SAMPLE: f64 = 1.0;
/// The kubelet looks at images once a minute.
const SEVERAL_LOOKS: Duration = Duration::from_secs(180);
/// For what waits for scrapes, a new leader, a look of an autoscaler and a pod, one after the other.
const ONE_AFTER_THE_OTHER: Duration = Duration::from_secs(180);

struct Prometheus {
    port: u16,
    /// What it remembers. With another run's it would take that for the latest.
    _data: TempDir,
    _process: Replica,
}

impl Prometheus {
    /// With the configuration of the cluster, but that it looks every second.
    fn start(cluster: &Cluster) -> Self {
        let folder = cluster.folder().join("monitoring");
        cluster.script("monitoring.sh", &["--output", folder.to_str().unwrap()]).expect_ok();
        for file in ["prometheus.yml", "rules.yml"] {
            let text = fs::read_to_string(folder.join(file)).unwrap();
            fs::write(folder.join(file), text.replace("15s", "1s")).unwrap();
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let log = File::create(cluster.folder().join("log/prometheus.log")).unwrap();
        let mut command = Command::new("prometheus");
        command.arg("--config.file").arg(folder.join("prometheus.yml"));
        let data = tempfile::tempdir().unwrap();
        command.arg("--storage.tsdb.path").arg(data.path());
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self { port, _data: data, _process: Replica(command.spawn().unwrap()) }
    }

    async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let url = format!("http://127.0.0.1:{}/api/v1/{path}", self.port);
        let url = reqwest::Url::parse_with_params(&url, query).unwrap();
        let answer = reqwest::get(url).await.map_err(|error| error.to_string())?;
        let answer = answer.text().await.map_err(|error| error.to_string())?;
        let mut answer: Value = serde_json::from_str(&answer).map_err(|error| error.to_string())?;
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(answer.to_string())
        }
    }

    /// The series that a query gives, as labels and value.
    async fn query(&self, query: &str) -> Result<Vec<(Value, f64)>, String> {
        let data = self.get("query", &[("query", query)]).await?;
        let series = data["result"].as_array().cloned().unwrap_or_default().into_iter();
        let value = |series: &Value| series["value"][1].as_str().unwrap().parse().unwrap();
        Ok(series.map(|series| (series["metric"].clone(), value(&series))).collect())
    }

    async fn until(&self, query: &str, fits: impl Fn(&[(Value, f64)]) -> bool) {
        until(query, async || {
            let series = self.query(query).await?;
            if fits(&series) { Ok(()) } else { Err(format!("{series:?}")) }
        })
        .await;
    }
}

fn is_one(series: &[(Value, f64)]) -> bool {
    matches!(series, [(_, value)] if *value == 1.0)
}

#[tokio::test]
async fn prometheus_scrapes_every_program_and_pods_that_come_and_go() {
    let cluster = Cluster::start(Backing::Embedded).await;
    cluster.up(&["--no-examples", "--monitoring"]).expect_ok();
    let prometheus = Prometheus::start(&cluster);
    for job in JOBS {
        prometheus.until(&format!("up{{job=\"{job}\"}}"), is_one).await;
    }
    let reads =
        "sum(apiserver_request_total{verb=\"LIST\", resource=\"pods\", code=\"200\"}) > bool 0";
    prometheus.until(reads, is_one).await;
    for metric in [
        "scheduler_pending_pods{queue=\"active\"}",
        "workqueue_depth{name=\"replicaset-controller\"}",
    ] {
        prometheus.until(&format!("count({metric})"), is_one).await;
    }
    let sync = "count(kubeproxy_sync_proxy_rules_duration_seconds_count{job=\"kube-proxy\"})";
    prometheus.until(sync, is_one).await;
    prometheus
        .until("count(process_resident_memory_bytes{job=\"serverless-gateway\"} > 1e6)", is_one)
        .await;

    let ends = "count(apiserver_serving_certificate_expiration_timestamp_seconds > time() + 86400)";
    prometheus.until(ends, is_one).await;

    images_take_what_docker_says(&cluster).await;
    uses_what_it_may(&cluster, &prometheus).await;

    // The certificate is good for that, and for nothing else.
    let kubeconfig = cluster.folder().join("monitoring/kubeconfig");
    let with = ["--kubeconfig", kubeconfig.to_str().unwrap()];
    cluster.kubectl(&[&["get", "nodes"], &with[..]].concat()).expect_ok();
    let refused = cluster.kubectl(&[&["get", "secrets"], &with[..]].concat());
    assert!(
        refused.stderr.contains("User \"prometheus\" cannot list resource \"secrets\""),
        "{refused:?}"
    );

    let serve = "mkdir -p /w/own && echo 'answer 42' > /w/own/index.html && httpd -f -p 8080 -h /w";
    let mut scraped = pod("scraped").image(BUSYBOX).command(&["sh", "-c", serve]).build();
    let annotations = [("scrape", "true"), ("port", "8080"), ("path", "/own/")];
    let annotations =
        annotations.map(|(name, value)| (format!("prometheus.io/{name}"), value.to_owned()));
    scraped.metadata.annotations = Some(annotations.into());
    let file = cluster.folder().join("scraped.json");
    let mut scraped = serde_json::to_value(&scraped).unwrap();
    (scraped["apiVersion"], scraped["kind"]) = (json!("v1"), json!("Pod"));
    fs::write(&file, scraped.to_string()).unwrap();
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    let answer =
        "answer{job=\"pods\", namespace=\"default\", pod=\"scraped\", node=~\".+\"} == bool 42";
    prometheus.until(answer, is_one).await;
    cluster.kubectl(&["delete", "pod", "scraped", "--now"]).expect_ok();
    prometheus.until("answer", <[_]>::is_empty).await;

    scales_by_what_pods_export(&cluster, &prometheus).await;
    with_grafana(&cluster);

    let rules = prometheus.get("rules", &[]).await.unwrap();
    let groups = rules["groups"].as_array().unwrap();
    let rules: Vec<_> =
        groups.iter().flat_map(|group| group["rules"].as_array().unwrap()).collect();
    assert!(rules.len() > 15, "{groups:?}");
    for rule in rules {
        assert_eq!(rule["lastError"], Value::Null, "{rule}");
    }
    prometheus
        .until(
            "count(ALERTS{alertname=~\"APIServerDown|SchedulerDown|NodeDown\"})",
            <[_]>::is_empty,
        )
        .await;
    cluster.kill(&["scheduler"]);
    prometheus
        .until("count(ALERTS{alertname=\"SchedulerDown\", alertstate=\"pending\"})", is_one)
        .await;
}

/// Docker rounds it. Both are asked until they agree: the kubelet looks once a minute, and images come and go meanwhile.
async fn images_take_what_docker_says(cluster: &Cluster) {
    if run("docker", &["info", "-f", "{{.Driver}}"]).expect_ok().trim() != "overlay2" {
        return;
    }
    until_within(SEVERAL_LOOKS, "the kubelet and Docker to agree on images", async || {
        let (taken, said) = (taken_by_images(cluster)?, said_of_images());
        if (taken / said - 1.0).abs() < 0.05 { Ok(()) } else { Err(format!("{taken} of {said}")) }
    })
    .await;
}

fn taken_by_images(cluster: &Cluster) -> Result<f64, String> {
    let path = format!("/api/v1/nodes/{NODE}/proxy/stats/summary");
    let summary = cluster.stock_kubectl(&["get", "--raw", &path]).stdout;
    let summary: Value = serde_json::from_str(&summary).map_err(|error| error.to_string())?;
    summary["node"]["runtime"]["imageFs"]["usedBytes"].as_f64().ok_or(summary.to_string())
}

fn said_of_images() -> f64 {
    let said = run("docker", &["system", "df", "--format", "{{.Type}} {{.Size}}"]).expect_ok();
    let said = said.lines().find_map(|line| line.strip_prefix("Images ")).unwrap();
    let (number, unit) = said.split_at(said.find(|c: char| c.is_alphabetic()).unwrap());
    let unit = match unit {
        "kB" => 1e3,
        "MB" => 1e6,
        "GB" => 1e9,
        other => panic!("{other} in {said}"),
    };
    number.parse::<f64>().unwrap() * unit
}

/// Of a container that would use all of a core: no more than its limit, and that whenever it was held back. On a
/// machine that has other things to do it may get less.
async fn uses_what_it_may(cluster: &Cluster, prometheus: &Prometheus) {
    let container = json!({
        "name": "busy", "image": BUSYBOX, "command": ["sh", "-c", "while :; do :; done"],
        "resources": {"limits": {"cpu": LOAD.to_string()}},
    });
    let spec = json!({"containers": [container], "terminationGracePeriodSeconds": 1});
    let busy =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "busy"}, "spec": spec});
    let file = cluster.folder().join("busy.json");
    fs::write(&file, busy.to_string()).unwrap();
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    let first = Look::at(prometheus, 0.0).await;
    let later = Look::at(prometheus, first.seen + TIME).await;
    let (time, used) = (later.seen - first.seen, later.used - first.used);
    let held_back = (later.held_back - first.held_back) * PERIOD;
    assert!(used < time * LOAD * 1.05, "{used} of {LOAD} in {time} s");
    assert!(used > (held_back - SAMPLE) * LOAD * 0.95, "{used} of {LOAD} in {held_back} s");
    for series in OF_BUSY {
        prometheus.until(&format!("count({series}) > bool 0"), is_one).await;
    }
    let memory = "container_memory_working_set_bytes{pod=\"busy\", container=\"busy\"} > 1e4";
    prometheus.until(&format!("count by (job) ({memory})"), |jobs| jobs.len() == 2).await;
    cluster.kubectl(&["delete", "pod", "busy", "--now"]).expect_ok();
}

/// One scrape of the busy container.
struct Look {
    /// When it was looked at, in seconds.
    seen: f64,
    /// For how long it had used a core by then, in seconds.
    used: f64,
    /// Periods in which it had used what it may. They are read when somebody scrapes, the rest up to a second before.
    held_back: f64,
}

impl Look {
    /// The first that is not before `after`.
    async fn at(prometheus: &Prometheus, after: f64) -> Self {
        let names = "container_last_seen|container_cpu_usage_seconds_total|container_cpu_cfs_throttled_periods_total";
        let query = format!(
            "{{__name__=~\"{names}\", job=\"kubelet-cadvisor\", pod=\"busy\", container=\"busy\"}}"
        );
        until("what the container uses", async || {
            let series = prometheus.query(&query).await?;
            let of = |name: &str| {
                let found = series.iter().find(|(labels, _)| labels["__name__"] == name);
                found.map(|(_, value)| *value).ok_or_else(|| format!("{series:?}"))
            };
            let look = Self {
                seen: of("container_last_seen")?,
                used: of("container_cpu_usage_seconds_total")?,
                held_back: of("container_cpu_cfs_throttled_periods_total")?,
            };
            if look.seen > after {
                Ok(look)
            } else {
                Err(format!("{} is before {after}", look.seen))
            }
        })
        .await
    }
}

/// The original's GPU utilisation, of an exporter in the pods, by way of Prometheus. The README has the query.
async fn scales_by_what_pods_export(cluster: &Cluster, prometheus: &Prometheus) {
    let url = format!("http://127.0.0.1:{}", prometheus.port);
    let flags = ["--health-address", "127.0.0.1:0", "--prometheus-url", &url];
    let _manager = cluster.instead("controller-manager", &flags).await;
    let serve = "mkdir /w && echo 'DCGM_FI_DEV_GPU_UTIL 90' > /w/metrics && httpd -f -p 9400 -h /w";
    let container = json!({"name": "main", "image": BUSYBOX, "command": ["sh", "-c", serve]});
    let labels = json!({"app": "gpu"});
    let annotations = json!({"prometheus.io/scrape": "true", "prometheus.io/port": "9400"});
    let query = r#"avg by (pod) (DCGM_FI_DEV_GPU_UTIL{namespace="$namespace",$labels})"#;
    let target = json!({"type": "AverageValue", "averageValue": "50"});
    let metric = json!({"metric": {"name": "gpu_utilization"}, "target": target});
    let objects = json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "horizontal-pod-autoscaler-queries", "namespace": "kube-system"},
            "data": {"gpu_utilization": query}},
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "gpu"}, "spec": {
            "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels, "annotations": annotations},
                "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}}},
        {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "gpu"}, "spec": {"minReplicas": 1, "maxReplicas": 3,
                "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "gpu"},
                "metrics": [{"type": "Pods", "pods": metric}]}},
    ]});
    let file = cluster.folder().join("gpu.json");
    fs::write(&file, objects.to_string()).unwrap();
    cluster.kubectl(&["apply", "-f", file.to_str().unwrap()]).expect_ok();
    until_within(ONE_AFTER_THE_OTHER, "two pods, each with 90 of 50", async || {
        let found = "jsonpath={.status.desiredReplicas} {.status.currentMetrics[0].pods.current.averageValue}";
        let found = cluster.kubectl(&["get", "hpa", "gpu", "-o", found]).stdout;
        let described = || cluster.kubectl(&["describe", "hpa", "gpu"]).stdout;
        if found == "2 90" || found == "3 90" { Ok(()) } else { Err(found + &described()) }
    })
    .await;
    cluster.kubectl(&["delete", "-f", file.to_str().unwrap()]).expect_ok();
}

/// Without its image: what it is given.
fn with_grafana(cluster: &Cluster) {
    let folder = cluster.folder().join("monitoring");
    let grafana = ["--output", folder.to_str().unwrap(), "--grafana", BUSYBOX];
    cluster.script("monitoring.sh", &grafana).expect_ok();
    let get = |what: &str, path: &str| {
        let path = format!("jsonpath={path}");
        cluster.kubectl(&["get", "-n", "monitoring", what, "-o", &path]).expect_ok()
    };
    assert_eq!(get("deployment/grafana", "{.spec.template.spec.containers[0].image}"), BUSYBOX);
    let dashboards = get("configmap/dashboards", "{.data}");
    for file in ["cluster.json", "functions.json", "pods.json"] {
        assert!(dashboards.contains(file), "{dashboards}");
    }
    let source = get("configmap/grafana", "{.data.datasource\\.yaml}");
    assert!(source.contains("url: http://") && !source.contains("http://prometheus"), "{source}");
    let cadvisor = root().join("deploy/monitoring/cadvisor.yaml");
    cluster.kubectl(&["apply", "--dry-run=server", "-f", cadvisor.to_str().unwrap()]).expect_ok();
}
