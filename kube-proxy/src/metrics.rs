//! What kube-proxy counts.

use std::{sync::atomic::AtomicU64, time::UNIX_EPOCH};

use prometheus_client::metrics::{
    counter::Counter,
    gauge::Gauge,
    histogram::{Histogram, exponential_buckets},
};

use crate::reconciler::Summary;

/// The metrics, named as Kubernetes names them where it has them.
#[derive(Clone, Debug)]
pub struct Metrics {
    services: Gauge,
    failed_services: Gauge,
    created: Counter,
    restarted: Counter,
    reloaded: Counter,
    workers_ended: Counter,
    /// How long a pass takes.
    pub(crate) duration: Histogram,
    last: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// Makes them and has them served.
    pub fn register(registry: &component::Metrics) -> Self {
        let metrics = Metrics {
            services: Gauge::default(),
            failed_services: Gauge::default(),
            created: Counter::default(),
            restarted: Counter::default(),
            reloaded: Counter::default(),
            workers_ended: Counter::default(),
            duration: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
            last: Gauge::default(),
        };
        metrics.clone().serve(registry);
        metrics
    }

    fn serve(self, registry: &component::Metrics) {
        let Metrics { services, failed_services, created, restarted, reloaded, .. } = self;
        let add = |name, help, metric| registry.register(name, help, metric);
        add("kubeproxy_nginx_created", "Containers made", created);
        add("kubeproxy_nginx_restarted", "Containers that had ended and were started", restarted);
        add("kubeproxy_nginx_reloads", "Times that an nginx was told to reload", reloaded);
        let help = "Workers of earlier configurations ended with their connections, being too many";
        add("kubeproxy_nginx_workers_ended", help, self.workers_ended);
        registry.register("kubeproxy_services", "Services with a virtual IP", services);
        let help = "Services that could not be brought up to date in the last pass";
        registry.register("kubeproxy_services_failed", help, failed_services);
        let help = "Time taken by a pass over the Services that may have changed";
        registry.register("kubeproxy_sync_proxy_rules_duration_seconds", help, self.duration);
        let help = "When the last pass ended, in seconds since 1970";
        registry.register("kubeproxy_sync_proxy_rules_last_timestamp_seconds", help, self.last);
    }

    /// Takes in what a pass did.
    pub(crate) fn record(&self, summary: &Summary) {
        self.last.set(UNIX_EPOCH.elapsed().unwrap_or_default().as_secs_f64());
        self.services.set(count(summary.wanted));
        self.failed_services.set(count(summary.failed.len()));
        for (counter, done) in [
            (&self.created, summary.created),
            (&self.restarted, summary.restarted),
            (&self.reloaded, summary.reloaded),
            (&self.workers_ended, summary.workers_ended),
        ] {
            counter.inc_by(done.try_into().unwrap_or(u64::MAX));
        }
    }
}

pub(crate) fn count(number: usize) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
