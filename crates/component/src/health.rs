//! `/healthz`, `/livez`, `/readyz` and `/metrics`.
//!
//! A program is live while it answers; it is ready when every [`Check`] it has made says so.

use std::{
    collections::BTreeMap,
    fmt,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use anyhow::Context;
use axum::{
    Router,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::{
    collector::Collector,
    registry::{Metric, Registry},
};

/// The flag of programs that serve their health.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ServeArgs {
    /// Where to serve /healthz, /livez, /readyz and /metrics
    #[arg(long, value_name = "IP:PORT")]
    pub health_address: Option<SocketAddr>,
    /// Where to serve /metrics as well, over plain HTTP, to whoever reaches it: such as an address at which a Prometheus
    /// on another host does
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_bind_address: Option<SocketAddr>,
}

impl ServeArgs {
    /// The address given, or else `default`.
    pub fn address(&self, default: &str) -> anyhow::Result<SocketAddr> {
        match self.health_address {
            Some(address) => Ok(address),
            None => default.parse().with_context(|| format!("wrong default address {default}")),
        }
    }
}

/// The conditions under which a program is ready, by name.
#[derive(Clone, Debug, Default)]
pub struct Health {
    checks: Arc<Mutex<BTreeMap<String, Result<(), String>>>>,
}

impl Health {
    /// Adds a condition, not fulfilled yet. A second one of the same name is the same condition.
    pub fn check(&self, name: &str) -> Check {
        lock(&self.checks).entry(name.to_owned()).or_insert_with(|| Err("not started".to_owned()));
        Check { health: self.clone(), name: name.to_owned() }
    }

    /// Whether every condition is fulfilled.
    pub fn is_ready(&self) -> bool {
        lock(&self.checks).values().all(Result::is_ok)
    }

    /// Kubernetes' verbose form: a line per condition.
    pub fn report(&self) -> String {
        let line = |(name, result): (&String, &Result<(), String>)| match result {
            Ok(()) => format!("[+]{name} ok\n"),
            Err(why) => format!("[-]{name} failed: {why}\n"),
        };
        lock(&self.checks).iter().map(line).collect()
    }
}

/// One condition, held by the part of the program that knows about it.
#[derive(Clone, Debug)]
pub struct Check {
    health: Health,
    name: String,
}

impl Check {
    /// The condition is fulfilled.
    pub fn ready(&self) {
        self.set(Ok(()));
    }

    /// The condition is not, or no longer, fulfilled.
    pub fn failed(&self, why: impl fmt::Display) {
        self.set(Err(why.to_string()));
    }

    fn set(&self, result: Result<(), String>) {
        lock(&self.health.checks).insert(self.name.clone(), result);
    }
}

/// The program's metrics, in Prometheus' registry.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// Adds a metric; the caller keeps a clone of it to count with.
    pub fn register(&self, name: &str, help: &str, metric: impl Metric) {
        lock(&self.registry).register(name, help, metric);
    }

    /// Adds what is asked for its metrics whenever they are encoded.
    pub fn collect(&self, collector: impl Collector) {
        lock(&self.registry).register_collector(Box::new(collector));
    }

    /// The metrics in the OpenMetrics text format.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &lock(&self.registry))?;
        Ok(text)
    }
}

impl IntoResponse for Metrics {
    fn into_response(self) -> Response {
        let format = "application/openmetrics-text; version=1.0.0; charset=utf-8";
        match self.encode() {
            Ok(text) => ([(header::CONTENT_TYPE, format)], text).into_response(),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
        }
    }
}

/// The routes; for programs that serve them next to their own.
pub fn router(health: Health, metrics: Metrics) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(serve_readiness))
        .with_state(health)
        .merge(metrics_router(metrics))
}

/// `/metrics` alone.
pub(crate) fn metrics_router(metrics: Metrics) -> Router {
    Router::new().route("/metrics", get(serve_metrics)).with_state(metrics)
}

async fn serve_readiness(State(health): State<Health>) -> Response {
    match health.is_ready() {
        true => (StatusCode::OK, health.report() + "ok").into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, health.report()).into_response(),
    }
}

async fn serve_metrics(State(metrics): State<Metrics>) -> Metrics {
    metrics
}

/// A panic while holding the lock leaves nothing half done here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_check_is() {
        let health = Health::default();
        assert!(health.is_ready());
        let (store, network) = (health.check("store"), health.check("network"));
        store.ready();
        assert!(!health.is_ready());
        network.ready();
        assert!(health.is_ready());
        store.failed("disk is full");
        assert_eq!(health.report(), "[+]network ok\n[-]store failed: disk is full\n");
        assert!(!health.is_ready());
    }

    #[test]
    fn asking_again_for_a_check_keeps_its_state() {
        let health = Health::default();
        health.check("store").ready();
        health.check("store");
        assert!(health.is_ready());
    }

    #[test]
    fn metrics_are_in_the_open_metrics_format() {
        let metrics = Metrics::default();
        let counter: prometheus_client::metrics::counter::Counter = Default::default();
        metrics.register("pods_seen", "Pods seen so far", counter.clone());
        counter.inc();
        let text = metrics.encode().unwrap();
        assert!(text.contains("pods_seen_total 1"), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
