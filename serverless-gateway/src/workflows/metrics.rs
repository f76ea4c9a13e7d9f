//! What this gateway counts of runs. Their workflows are no labels: anybody can make up names.

use api_types::minik8s::{RunPhase, WorkflowRunStatus};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};

/// The metrics. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Metrics {
    ended: Family<Phase, Counter>,
    steps: Family<Ended, Counter>,
    durations: Histogram,
    running: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Ended {
    result: &'static str,
}

/// A run that this gateway has taken, for as long as it lives.
#[derive(Debug)]
pub(super) struct Running(Gauge);

impl Metrics {
    pub(super) fn register(registry: &component::Metrics) -> Self {
        let metrics = Self {
            ended: Family::default(),
            steps: Family::default(),
            durations: Histogram::new(exponential_buckets(0.005, 2.0, 20)),
            running: Gauge::default(),
        };
        let of = metrics.clone();
        registry.register("workflow_runs", "Runs that this gateway brought to their end", of.ended);
        registry.register("workflow_steps", "Steps whose results were stored", of.steps);
        let help = "How long runs took, from when the first gateway took them to their end";
        registry.register("workflow_run_duration_seconds", help, of.durations);
        registry.register("workflow_runs_running", "Runs that this gateway drives", of.running);
        metrics
    }

    pub(super) fn running(&self) -> Running {
        self.running.inc();
        Running(self.running.clone())
    }

    /// This is stored, of a run that had so many steps before.
    pub(super) fn stored(&self, status: &WorkflowRunStatus, steps_before: usize) {
        for step in status.steps.iter().rev().take(steps(status) - steps_before) {
            let result = if step.output.is_some() { "succeeded" } else { "failed" };
            self.steps.get_or_create(&Ended { result }).inc();
        }
        if status.phase.has_ended() {
            self.end(status.phase, seconds(status));
        }
    }

    fn end(&self, phase: RunPhase, seconds: Option<f64>) {
        self.ended.get_or_create(&Phase { phase: format!("{phase:?}") }).inc();
        seconds.into_iter().for_each(|seconds| self.durations.observe(seconds));
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// How many have ended, those that history has forgotten too.
pub(super) fn steps(status: &WorkflowRunStatus) -> usize {
    status.steps.len() + usize::try_from(status.steps_dropped).unwrap_or_default()
}

fn seconds(status: &WorkflowRunStatus) -> Option<f64> {
    let (begin, end) = (status.start_time.as_ref()?, status.completion_time.as_ref()?);
    Some(end.0.duration_since(begin.0).as_secs_f64())
}
