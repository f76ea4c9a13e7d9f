//! What the kubelet counts.

use prometheus_client::metrics::counter::Counter;

/// The metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    /// Workers of pods that panicked.
    pub lost_workers: Counter,
}

impl Metrics {
    /// Makes them and has them served.
    pub fn register(registry: &component::Metrics) -> Self {
        let metrics = Self::default();
        let help = "Workers of pods that failed and were followed by another";
        registry.register("kubelet_pod_workers_lost", help, metrics.lost_workers.clone());
        metrics
    }
}
