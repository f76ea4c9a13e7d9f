//! What is counted of every controller's queue: Kubernetes' `workqueue_*` metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::working::{AllWorking, Working, WorkingSeconds};

/// The label `name`: the controller's.
type Name = [(&'static str, &'static str); 1];

/// The metrics of all queues.
#[derive(Clone, Debug)]
pub struct Metrics {
    depth: Family<Name, Gauge>,
    adds: Family<Name, Counter>,
    retries: Family<Name, Counter>,
    queue_duration: Family<Name, Histogram>,
    work_duration: Family<Name, Histogram>,
    working: AllWorking,
}

/// The metrics of one queue.
#[derive(Clone, Debug)]
pub(super) struct QueueMetrics {
    pub(super) depth: Gauge,
    pub(super) adds: Counter,
    pub(super) retries: Counter,
    /// How long keys wait for a worker.
    pub(super) queue_duration: Histogram,
    /// How long workers look at a key.
    pub(super) work_duration: Histogram,
}

/// Kubernetes' buckets.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(1e-8, 10.0, 12))
}

impl Metrics {
    /// Makes them and has them served.
    #[must_use]
    pub fn register(registry: &component::Metrics) -> Self {
        let metrics = Self {
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            queue_duration: Family::new_with_constructor(seconds),
            work_duration: Family::new_with_constructor(seconds),
            working: AllWorking::default(),
        };
        registry.register("workqueue_depth", "Keys that wait for a worker", metrics.depth.clone());
        registry.register("workqueue_adds", "Keys that were added", metrics.adds.clone());
        registry.register("workqueue_retries", "Looks that failed", metrics.retries.clone());
        let help = "How long a key waited for a worker";
        registry.register("workqueue_queue_duration_seconds", help, metrics.queue_duration.clone());
        let help = "How long a worker looked at a key";
        registry.register("workqueue_work_duration_seconds", help, metrics.work_duration.clone());
        metrics.register_working(registry);
        metrics
    }

    /// Large values mean looks that hang.
    fn register_working(&self, registry: &component::Metrics) {
        let all = || self.working.clone();
        let sum =
            WorkingSeconds { all: all(), of: |seconds| seconds.fold(0.0, |sum, one| sum + one) };
        let help = "How long workers have looked at keys that they are not done with, in sum";
        registry.register("workqueue_unfinished_work_seconds", help, sum);
        let longest = WorkingSeconds { all: all(), of: |seconds| seconds.fold(0.0, f64::max) };
        let help = "How long the worker has looked at its key that has done so for longest";
        registry.register("workqueue_longest_running_processor_seconds", help, longest);
    }

    /// Those of the queue with this name, whose workers look at these keys.
    pub(super) fn of(&self, name: &'static str, working: &Working) -> QueueMetrics {
        self.working.set(name, working);
        let name = [("name", name)];
        QueueMetrics {
            depth: self.depth.get_or_create_owned(&name),
            adds: self.adds.get_or_create_owned(&name),
            retries: self.retries.get_or_create_owned(&name),
            queue_duration: self.queue_duration.get_or_create_owned(&name),
            work_duration: self.work_duration.get_or_create_owned(&name),
        }
    }
}

/// Served nowhere.
impl Default for QueueMetrics {
    fn default() -> Self {
        Self {
            depth: Gauge::default(),
            adds: Counter::default(),
            retries: Counter::default(),
            queue_duration: seconds(),
            work_duration: seconds(),
        }
    }
}
