//! `/metrics/cadvisor`: by cAdvisor's names and labels, so that what is made for it works. Pure.
//!
//! The host is `id="/"`. A pod as a whole has neither `container` nor `image` nor `name`; its sandbox is
//! `container="POD"`, and the sandbox's network is the pod's.

mod disk;
mod network;
mod subject;

use self::subject::{Subject, each, subjects};
use super::families::{Family, float, moment, seconds};
use crate::{
    runtime::Resources,
    usage::{
        details::{Detailed, Details, Machine},
        figures::Figures,
        sample::Sample,
    },
};

/// Microseconds over which a quota holds.
const PERIOD: f64 = 100_000.0;

/// The metrics.
pub(super) fn families(sample: &Sample, detailed: &Detailed, cpus: usize) -> Vec<Family> {
    let subjects = subjects(sample, detailed);
    let failed = "1 if there was an error while getting container metrics, 0 otherwise";
    let failed = Family::gauge("container_scrape_error", failed).with(&[], Some(0.0));
    processor(&subjects)
        .into_iter()
        .chain(memory(&subjects))
        .chain(life(&subjects, moment(sample.timestamp)))
        .chain(network::network(&subjects))
        .chain(disk::families(&subjects, sample.node.fs, &detailed.devices))
        .chain(specs(&subjects))
        .chain(machine(&detailed.machine, sample.node.memory.total, cpus))
        .chain([failed])
        .collect()
}

/// Throttling is told of who has a limit.
fn processor(subjects: &[Subject<'_>]) -> Vec<Family> {
    let mut total =
        Family::counter("container_cpu_usage_seconds", "Cumulative cpu time consumed in seconds.");
    for subject in subjects {
        let nanos = subject.figures.cpu_nanos;
        total.add(subject.labels_and([("cpu", "total")]), nanos.map(seconds));
    }
    type Of = fn(&Details) -> Option<u64>;
    let time = |name, help, of: Of| {
        let of = |subject: &Subject<'_>| of(subject.details?).map(seconds);
        each(Family::counter(name, help), subjects, of)
    };
    let limited = |name, help, of: Of, unit: fn(u64) -> f64| {
        each(Family::counter(name, help), subjects, |subject| {
            subject.resources?.cpu_quota?;
            of(subject.details?).map(unit)
        })
    };
    vec![
        total,
        time("container_cpu_user_seconds", "Cumulative user cpu time consumed in seconds.", |of| {
            of.user_nanos
        }),
        time(
            "container_cpu_system_seconds",
            "Cumulative system cpu time consumed in seconds.",
            |of| of.system_nanos,
        ),
        limited(
            "container_cpu_cfs_periods",
            "Number of elapsed enforcement period intervals.",
            |of| of.periods,
            float,
        ),
        limited(
            "container_cpu_cfs_throttled_periods",
            "Number of throttled period intervals.",
            |of| of.throttled_periods,
            float,
        ),
        limited(
            "container_cpu_cfs_throttled_seconds",
            "Total time duration the container has been throttled.",
            |of| of.throttled_nanos,
            seconds,
        ),
    ]
}

fn memory(subjects: &[Subject<'_>]) -> Vec<Family> {
    let bytes = |name, help, of: fn(&Figures) -> Option<u64>| {
        each(Family::gauge(name, help), subjects, |subject| of(subject.figures).map(float))
    };
    let more = |family: Family, of: fn(&Details) -> Option<u64>| {
        each(family, subjects, |subject| of(subject.details?).map(float))
    };
    let mut faults = Family::counter(
        "container_memory_failures",
        "Cumulative count of memory allocation failures.",
    );
    for subject in subjects {
        for (kind, count) in [
            ("pgfault", subject.figures.page_faults),
            ("pgmajfault", subject.figures.major_page_faults),
        ] {
            for scope in ["container", "hierarchy"] {
                let labels = subject.labels_and([("failure_type", kind), ("scope", scope)]);
                faults.add(labels, count.map(float));
            }
        }
    }
    let usage =
        "Current memory usage in bytes, including all memory regardless of when it was accessed";
    let gauge = Family::gauge;
    vec![
        bytes("container_memory_usage_bytes", usage, |of| of.memory_usage),
        bytes("container_memory_working_set_bytes", "Current working set in bytes.", |of| {
            of.memory_working_set
        }),
        bytes("container_memory_rss", "Size of RSS in bytes.", |of| of.memory_rss),
        bytes("container_memory_cache", "Number of bytes of page cache memory.", |of| {
            of.memory_cache
        }),
        more(gauge("container_memory_swap", "Container swap usage in bytes."), |of| of.swap),
        more(
            gauge("container_memory_mapped_file", "Size of memory mapped files in bytes."),
            |of| of.mapped_file,
        ),
        more(
            gauge("container_memory_max_usage_bytes", "Maximum memory usage recorded in bytes"),
            |of| of.max_usage,
        ),
        more(
            // cAdvisor's counter has no _total.
            gauge("container_memory_failcnt", "Number of memory usage hits limits"),
            |of| of.limit_hits,
        ),
        more(
            Family::counter(
                "container_oom_events",
                "Count of out of memory events observed for the container",
            ),
            |of| of.oom_kills,
        ),
        faults,
        bytes("container_processes", "Number of processes running inside the container.", |of| {
            of.processes
        }),
        bytes("container_threads", "Number of threads running inside the container", |of| of.pids),
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

/// A limit of memory that there is not is told as zero.
fn specs(subjects: &[Subject<'_>]) -> [Family; 4] {
    let of = |name, help, value: fn(Resources) -> Option<i64>| {
        each(Family::gauge(name, help), subjects, |subject| {
            u64::try_from(value(subject.resources?)?).ok().map(float)
        })
    };
    let period = Family::gauge("container_spec_cpu_period", "CPU period of the container.");
    [
        each(period, subjects, |subject| subject.resources.map(|_| PERIOD)),
        of("container_spec_cpu_quota", "CPU quota of the container.", |spec| spec.cpu_quota),
        of("container_spec_cpu_shares", "CPU share of the container.", |spec| spec.cpu_shares),
        of("container_spec_memory_limit_bytes", "Memory limit for the container.", |spec| {
            Some(spec.memory.unwrap_or_default())
        }),
    ]
}

fn machine(machine: &Machine, memory: u64, cpus: usize) -> Vec<Family> {
    let memory = (memory > 0).then_some(memory);
    [
        ("machine_cpu_cores", "Number of logical CPU cores.", u64::try_from(cpus).ok()),
        ("machine_cpu_physical_cores", "Number of physical CPU cores.", machine.cores),
        ("machine_cpu_sockets", "Number of CPU sockets.", machine.sockets),
        ("machine_memory_bytes", "Amount of memory installed on the machine.", memory),
        ("machine_swap_bytes", "Amount of swap memory available on the machine.", machine.swap),
    ]
    .map(|(name, help, value)| Family::gauge(name, help).with(&[], value.map(float)))
    .into()
}
