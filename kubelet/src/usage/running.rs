//! Which containers of the node run. The workers of the pods tell it whenever they have looked at theirs.

use std::{collections::BTreeMap, sync::Arc};

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use parking_lot::Mutex;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet},
    metrics::MetricType,
};

use crate::{
    container::resources::resources,
    runtime::{self, PodIdentity, Resources, State, observed::Observed},
    spec,
};

/// The pods that run, by uid.
#[derive(Clone, Debug, Default)]
pub struct RunningPods {
    pods: Arc<Mutex<BTreeMap<String, RunningPod>>>,
    restarts: Arc<Mutex<BTreeMap<String, Restarts>>>,
}

/// How often the containers of a pod were started again, whether or not they run.
#[derive(Debug)]
struct Restarts {
    pod: PodIdentity,
    containers: BTreeMap<(Kind, String), u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Main,
    Init,
}

impl RunningPods {
    /// A pod's place, which goes with its worker.
    pub fn enter(&self, uid: &str) -> Entry {
        Entry { running: self.clone(), uid: uid.to_owned() }
    }

    /// All of them as they are.
    pub(crate) fn all(&self) -> Vec<RunningPod> {
        self.pods.lock().values().cloned().collect()
    }
}

impl Collector for RunningPods {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let (pods, containers) = {
            let pods = self.pods.lock();
            (pods.len(), pods.values().map(|pod| pod.containers.len()).sum::<usize>())
        };
        let help = "Number of pods that have a running pod sandbox or container";
        let gauge = MetricType::Gauge;
        encoder
            .encode_descriptor("kubelet_running_pods", help, None, gauge)?
            .encode_gauge(&pods)?;
        let help = "Number of containers currently running";
        encoder
            .encode_descriptor("kubelet_running_containers", help, None, gauge)?
            .encode_family(&[("container_state", "running")])?
            .encode_gauge(&containers)?;
        encode_restarts(&self.restarts.lock(), encoder)
    }
}

/// By the names of kube-state-metrics, which is not there to tell.
fn encode_restarts(
    restarts: &BTreeMap<String, Restarts>,
    mut encoder: DescriptorEncoder<'_>,
) -> std::fmt::Result {
    let kinds = [
        ("kube_pod_container_status_restarts", "The number of container restarts per container"),
        (
            "kube_pod_init_container_status_restarts",
            "The number of restarts for the init container",
        ),
    ];
    for (kind, (name, help)) in [Kind::Main, Kind::Init].into_iter().zip(kinds) {
        let series = restarts.iter().flat_map(|(uid, Restarts { pod, containers })| {
            let counts = containers.iter().filter(move |((found, _), _)| *found == kind);
            counts.map(move |((_, container), count)| {
                let labels = [
                    ("container", container.as_str()),
                    ("namespace", &pod.namespace),
                    ("pod", &pod.name),
                    ("uid", uid),
                ];
                (labels, u64::from(*count))
            })
        });
        let mut series = series.peekable();
        if series.peek().is_none() {
            continue;
        }
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in series {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)?;
        }
    }
    Ok(())
}

/// A pod that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningPod {
    /// Which it is.
    pub pod: PodIdentity,
    /// Whether its network is the node's.
    pub host_network: bool,
    /// Its sandbox.
    pub sandbox: Option<Arc<RunningContainer>>,
    /// Its containers.
    pub containers: Vec<Arc<RunningContainer>>,
}

/// A container that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunningContainer {
    /// The runtime's id.
    pub id: String,
    /// Its name in the pod.
    pub name: String,
    /// How often it was restarted.
    pub attempt: u32,
    /// The image as the spec names it.
    pub image: String,
    /// Its first process.
    pub pid: i32,
    /// When it was started.
    pub started_at: Timestamp,
    /// What it may use.
    pub resources: Resources,
}

impl RunningContainer {
    fn new(container: &runtime::Container, pod: &Pod) -> Option<Arc<Self>> {
        let State::Running { started_at } = container.state else { return None };
        Some(Arc::new(Self {
            id: container.id.clone(),
            name: container.name.clone(),
            attempt: container.attempt,
            image: container.image.clone(),
            pid: container.pid?,
            started_at,
            resources: spec::container(pod, &container.name)
                .map(|wanted| resources(&wanted))
                .unwrap_or_default(),
        }))
    }
}

/// A pod's place among those that run.
#[derive(Debug)]
pub struct Entry {
    running: RunningPods,
    uid: String,
}

impl Entry {
    /// That is how the pod looks now.
    pub fn note(&self, pod: &Pod, observed: &Observed) {
        let running = |container| RunningContainer::new(container, pod);
        let sandbox = observed.sandbox().and_then(running);
        let containers: Vec<_> = observed.running().filter_map(running).collect();
        self.note_restarts(pod, observed);
        let mut pods = self.running.pods.lock();
        if sandbox.is_none() && containers.is_empty() {
            pods.remove(&self.uid);
            return;
        }
        let (pod, host_network) = (spec::identity(pod), spec::host_network(pod));
        pods.insert(self.uid.clone(), RunningPod { pod, host_network, sandbox, containers });
    }

    /// Counts never fall, whatever is removed of a pod meanwhile.
    fn note_restarts(&self, pod: &Pod, observed: &Observed) {
        let mut restarts = self.running.restarts.lock();
        let known = restarts
            .entry(self.uid.clone())
            .or_insert_with(|| Restarts { pod: spec::identity(pod), containers: BTreeMap::new() });
        let main = spec::containers(pod).map(|container| (Kind::Main, container));
        let init = spec::init_containers(pod).map(|container| (Kind::Init, container));
        for (kind, container) in main.chain(init) {
            let Some(latest) = observed.latest(&container.name) else { continue };
            let count = known.containers.entry((kind, container.name.clone())).or_default();
            *count = latest.attempt.max(*count);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.running.pods.lock().remove(&self.uid);
        self.running.restarts.lock().remove(&self.uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::fake::blank;

    #[test]
    fn a_pod_is_there_while_something_of_it_runs_and_its_worker_works() {
        let (running, pod) = (RunningPods::default(), testkit::pod("web").build());
        let mut container = blank("main");
        container.state = State::Running { started_at: Timestamp::UNIX_EPOCH };
        container.pid = Some(7);
        let runs = Observed::new(vec![container.clone()]);
        let place = running.enter("u");
        place.note(&pod, &runs);
        assert_eq!(running.all()[0].containers[0].pid, 7);
        place.note(&pod, &Observed::default());
        assert_eq!(running.all(), []);
        place.note(&pod, &runs);
        drop(place);
        assert_eq!(running.all(), []);
        container.pid = None;
        running.enter("u").note(&pod, &Observed::new(vec![container]));
        assert_eq!(running.all(), [], "a process without a number cannot be measured");
    }
    /// Also while it waits for the next one.
    #[test]
    fn starts_again_are_counted_until_the_pod_is_gone() {
        let metrics = component::Metrics::default();
        let running = RunningPods::default();
        metrics.collect(running.clone());
        let counts = || -> Vec<String> {
            let text = metrics.encode().unwrap();
            let found = text.lines().filter(|line| line.starts_with("kube_pod_"));
            found.map(str::to_owned).collect()
        };
        let mut pod = testkit::pod("web").build();
        let spec = pod.spec.as_mut().unwrap();
        let mut init = spec.containers[0].clone();
        init.name = "first".to_owned();
        spec.init_containers = Some(vec![init]);
        let place = running.enter("u");
        assert_eq!(counts(), Vec::<String>::new());
        let mut container = blank("main");
        container.attempt = 2;
        let mut first = blank("first");
        first.attempt = 1;
        place.note(&pod, &Observed::new(vec![container, first]));
        let labels =
            |name: &str| format!(r#"{{container="{name}",namespace="default",pod="web",uid="u"}}"#);
        let expected = [
            format!("kube_pod_container_status_restarts_total{} 2", labels("main")),
            format!("kube_pod_init_container_status_restarts_total{} 1", labels("first")),
        ];
        assert_eq!(counts(), expected);
        place.note(&pod, &Observed::default());
        assert_eq!(counts(), expected, "its containers were removed");
        drop(place);
        assert_eq!(counts(), Vec::<String>::new());
    }
}
