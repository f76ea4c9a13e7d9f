//! What the scheduler counts, by Kubernetes' names (`pkg/scheduler/metrics`).

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use tokio::time::Instant;

use crate::binder::Outcome;
use crate::queue::{Pending, Waited};

/// The labels `result` and `profile`.
type Attempt = [(&'static str, &'static str); 2];
/// The label `attempts`.
type Attempts = [(&'static str, String); 1];
/// The label `queue`.
type Queue = [(&'static str, &'static str); 1];

/// There is no other.
const PROFILE: &str = "default-scheduler";
const UNSCHEDULABLE: &str = "unschedulable";

/// The metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    attempts: Family<Attempt, Counter>,
    attempt_duration: Family<Attempt, Histogram>,
    sli_duration: Family<Attempts, Histogram>,
    pending: Family<Queue, Gauge>,
}

impl Metrics {
    /// Makes them and has them served.
    #[must_use]
    pub fn register(registry: &component::Metrics) -> Self {
        let metrics = Self {
            attempts: Family::default(),
            attempt_duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 15))
            }),
            sli_duration: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.01, 2.0, 20))
            }),
            pending: Family::default(),
        };
        let help = "Attempts to schedule a pod, by how they ended";
        registry.register("scheduler_schedule_attempts", help, metrics.attempts.clone());
        let help = "Time taken by an attempt, with the binding";
        let name = "scheduler_scheduling_attempt_duration_seconds";
        registry.register(name, help, metrics.attempt_duration.clone());
        let help = "Time from a pod's first place in the queue until it is bound";
        let name = "scheduler_pod_scheduling_sli_duration_seconds";
        registry.register(name, help, metrics.sli_duration.clone());
        let help = "Pods that wait, by what they wait for";
        registry.register("scheduler_pending_pods", help, metrics.pending.clone());
        metrics
    }

    /// The gauges of a queue.
    pub(crate) fn pending(&self) -> Pending {
        let of = |queue| self.pending.get_or_create_owned(&[("queue", queue)]);
        Pending {
            active: of("active"),
            backing_off: of("backoff"),
            unschedulable: of(UNSCHEDULABLE),
        }
    }

    /// Counts an attempt that has found no node.
    pub(crate) fn unschedulable(&self, begun: Instant) {
        self.attempted(UNSCHEDULABLE, begun);
    }

    /// Counts an attempt that has found a node, when its binding has ended.
    pub(crate) fn binding_ended(&self, outcome: &Outcome, begun: Instant, waited: Option<Waited>) {
        let Outcome::Bound(_) = outcome else { return self.attempted("error", begun) };
        self.attempted("scheduled", begun);
        if let Some(Waited { attempts, since }) = waited {
            // Kubernetes': beyond that they are one.
            let attempts = if attempts < 16 { attempts.to_string() } else { "16+".to_owned() };
            let sli = self.sli_duration.get_or_create(&[("attempts", attempts)]);
            sli.observe(since.elapsed().as_secs_f64());
        }
    }

    fn attempted(&self, result: &'static str, begun: Instant) {
        let labels = [("result", result), ("profile", PROFILE)];
        self.attempts.get_or_create(&labels).inc();
        self.attempt_duration.get_or_create(&labels).observe(begun.elapsed().as_secs_f64());
    }
}
