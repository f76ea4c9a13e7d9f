//! What the kubelet counts.

use prometheus_client::metrics::{counter::Counter, family::Family};

/// The metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    lost_tasks: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// Makes them and has them served.
    pub fn register(registry: &component::Metrics) -> Self {
        let metrics = Self::default();
        let help = "Tasks that panicked and began anew";
        registry.register("kubelet_tasks_lost", help, metrics.lost_tasks.clone());
        metrics
    }

    /// Of tasks of that kind, those that panicked.
    pub(crate) fn lost_tasks(&self, task: &'static str) -> Counter {
        self.lost_tasks.get_or_create(&[("task", task)]).clone()
    }
}
