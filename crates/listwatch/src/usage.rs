//! What nodes, pods and containers use, as the kubelets measure it and tell it over Redis. A figure that is not known
//! is absent, never zero. Whoever hears it goes by the time at which it came: the hosts' clocks may differ.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// One sample of something that uses resources.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// When it was taken.
    pub timestamp: Timestamp,
    /// The time since the sample before, in seconds: the rates are means over it. There are none without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<f64>,
    /// Processor time per time, in billionths of a processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_nano_cores: Option<u64>,
    /// Processor time since the start, in nanoseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_core_nano_seconds: Option<u64>,
    /// Memory that cannot be given back under pressure: all of it less the inactive part of the page cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_working_set_bytes: Option<u64>,
    /// All memory, the page cache included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_usage_bytes: Option<u64>,
    /// Anonymous memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_rss_bytes: Option<u64>,
    /// Page faults since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_faults: Option<u64>,
    /// Those that had to be read from a disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub major_page_faults: Option<u64>,
    /// Bytes received since the start; containers share their pod's network and have none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_rx_bytes: Option<u64>,
    /// Bytes sent since the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub network_tx_bytes: Option<u64>,
    /// Bytes written and kept: a container's own layer, a pod's volumes, a node's disk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_used_bytes: Option<u64>,
    /// The size of the file system that they are on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fs_capacity_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u64>,
}

/// All pods of a node, as of one sample. What it says replaces what the node said before.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodsUsage {
    /// The node's name.
    pub node: String,
    /// Those of which something is known.
    pub pods: Vec<PodUsage>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PodUsage {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Another pod of the name has another one.
    pub uid: String,
    /// Of all its containers together, the sandbox included.
    #[serde(flatten)]
    pub usage: Usage,
    /// Those that run.
    pub containers: Vec<ContainerUsage>,
}

/// A container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerUsage {
    /// Its name in the pod.
    pub name: String,
    /// Since it was last started.
    #[serde(flatten)]
    pub usage: Usage,
}

/// Somebody acts on what nodes use, and wants to know it more often than every ten seconds. Holds for
/// [`WANTED_SECONDS`] after it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageWanted {
    /// The nodes' names.
    pub nodes: Vec<String>,
    /// The time between samples, in seconds.
    pub period_seconds: u32,
}

/// How long a [`UsageWanted`] holds, in seconds; who goes on wanting says so again before.
pub const WANTED_SECONDS: u64 = 15;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::Heartbeat;

    fn sample() -> Usage {
        Usage {
            window_seconds: Some(10.5),
            cpu_nano_cores: Some(250_000_000),
            memory_working_set_bytes: Some(0),
            ..Usage::default()
        }
    }

    #[test]
    fn what_is_not_known_is_absent() {
        let usage = PodsUsage {
            node: "n1".to_owned(),
            pods: vec![PodUsage {
                namespace: "default".to_owned(),
                name: "web".to_owned(),
                uid: "u".to_owned(),
                usage: Usage::default(),
                containers: vec![ContainerUsage { name: "app".to_owned(), usage: sample() }],
            }],
        };
        let message = json!({"node": "n1", "pods": [{
            "namespace": "default", "name": "web", "uid": "u", "timestamp": "1970-01-01T00:00:00Z",
            "containers": [{"name": "app", "timestamp": "1970-01-01T00:00:00Z", "windowSeconds": 10.5,
                "cpuNanoCores": 250_000_000, "memoryWorkingSetBytes": 0}]}]});
        assert_eq!(serde_json::to_value(&usage).unwrap(), message);
        assert_eq!(serde_json::from_value::<PodsUsage>(message).unwrap(), usage);
    }

    #[test]
    fn a_heartbeat_without_a_sample_is_one() {
        let plain = json!({"node": "n1", "cpuPercent": 1.0, "memoryPercent": 2.0, "pods": 3});
        let mut heartbeat = serde_json::from_value::<Heartbeat>(plain.clone()).unwrap();
        assert_eq!(serde_json::to_value(&heartbeat).unwrap(), plain);
        heartbeat.usage = Some(sample());
        let told = serde_json::to_value(&heartbeat).unwrap();
        assert_eq!(told["usage"]["cpuNanoCores"], 250_000_000);
        assert_eq!(serde_json::from_value::<Heartbeat>(told).unwrap(), heartbeat);
    }
}
