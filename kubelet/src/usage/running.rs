//! Which containers of the node run. The workers of the pods tell it whenever they have looked at theirs.

use std::{collections::BTreeMap, sync::Arc};

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use parking_lot::Mutex;
use prometheus_client::{collector::Collector, encoding::DescriptorEncoder, metrics::MetricType};

use crate::{
    container::resources::resources,
    runtime::{self, PodIdentity, Resources, State, observed::Observed},
    spec,
};

/// The pods that run, by uid.
#[derive(Clone, Debug, Default)]
pub struct RunningPods {
    pods: Arc<Mutex<BTreeMap<String, RunningPod>>>,
}

impl RunningPods {
    /// A pod's place, which goes with its worker.
    pub fn enter(&self, uid: &str) -> Entry {
        Entry { pods: self.clone(), uid: uid.to_owned() }
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
            .encode_gauge(&containers)
    }
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
            resources: spec::container(pod, &container.name).map(resources).unwrap_or_default(),
        }))
    }
}

/// A pod's place among those that run.
#[derive(Debug)]
pub struct Entry {
    pods: RunningPods,
    uid: String,
}

impl Entry {
    /// That is how the pod looks now.
    pub fn note(&self, pod: &Pod, observed: &Observed) {
        let running = |container| RunningContainer::new(container, pod);
        let sandbox = observed.sandbox().and_then(running);
        let containers: Vec<_> = observed.running().filter_map(running).collect();
        let mut pods = self.pods.pods.lock();
        if sandbox.is_none() && containers.is_empty() {
            pods.remove(&self.uid);
            return;
        }
        let (pod, host_network) = (spec::identity(pod), spec::host_network(pod));
        pods.insert(self.uid.clone(), RunningPod { pod, host_network, sandbox, containers });
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.pods.pods.lock().remove(&self.uid);
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
}
