//! `/metrics/cadvisor`: by cAdvisor's names and labels, so that what is made for it works. Pure.
//!
//! The host is `id="/"`. A pod's sandbox has an image and no container's name; its network is the pod's.

use api_types::jiff::Timestamp;

use super::families::{Family, Labels, float, moment, seconds};
use crate::{
    runtime::{PodIdentity, Resources, labels::container_name},
    usage::{
        disks::Disk,
        figures::Figures,
        proc::{Interface, Traffic},
        sample::{ContainerSample, PodSample, Sample},
    },
};

/// Microseconds over which a quota holds.
const PERIOD: f64 = 100_000.0;

/// Something that is measured.
struct Subject<'a> {
    labels: Labels,
    started_at: Option<Timestamp>,
    /// Whether its processes are there.
    seen: bool,
    figures: &'a Figures,
    interfaces: &'a [Interface],
    disk: Option<Disk>,
    /// `None` of the host.
    resources: Option<Resources>,
}

impl Subject<'_> {
    /// The labels with another one.
    fn labels_and(&self, name: &'static str, value: &str) -> Labels {
        let mut labels = self.labels.clone();
        labels.push((name, value.to_owned()));
        labels.sort_unstable();
        labels
    }
}

/// The metrics.
pub(super) fn families(sample: &Sample, cpus: usize) -> Vec<Family> {
    let subjects = subjects(sample);
    let machine = [
        Family::gauge("machine_cpu_cores", "Number of logical CPU cores.")
            .with(&[], u32::try_from(cpus).ok().map(f64::from)),
        Family::gauge("machine_memory_bytes", "Amount of memory installed on the machine.")
            .with(&[], (sample.node.memory.total > 0).then(|| float(sample.node.memory.total))),
    ];
    let seen = moment(sample.timestamp);
    processor_and_memory(&subjects)
        .into_iter()
        .chain(life(&subjects, seen))
        .chain(network(&subjects))
        .chain(disk(&subjects))
        .chain(specs(&subjects))
        .chain(machine)
        .collect()
}

// === Who is measured ===

fn subjects(sample: &Sample) -> Vec<Subject<'_>> {
    let host = Subject {
        labels: labels("", "/", "", "", &PodIdentity::default()),
        started_at: sample.node.started_at,
        seen: true,
        figures: &sample.node.measured.figures,
        interfaces: sample.node.interfaces.as_deref().unwrap_or_default(),
        disk: sample.node.fs.map(|fs| Disk { used: fs.used, capacity: fs.capacity }),
        resources: None,
    };
    let pods = sample.pods.iter().flat_map(|pod| {
        let sandbox = pod.sandbox.as_ref().map(|found| Subject {
            interfaces: pod.interfaces.as_deref().unwrap_or_default(),
            ..subject(pod, found, "")
        });
        let containers =
            pod.containers.iter().map(|found| subject(pod, found, &found.container.name));
        sandbox.into_iter().chain(containers)
    });
    [host].into_iter().chain(pods).collect()
}

fn subject<'a>(pod: &PodSample, found: &'a ContainerSample, name: &str) -> Subject<'a> {
    let container = &found.container;
    let runtime_name = container_name(&pod.pod, &container.name, container.attempt);
    let id = found.group.clone().unwrap_or_else(|| format!("/docker/{}", container.id));
    Subject {
        labels: labels(name, &id, &container.image, &runtime_name, &pod.pod),
        started_at: Some(container.started_at),
        seen: found.group.is_some(),
        figures: &found.measured.figures,
        interfaces: &[],
        disk: found.disk,
        resources: Some(container.resources),
    }
}

fn labels(container: &str, id: &str, image: &str, name: &str, pod: &PodIdentity) -> Labels {
    let labels = [
        ("container", container),
        ("id", id),
        ("image", image),
        ("name", name),
        ("namespace", &pod.namespace),
        ("pod", &pod.name),
    ];
    labels.map(|(name, value)| (name, value.to_owned())).to_vec()
}

// === What is told of them ===

fn each(
    mut family: Family,
    subjects: &[Subject<'_>],
    value: impl Fn(&Subject<'_>) -> Option<f64>,
) -> Family {
    subjects.iter().for_each(|subject| family.add(subject.labels.clone(), value(subject)));
    family
}

fn processor_and_memory(subjects: &[Subject<'_>]) -> Vec<Family> {
    let bytes = |name, help, of: fn(&Figures) -> Option<u64>| {
        each(Family::gauge(name, help), subjects, |subject| of(subject.figures).map(float))
    };
    let mut cpu =
        Family::counter("container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds.");
    let mut faults = Family::counter(
        "container_memory_failures",
        "Cumulative count of memory allocation failures.",
    );
    for subject in subjects {
        cpu.add(subject.labels_and("cpu", "total"), subject.figures.cpu_nanos.map(seconds));
        for (kind, count) in [
            ("pgfault", subject.figures.page_faults),
            ("pgmajfault", subject.figures.major_page_faults),
        ] {
            let mut labels = subject.labels_and("failure_type", kind);
            labels.push(("scope", "container".to_owned()));
            faults.add(labels, count.map(float));
        }
    }
    vec![
        cpu,
        bytes(
            "container_memory_usage_bytes",
            "Current memory usage in bytes, including all memory regardless of when it was accessed",
            |figures| figures.memory_usage,
        ),
        bytes("container_memory_working_set_bytes", "Current working set in bytes.", |figures| {
            figures.memory_working_set
        }),
        bytes("container_memory_rss", "Size of RSS in bytes.", |figures| figures.memory_rss),
        bytes("container_memory_cache", "Number of bytes of page cache memory.", |figures| {
            figures.memory_cache
        }),
        faults,
        bytes(
            "container_processes",
            "Number of processes running inside the container.",
            |figures| figures.processes,
        ),
        bytes("container_threads", "Number of threads running inside the container", |figures| {
            figures.pids
        }),
    ]
}

fn life(subjects: &[Subject<'_>], seen: f64) -> [Family; 2] {
    let last_seen =
        Family::gauge("container_last_seen", "Last time a container was seen by the exporter");
    let start = Family::gauge(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds.",
    );
    [
        each(last_seen, subjects, |subject| subject.seen.then_some(seen)),
        each(start, subjects, |subject| subject.started_at.map(moment)),
    ]
}

fn network(subjects: &[Subject<'_>]) -> Vec<Family> {
    type Of = fn(&Traffic) -> u64;
    let figures: [(_, _, _, _, Of); 4] = [
        (
            "container_network_receive_bytes",
            "Cumulative count of bytes received",
            "container_network_transmit_bytes",
            "Cumulative count of bytes transmitted",
            |traffic| traffic.bytes,
        ),
        (
            "container_network_receive_packets",
            "Cumulative count of packets received",
            "container_network_transmit_packets",
            "Cumulative count of packets transmitted",
            |traffic| traffic.packets,
        ),
        (
            "container_network_receive_errors",
            "Cumulative count of errors encountered while receiving",
            "container_network_transmit_errors",
            "Cumulative count of errors encountered while transmitting",
            |traffic| traffic.errors,
        ),
        (
            "container_network_receive_packets_dropped",
            "Cumulative count of packets dropped while receiving",
            "container_network_transmit_packets_dropped",
            "Cumulative count of packets dropped while transmitting",
            |traffic| traffic.dropped,
        ),
    ];
    let both = figures.map(|(received, came, transmitted, went, of)| {
        let (mut receive, mut transmit) =
            (Family::counter(received, came), Family::counter(transmitted, went));
        for (subject, interface) in interfaces(subjects) {
            let labels = subject.labels_and("interface", &interface.name);
            receive.add(labels.clone(), Some(float(of(&interface.received))));
            transmit.add(labels, Some(float(of(&interface.transmitted))));
        }
        [receive, transmit]
    });
    both.into_iter().flatten().collect()
}

fn interfaces<'a>(
    subjects: &'a [Subject<'a>],
) -> impl Iterator<Item = (&'a Subject<'a>, &'a Interface)> {
    subjects.iter().flat_map(|subject| subject.interfaces.iter().map(move |found| (subject, found)))
}

fn disk(subjects: &[Subject<'_>]) -> [Family; 2] {
    let usage = Family::gauge(
        "container_fs_usage_bytes",
        "Number of bytes that are consumed by the container on this filesystem.",
    );
    let limit = Family::gauge(
        "container_fs_limit_bytes",
        "Number of bytes that can be consumed by the container on this filesystem.",
    );
    [
        each(usage, subjects, |subject| subject.disk.map(|disk| float(disk.used))),
        each(limit, subjects, |subject| subject.disk.map(|disk| float(disk.capacity))),
    ]
}

/// Only a limit of memory is told if there is none: as zero.
fn specs(subjects: &[Subject<'_>]) -> [Family; 4] {
    let of = |name, help, value: fn(Resources) -> Option<i64>| {
        each(Family::gauge(name, help), subjects, |subject| {
            u64::try_from(value(subject.resources?)?).ok().map(float)
        })
    };
    let period = Family::gauge("container_spec_cpu_period", "CPU period of the container.");
    let limited = |subject: &Subject<'_>| subject.resources?.cpu_quota.map(|_| PERIOD);
    [
        each(period, subjects, limited),
        of("container_spec_cpu_quota", "CPU quota of the container.", |spec| spec.cpu_quota),
        of("container_spec_cpu_shares", "CPU share of the container.", |spec| spec.cpu_shares),
        of("container_spec_memory_limit_bytes", "Memory limit for the container.", |spec| {
            Some(spec.memory.unwrap_or_default())
        }),
    ]
}
