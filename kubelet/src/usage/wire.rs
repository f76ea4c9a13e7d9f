//! Samples in the words of the topics.

use api_types::jiff::Timestamp;
use listwatch::{ContainerUsage, PodUsage, PodsUsage, Usage};

use super::{
    figures::Measured,
    proc::Interface,
    sample::{NodeSample, PodSample, Sample},
};

/// What the host uses.
pub(crate) fn node(sample: &Sample) -> Usage {
    let NodeSample { measured, interfaces, default_interface, fs, .. } = &sample.node;
    let network = interfaces
        .iter()
        .flatten()
        .find(|interface| Some(&interface.name) == default_interface.as_ref());
    Usage {
        network_rx_bytes: network.map(|interface| interface.received.bytes),
        network_tx_bytes: network.map(|interface| interface.transmitted.bytes),
        fs_used_bytes: fs.map(|fs| fs.used),
        fs_capacity_bytes: fs.map(|fs| fs.capacity),
        ..usage(measured, sample.timestamp)
    }
}

/// What pods use.
pub(super) fn pods(sample: &Sample, node: &str) -> PodsUsage {
    let pods = sample.pods.iter().map(|pod| self::pod(pod, sample.timestamp)).collect();
    PodsUsage { node: node.to_owned(), pods }
}

fn pod(sample: &PodSample, timestamp: Timestamp) -> PodUsage {
    let containers = sample.containers.iter().map(|found| ContainerUsage {
        name: found.container.name.clone(),
        usage: Usage {
            fs_used_bytes: found.disk.map(|disk| disk.used),
            fs_capacity_bytes: found.disk.map(|disk| disk.capacity),
            ..usage(&found.measured, timestamp)
        },
    });
    let bytes = |of: fn(&Interface) -> u64| {
        sample.interfaces.as_ref().map(|interfaces| interfaces.iter().map(of).sum())
    };
    PodUsage {
        namespace: sample.pod.namespace.clone(),
        name: sample.pod.name.clone(),
        uid: sample.pod.uid.clone(),
        usage: Usage {
            network_rx_bytes: bytes(|interface| interface.received.bytes),
            network_tx_bytes: bytes(|interface| interface.transmitted.bytes),
            fs_used_bytes: sample.disk.map(|disk| disk.used),
            fs_capacity_bytes: sample.disk.map(|disk| disk.capacity),
            ..usage(&sample.measured, timestamp)
        },
        containers: containers.collect(),
    }
}

fn usage(measured: &Measured, timestamp: Timestamp) -> Usage {
    let Measured { figures, rate } = measured;
    Usage {
        timestamp,
        window_seconds: rate.map(|rate| rate.window.as_secs_f64()),
        cpu_nano_cores: rate.map(|rate| rate.nano_cores),
        cpu_core_nano_seconds: figures.cpu_nanos,
        memory_working_set_bytes: figures.memory_working_set,
        memory_usage_bytes: figures.memory_usage,
        memory_rss_bytes: figures.memory_rss,
        page_faults: figures.page_faults,
        major_page_faults: figures.major_page_faults,
        pids: figures.pids,
        ..Usage::default()
    }
}
