//! A kubelet's `/stats/summary`, of which but this is read
//! (<https://kubernetes.io/docs/reference/instrumentation/node-metrics/>).

use api_types::jiff::Timestamp;
use listwatch::{ContainerUsage, PodUsage, PodsUsage, Usage};
use serde::Deserialize;

use super::samples::PERIOD;

/// What a kubelet says of its node and its pods.
#[derive(Debug, Deserialize)]
pub(super) struct Summary {
    node: Stats,
    #[serde(default)]
    pods: Vec<PodStats>,
}

#[derive(Debug, Deserialize)]
struct Stats {
    cpu: Option<Cpu>,
    memory: Option<Memory>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Cpu {
    time: Timestamp,
    usage_nano_cores: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Memory {
    working_set_bytes: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodStats {
    pod_ref: PodReference,
    #[serde(default)]
    containers: Vec<ContainerStats>,
}

#[derive(Debug, Deserialize)]
struct PodReference {
    namespace: String,
    name: String,
    uid: String,
}

#[derive(Debug, Deserialize)]
struct ContainerStats {
    name: String,
    #[serde(flatten)]
    stats: Stats,
}

impl Summary {
    /// As the kubelet of the node would have announced it.
    pub(super) fn announced(self, node: &str) -> (Usage, PodsUsage) {
        let pods = self.pods.into_iter().map(pod).collect();
        (usage(self.node), PodsUsage { node: node.to_owned(), pods })
    }
}

fn pod(stats: PodStats) -> PodUsage {
    let PodReference { namespace, name, uid } = stats.pod_ref;
    let container = |c: ContainerStats| ContainerUsage { name: c.name, usage: usage(c.stats) };
    let containers = stats.containers.into_iter().map(container).collect();
    PodUsage { namespace, name, uid, usage: Usage::default(), containers }
}

/// A summary does not say for how long it was measured.
fn usage(Stats { cpu, memory }: Stats) -> Usage {
    Usage {
        timestamp: cpu.as_ref().map(|cpu| cpu.time).unwrap_or_default(),
        window_seconds: Some(PERIOD.as_secs_f64()),
        cpu_nano_cores: cpu.and_then(|cpu| cpu.usage_nano_cores),
        memory_working_set_bytes: memory.and_then(|memory| memory.working_set_bytes),
        ..Usage::default()
    }
}
