//! What the kubelet counts. The names are Kubernetes'.

use std::time::Duration;

use prometheus_client::metrics::{
    counter::Counter,
    family::Family,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

type Label = [(&'static str, &'static str); 1];
type Durations = Family<Label, Histogram, fn() -> Histogram>;

/// The metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    lost_tasks: Family<Label, Counter>,
    operations: Family<Label, Counter>,
    operation_errors: Family<Label, Counter>,
    operation_durations: Durations,
    pod_worker: Durations,
    /// From when a pod is first seen until it runs.
    pub(crate) pod_start: Histogram,
    /// Of lists of all containers.
    pub(crate) relist: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let durations = || Durations::new_with_constructor(short);
        Self {
            lost_tasks: Family::default(),
            operations: Family::default(),
            operation_errors: Family::default(),
            operation_durations: durations(),
            pod_worker: durations(),
            pod_start: Histogram::new(exponential_buckets(0.125, 2.0, 12)),
            relist: short(),
        }
    }
}

/// From 5 ms to 20 s.
fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.005, 2.0, 13))
}

impl Metrics {
    /// Has them served.
    pub fn register(&self, registry: &component::Metrics, node: &str) {
        let named = Family::<[(&str, String); 1], Gauge>::default();
        named.get_or_create(&[("node", node.to_owned())]).set(1);
        registry.register("kubelet_node_name", "The node's name; the count is always 1", named);
        let help = "Tasks that panicked and began anew";
        registry.register("kubelet_tasks_lost", help, self.lost_tasks.clone());
        let help = "Duration in seconds from kubelet seeing a pod for the first time to the pod starting to run";
        registry.register("kubelet_pod_start_duration_seconds", help, self.pod_start.clone());
        let help =
            "Duration in seconds to sync a single pod, by operation type: create, sync or kill";
        registry.register("kubelet_pod_worker_duration_seconds", help, self.pod_worker.clone());
        let help = "Duration in seconds for relisting pods in PLEG";
        registry.register("kubelet_pleg_relist_duration_seconds", help, self.relist.clone());
        let help = "Cumulative number of runtime operations by operation type";
        registry.register("kubelet_runtime_operations", help, self.operations.clone());
        let help = "Cumulative number of runtime operation errors by operation type";
        registry.register("kubelet_runtime_operations_errors", help, self.operation_errors.clone());
        let help = "Duration in seconds of runtime operations, by operation type";
        let durations = self.operation_durations.clone();
        registry.register("kubelet_runtime_operations_duration_seconds", help, durations);
    }

    /// Of tasks of that kind, those that panicked.
    pub(crate) fn lost_tasks(&self, task: &'static str) -> Counter {
        self.lost_tasks.get_or_create(&[("task", task)]).clone()
    }

    /// A worker has looked at its pod.
    pub(crate) fn pod_synced(&self, operation: &'static str, took: Duration) {
        self.pod_worker.get_or_create(&[("operation_type", operation)]).observe(took.as_secs_f64());
    }

    /// The runtime is asked for something.
    pub(crate) fn operation_begun(&self, operation: &'static str) {
        self.operations.get_or_create(&[("operation_type", operation)]).inc();
    }

    /// The runtime has answered.
    pub(crate) fn operation_ended(&self, operation: &'static str, took: Duration, well: bool) {
        let label = [("operation_type", operation)];
        self.operation_durations.get_or_create(&label).observe(took.as_secs_f64());
        if !well {
            self.operation_errors.get_or_create(&label).inc();
        }
    }
}
