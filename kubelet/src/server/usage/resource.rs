//! `/metrics/resource`: what `kubectl top` and autoscalers are told of, by Kubernetes' names. Pure.

use std::collections::BTreeMap;

use super::families::{Family, float, moment, seconds};
use crate::usage::{
    figures::Figures,
    sample::{ContainerSample, PodSample, Sample},
};

/// The metrics; without a sample, that there is none.
pub(super) fn families(sample: Option<&Sample>) -> Vec<Family> {
    let failed = if sample.is_some() { 0.0 } else { 1.0 };
    let error = Family::gauge(
        "resource_scrape_error",
        "1 if there was an error while getting container metrics, 0 otherwise",
    );
    let own = sample.map(|sample| [node(sample), containers(sample), pods(sample)]);
    own.into_iter().flatten().flatten().chain([error.with(&[], Some(failed))]).collect()
}

fn node(sample: &Sample) -> Vec<Family> {
    let figures = &sample.node.measured.figures;
    vec![
        Family::counter(
            "node_cpu_usage_seconds",
            "Cumulative cpu time consumed by the node in core-seconds",
        )
        .with(&[], cpu(figures)),
        Family::gauge("node_memory_working_set_bytes", "Current working set of the node in bytes")
            .with(&[], memory(figures)),
    ]
}

fn containers(sample: &Sample) -> Vec<Family> {
    let mut cpu_time = Family::counter(
        "container_cpu_usage_seconds",
        "Cumulative cpu time consumed by the container in core-seconds",
    );
    let mut working_set = Family::gauge(
        "container_memory_working_set_bytes",
        "Current working set of the container in bytes",
    );
    let mut start = Family::gauge(
        "container_start_time_seconds",
        "Start time of the container since unix epoch in seconds",
    );
    for (pod, found) in of_pods(sample) {
        let labels = || {
            let name = found.container.name.clone();
            vec![
                ("container", name),
                ("namespace", pod.pod.namespace.clone()),
                ("pod", pod.pod.name.clone()),
            ]
        };
        cpu_time.add(labels(), cpu(&found.measured.figures));
        working_set.add(labels(), memory(&found.measured.figures));
        start.add(labels(), Some(moment(found.container.started_at)));
    }
    vec![cpu_time, working_set, start]
}

fn pods(sample: &Sample) -> Vec<Family> {
    let mut cpu_time = Family::counter(
        "pod_cpu_usage_seconds",
        "Cumulative cpu time consumed by the pod in core-seconds",
    );
    let mut working_set =
        Family::gauge("pod_memory_working_set_bytes", "Current working set of the pod in bytes");
    for pod in newest(sample).into_values() {
        let labels =
            || vec![("namespace", pod.pod.namespace.clone()), ("pod", pod.pod.name.clone())];
        cpu_time.add(labels(), cpu(&pod.measured.figures));
        working_set.add(labels(), memory(&pod.measured.figures));
    }
    vec![cpu_time, working_set]
}

fn of_pods(sample: &Sample) -> impl Iterator<Item = (&PodSample, &ContainerSample)> {
    let pods = newest(sample).into_values();
    pods.flat_map(|pod| pod.containers.iter().map(move |found| (pod, found)))
}

/// Of pods of one name the one that was started last: the others were deleted by force, and are ending still.
fn newest(sample: &Sample) -> BTreeMap<(&str, &str), &PodSample> {
    let mut pods: Vec<&PodSample> = sample.pods.iter().collect();
    pods.sort_by_key(|pod| pod.started_at());
    pods.into_iter().map(|pod| ((&*pod.pod.namespace, &*pod.pod.name), pod)).collect()
}

fn cpu(figures: &Figures) -> Option<f64> {
    figures.cpu_nanos.map(seconds)
}

fn memory(figures: &Figures) -> Option<f64> {
    figures.memory_working_set.map(float)
}
