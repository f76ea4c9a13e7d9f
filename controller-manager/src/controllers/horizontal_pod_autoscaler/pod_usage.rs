//! What pods use of processors and memory: as the kubelets tell it over Redis, or else as the API server does.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api_machinery::{Quantity, duration};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use api_types::meta::ObjectMeta;
use async_trait::async_trait;
use kube::Client;
use listwatch::usage::{ContainerUsage, PodUsage, PodsUsage};
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::time::Instant;

use super::calculator::running;
use super::figures::{Sample, Samples};
use crate::frame::reason;
use crate::pods;

/// The usual time between samples.
const WINDOW: Duration = Duration::from_secs(10);
/// No window is longer: a host that was suspended measures over all of that time.
const LONGEST_WINDOW: Duration = Duration::from_secs(60);
/// After so many windows without a new one a sample says nothing any more.
const FRESH_WINDOWS: u32 = 3;

/// One pod's containers, each with the resources that are known of it, in thousandths.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Used {
    pub(super) pod: String,
    pub(super) timestamp: Timestamp,
    pub(super) window: Duration,
    pub(super) containers: Vec<(String, BTreeMap<String, i64>)>,
}

/// Who knows what pods use.
#[async_trait]
pub(super) trait UsageSource: Send + Sync {
    /// Of the pods of a namespace that a selector picks; they are at hand, too.
    async fn used(
        &self,
        namespace: &str,
        selector: &str,
        pods: &[Arc<Pod>],
    ) -> Result<Vec<Used>, String>;
}

/// Of one resource; of one container of each pod, or of all together. A pod of which a part is missing is left out.
pub(super) fn samples(used: &[Used], resource: &str, container: Option<&str>) -> Samples {
    let of = |used: &Used| {
        let all = used.containers.iter();
        let mut all =
            all.filter(|(name, _)| container.is_none_or(|wanted| wanted == name)).peekable();
        all.peek()?;
        let value = all.map(|(_, amounts)| amounts.get(resource)).sum::<Option<i64>>()?;
        let Used { timestamp, window, .. } = *used;
        Some((used.pod.clone(), Sample { value, timestamp, window }))
    };
    used.iter().filter_map(of).collect()
}

/// What kubelets have told, node by node, and when.
#[derive(Debug, Default)]
pub(super) struct Told(Mutex<HashMap<String, (Instant, Vec<PodUsage>)>>);

impl Told {
    pub(super) fn hear(&self, now: Instant, usage: PodsUsage) {
        let mut told = self.0.lock();
        told.retain(|_, (at, _)| now - *at < WINDOW * FRESH_WINDOWS * 2);
        told.insert(usage.node, (now, usage.pods));
    }

    /// Whether nothing has come from the pod's node for too long.
    fn is_silent(&self, now: Instant, pod: &Pod) -> bool {
        let told = self.0.lock();
        let heard = pods::node_of(pod).and_then(|node| told.get(node));
        heard.is_none_or(|(at, _)| now - *at > WINDOW * FRESH_WINDOWS)
    }

    /// Of a pod, unless that is too old.
    fn of(&self, now: Instant, pod: &Pod) -> Option<Used> {
        let uid = pod.metadata.uid.as_deref()?;
        let told = self.0.lock();
        let (at, usages) = told.get(pods::node_of(pod)?)?;
        let usage = usages.iter().find(|usage| usage.uid == uid)?;
        let window = usage.usage.window_seconds.map(Duration::try_from_secs_f64);
        let window = window.and_then(Result::ok).unwrap_or(WINDOW);
        (now - *at <= window.clamp(WINDOW, LONGEST_WINDOW) * FRESH_WINDOWS).then(|| Used {
            pod: usage.name.clone(),
            timestamp: usage.usage.timestamp,
            window,
            containers: usage.containers.iter().map(amounts).collect(),
        })
    }
}

/// Processor time in thousandths of a processor, rounded up as Kubernetes does, and memory in thousandths of a byte.
fn amounts(container: &ContainerUsage) -> (String, BTreeMap<String, i64>) {
    let cpu = container.usage.cpu_nano_cores.map(|nano| nano.div_ceil(1_000_000));
    let memory = container.usage.memory_working_set_bytes.map(|bytes| bytes.saturating_mul(1000));
    let known = [("cpu", cpu), ("memory", memory)].into_iter();
    let known = known.filter_map(|(name, value)| Some((name, i64::try_from(value?).ok()?)));
    (container.name.clone(), known.map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Redis' word, and the API server's of pods whose nodes are silent there, or if Redis knows none.
pub(super) struct Sources {
    pub(super) told: Arc<Told>,
    pub(super) client: Client,
}

#[async_trait]
impl UsageSource for Sources {
    async fn used(
        &self,
        namespace: &str,
        selector: &str,
        pods: &[Arc<Pod>],
    ) -> Result<Vec<Used>, String> {
        let now = Instant::now();
        let mut told: Vec<_> = pods.iter().filter_map(|pod| self.told.of(now, pod)).collect();
        let is_silent = |pod: &Arc<Pod>| {
            pods::phase(pod) == "Running"
                && self.told.is_silent(now, pod)
                && told.iter().all(|used| pod.metadata.name.as_ref() != Some(&used.pod))
        };
        if told.is_empty() || pods.iter().any(is_silent) {
            match served(&self.client, namespace, selector).await {
                Ok(mut served) => {
                    served.retain(|it| told.iter().all(|used| used.pod != it.pod));
                    told.extend(served);
                }
                Err(error) if told.is_empty() => {
                    let why = reason(&error);
                    return Err(format!(
                        "unable to fetch metrics from resource metrics API: {why}"
                    ));
                }
                Err(error) => tracing::debug!(%error, "silent nodes' pods are not known"),
            }
        }
        if told.is_empty() {
            return Err("no metrics returned from resource metrics API".to_owned());
        }
        Ok(told.into_iter().map(|used| with_what_is_down(used, pods)).collect())
    }
}

/// Kubelets tell of containers that run; of one that is down and comes again nothing is known.
fn with_what_is_down(mut used: Used, pods: &[Arc<Pod>]) -> Used {
    let pod = pods.iter().find(|pod| pod.metadata.name.as_ref() == Some(&used.pod));
    for name in pod.into_iter().flat_map(|pod| expected(pod)) {
        if used.containers.iter().all(|(known, _)| known != name) {
            used.containers.push((name.to_owned(), BTreeMap::new()));
        }
    }
    used
}

/// The containers that have not ended for good.
fn expected(pod: &Pod) -> impl Iterator<Item = &str> {
    let policy = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    let has_ended = move |name: &str| {
        let mut all = pod.status.iter().flat_map(|it| it.container_statuses.iter().flatten());
        let ended =
            all.find(|it| it.name == name).and_then(|it| it.state.as_ref()?.terminated.as_ref());
        ended.is_some_and(|ended| match policy {
            Some("Never") => true,
            Some("OnFailure") => ended.exit_code == 0,
            _ => false,
        })
    };
    running(pod).map(|it| it.name.as_str()).filter(move |name| !has_ended(name))
}

/// A list of `metrics.k8s.io/v1beta1` PodMetrics, as far as it matters.
#[derive(Deserialize)]
struct PodMetricsList {
    items: Vec<PodMetrics>,
}

#[derive(Deserialize)]
struct PodMetrics {
    metadata: ObjectMeta,
    timestamp: Timestamp,
    window: String,
    containers: Vec<ContainerMetrics>,
}

#[derive(Deserialize)]
struct ContainerMetrics {
    name: String,
    usage: BTreeMap<String, api_types::Quantity>,
}

async fn served(client: &Client, namespace: &str, selector: &str) -> kube::Result<Vec<Used>> {
    let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let params = kube::api::ListParams::default().labels(selector);
    let request =
        kube::core::Request::new(path).list(&params).map_err(kube::Error::BuildRequest)?;
    let list: PodMetricsList = client.request(request).await?;
    Ok(list.items.into_iter().map(used).collect())
}

fn used(metrics: PodMetrics) -> Used {
    let amount = |(name, quantity): (String, api_types::Quantity)| {
        Some((name, Quantity::try_from(&quantity).ok()?.milli_value()))
    };
    let container = |it: ContainerMetrics| {
        (it.name, it.usage.into_iter().filter_map(amount).collect::<BTreeMap<_, _>>())
    };
    Used {
        pod: metrics.metadata.name.unwrap_or_default(),
        timestamp: metrics.timestamp,
        window: duration::parse(&metrics.window).unwrap_or(WINDOW),
        containers: metrics.containers.into_iter().map(container).collect(),
    }
}

#[cfg(test)]
mod tests {
    use listwatch::usage::Usage;
    use serde_json::json;

    use super::*;

    fn usage(window: f64) -> PodsUsage {
        let container = |name: &str, cpu, memory| ContainerUsage {
            name: name.to_owned(),
            usage: Usage {
                cpu_nano_cores: cpu,
                memory_working_set_bytes: memory,
                ..Usage::default()
            },
        };
        let pod = PodUsage {
            namespace: "default".to_owned(),
            name: "web".to_owned(),
            uid: "u".to_owned(),
            usage: Usage { window_seconds: Some(window), ..Usage::default() },
            containers: vec![
                container("a", Some(1_500_000), Some(2)),
                container("b", Some(1_000_000), None),
            ],
        };
        PodsUsage { node: "n1".to_owned(), pods: vec![pod] }
    }

    fn pod(uid: &str) -> Pod {
        let pod = json!({"metadata": {"uid": uid}, "spec": {"nodeName": "n1", "containers": []}});
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn what_is_old_or_of_another_pod_of_the_name_is_not_known() {
        let (told, now) = (Told::default(), Instant::now());
        told.hear(now, usage(1.0));
        assert!(told.of(now + WINDOW * 3, &pod("u")).is_some());
        assert_eq!(told.of(now + WINDOW * 3 + Duration::from_millis(1), &pod("u")), None);
        assert_eq!(told.of(now, &pod("other")), None);
        told.hear(now, PodsUsage { node: "n1".to_owned(), pods: Vec::new() });
        assert_eq!(told.of(now, &pod("u")), None, "what is told replaces what was");
    }

    #[test]
    fn a_pod_is_its_containers_and_not_known_without_one_of_them() {
        let (told, now) = (Told::default(), Instant::now());
        told.hear(now, usage(10.0));
        let used = [told.of(now, &pod("u")).unwrap()];
        let value = |resource: &str, container: Option<&str>| {
            samples(&used, resource, container).get("web").map(|sample| sample.value)
        };
        assert_eq!(value("cpu", None), Some(3));
        assert_eq!(value("cpu", Some("a")), Some(2));
        assert_eq!(value("memory", None), None);
        assert_eq!(value("memory", Some("a")), Some(2000));
        assert_eq!(value("cpu", Some("c")), None);
    }

    #[test]
    fn a_pod_with_a_container_that_is_down_is_not_known() {
        let (told, now) = (Told::default(), Instant::now());
        told.hear(now, usage(10.0));
        let value = |policy: &str, exit: i32, container: Option<&str>| {
            let pod = json!({"metadata": {"name": "web", "uid": "u"}, "spec": {"nodeName": "n1",
                "restartPolicy": policy, "containers": [{"name": "a"}, {"name": "b"}, {"name": "c"}]},
                "status": {"containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": exit}},
                    "image": "", "imageID": "", "ready": false, "restartCount": 1}]}});
            let pod: Arc<Pod> = Arc::new(serde_json::from_value(pod).unwrap());
            let used = [with_what_is_down(told.of(now, &pod).unwrap(), &[pod])];
            samples(&used, "cpu", container).get("web").map(|sample| sample.value)
        };
        assert_eq!(value("Always", 0, None), None);
        assert_eq!(value("Always", 0, Some("a")), Some(2));
        assert_eq!(value("OnFailure", 1, None), None);
        assert_eq!(value("OnFailure", 0, None), Some(3), "it has ended for good");
        assert_eq!(value("Never", 1, None), Some(3), "it has ended for good");
    }

    #[tokio::test]
    async fn the_api_server_tells_of_pods_on_nodes_that_are_silent() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            let metrics = |name: &str, cpu: &str| {
                json!({"metadata": {"name": name}, "timestamp": "2026-01-01T00:00:00Z",
                    "window": "10s", "containers": [{"name": "a", "usage": {"cpu": cpu}}]})
            };
            let list = json!({"items": [metrics("web", "9"), metrics("lost", "4")]});
            let body = kube::client::Body::from(list.to_string().into_bytes());
            std::future::ready(http::Response::builder().body(body).map_err(tower::BoxError::from))
        });
        let told = Arc::<Told>::default();
        told.hear(Instant::now(), usage(10.0));
        let sources = Sources { told, client: Client::new(service, "default") };
        let pod = |name: &str, node: &str| {
            let pod = json!({"metadata": {"name": name, "uid": name.replace("web", "u")},
                "spec": {"nodeName": node, "containers": [{"name": "a"}]}, "status": {"phase": "Running"}});
            Arc::new(serde_json::from_value::<Pod>(pod).unwrap())
        };
        let known = async |pods: &[Arc<Pod>]| {
            let used = sources.used("default", "app=web", pods).await.unwrap();
            let samples = samples(&used, "cpu", None);
            samples.into_iter().map(|(pod, it)| (pod, it.value)).collect::<Vec<_>>()
        };
        let silent = [pod("web", "n1"), pod("lost", "n2")];
        assert_eq!(known(&silent).await, [("lost".to_owned(), 4000), ("web".to_owned(), 3)]);
        let new = [pod("web", "n1"), pod("lost", "n1")];
        assert_eq!(known(&new).await, [("web".to_owned(), 3)], "its node speaks");
        assert_eq!(known(&[pod("lost", "n2")]).await.len(), 2);
    }

    #[test]
    fn a_window_is_not_longer_than_a_minute() {
        let (told, now) = (Told::default(), Instant::now());
        told.hear(now, usage(3600.0));
        assert!(told.of(now + LONGEST_WINDOW * 3, &pod("u")).is_some());
        assert_eq!(told.of(now + LONGEST_WINDOW * 3 + Duration::from_millis(1), &pod("u")), None);
    }

    #[test]
    fn the_api_server_s_figures_are_read() {
        let metrics = json!({"items": [{"metadata": {"name": "web"}, "timestamp": "2026-01-01T00:00:00Z",
            "window": "10.5s", "containers": [{"name": "a", "usage": {"cpu": "1500001n", "memory": "2Ki"}}]}]});
        let list: PodMetricsList = serde_json::from_value(metrics).unwrap();
        let used: Vec<_> = list.items.into_iter().map(used).collect();
        assert_eq!(used[0].window, Duration::from_millis(10_500));
        assert_eq!(samples(&used, "cpu", None)["web"].value, 2);
        assert_eq!(samples(&used, "memory", None)["web"].value, 2_048_000);
    }
}
