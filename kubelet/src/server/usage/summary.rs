//! `/stats/summary`: Kubernetes' `Summary` (`k8s.io/kubelet/pkg/apis/stats/v1alpha1`). Pure.

use api_types::jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::usage::{
    disks::Disk,
    figures::Measured,
    host::FileSystem,
    proc::Interface,
    sample::{ContainerSample, NodeSample, PodSample, Sample},
};

/// The summary.
pub(super) fn of(sample: &Sample, node: &str) -> Value {
    let time = sample.timestamp;
    let pods: Vec<Value> = sample.pods.iter().map(|pod| self::pod(pod, time)).collect();
    known(json!({"node": self::node(&sample.node, node, time), "pods": pods}))
}

fn node(sample: &NodeSample, name: &str, time: Timestamp) -> Value {
    let total = Some(sample.memory.total).filter(|total| *total > 0);
    let default = sample.default_interface.as_deref().unwrap_or_default();
    json!({
        "nodeName": name,
        "startTime": sample.started_at,
        "cpu": cpu(&sample.measured, time),
        "memory": memory(&sample.measured, total, time),
        "network": network(sample.interfaces.as_deref(), default, time),
        "fs": sample.fs.map(|fs| file_system(fs, time)),
        "runtime": sample.image_fs.map(|fs| json!({"imageFs": image_file_system(fs, time)})),
        "rlimit": sample.max_pids.map(|most| {
            json!({"time": time, "maxpid": most, "curproc": sample.measured.figures.pids})
        }),
    })
}

fn pod(sample: &PodSample, time: Timestamp) -> Value {
    let identity = &sample.pod;
    let containers: Vec<Value> =
        sample.containers.iter().map(|found| container(found, time)).collect();
    let first_interface = sample.interfaces.as_ref().and_then(|interfaces| interfaces.first());
    let default = first_interface.map_or("", |interface| &interface.name);
    let volumes = sample.volumes.iter().map(|(name, disk)| {
        let mut volume = self::disk(*disk, time);
        volume["name"] = json!(name);
        volume
    });
    json!({
        "podRef": {"name": identity.name, "namespace": identity.namespace, "uid": identity.uid},
        "startTime": sample.started_at(),
        "containers": containers,
        "cpu": cpu(&sample.measured, time),
        "memory": memory(&sample.measured, None, time),
        "network": network(sample.interfaces.as_deref(), default, time),
        "ephemeral-storage": sample.disk.map(|disk| self::disk(disk, time)),
        "volume": (!sample.volumes.is_empty()).then(|| volumes.collect::<Vec<_>>()),
        "process_stats": sample.measured.figures.processes.map(|count| json!({"process_count": count})),
    })
}

fn container(sample: &ContainerSample, time: Timestamp) -> Value {
    let limit = sample.container.resources.memory.and_then(|bytes| u64::try_from(bytes).ok());
    json!({
        "name": sample.container.name,
        "startTime": sample.container.started_at,
        "cpu": cpu(&sample.measured, time),
        "memory": memory(&sample.measured, limit, time),
        "rootfs": sample.disk.map(|disk| self::disk(disk, time)),
    })
}

fn cpu(measured: &Measured, time: Timestamp) -> Value {
    json!({
        "time": time,
        "usageNanoCores": measured.rate.map(|rate| rate.nano_cores),
        "usageCoreNanoSeconds": measured.figures.cpu_nanos,
    })
}

fn memory(measured: &Measured, limit: Option<u64>, time: Timestamp) -> Value {
    let figures = &measured.figures;
    let used = figures.memory_working_set;
    let available = limit.zip(used).map(|(limit, used)| limit.saturating_sub(used));
    json!({
        "time": time,
        "availableBytes": available,
        "usageBytes": figures.memory_usage,
        "workingSetBytes": figures.memory_working_set,
        "rssBytes": figures.memory_rss,
        "pageFaults": figures.page_faults,
        "majorPageFaults": figures.major_page_faults,
    })
}

/// The figures of the default interface, and of all.
fn network(interfaces: Option<&[Interface]>, default: &str, time: Timestamp) -> Option<Value> {
    let all: Vec<Value> = interfaces?.iter().map(interface).collect();
    let own = all.iter().find(|interface| interface["name"] == default);
    let mut network = own.cloned().unwrap_or_else(|| json!({}));
    network["time"] = json!(time);
    network["interfaces"] = json!(all);
    Some(network)
}

fn interface(interface: &Interface) -> Value {
    json!({
        "name": interface.name,
        "rxBytes": interface.received.bytes,
        "rxErrors": interface.received.errors,
        "txBytes": interface.transmitted.bytes,
        "txErrors": interface.transmitted.errors,
    })
}

fn disk(disk: Disk, time: Timestamp) -> Value {
    json!({"time": time, "usedBytes": disk.used, "capacityBytes": disk.capacity})
}

fn file_system(fs: FileSystem, time: Timestamp) -> Value {
    json!({
        "time": time,
        "availableBytes": fs.available,
        "capacityBytes": fs.capacity,
        "usedBytes": fs.used,
        "inodesFree": fs.inodes_free,
        "inodes": fs.inodes,
        "inodesUsed": fs.inodes.saturating_sub(fs.inodes_free),
    })
}

/// How many of its files are images' is not known.
fn image_file_system(fs: FileSystem, time: Timestamp) -> Value {
    let mut told = file_system(fs, time);
    told["inodesUsed"] = Value::Null;
    told
}

/// Without what is not known.
fn known(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let known_fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            let fields: Map<String, Value> =
                known_fields.map(|(name, value)| (name, known(value))).collect();
            fields.into()
        }
        Value::Array(items) => items.into_iter().map(known).collect(),
        other => other,
    }
}
