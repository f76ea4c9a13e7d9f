//! What the server counts about itself, as `/metrics` shows it. The names are Kubernetes'.

use std::{sync::atomic::AtomicI64, time::Duration};

use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::request::{RequestInfo, Target};

const SECONDS: [f64; 12] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: String,
    resource: String,
    subresource: &'static str,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerbLabels {
    verb: &'static str,
    group: String,
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceLabels {
    resource: String,
}

type Durations = Family<VerbLabels, Histogram, fn() -> Histogram>;

/// The server's counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    durations: Durations,
    watchers: Family<ResourceLabels, Gauge>,
}

/// Counts a watcher for as long as it lives.
#[derive(Debug)]
pub(crate) struct Watching(Gauge<i64, AtomicI64>);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// All counters at zero.
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = Durations::new_with_constructor(|| Histogram::new(SECONDS));
        let watchers = Family::default();
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and code",
            requests.clone(),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until the answer began",
            durations.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Open watches", watchers.clone());
        Self { registry, requests, durations, watchers }
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, target: Option<&Target>, code: u16, took: Duration) {
        let (verb, group, resource, subresource) = match target {
            Some(Target::Resource(info)) => labels(info),
            Some(Target::NonResource(_)) => ("get", "", "", ""),
            None => ("", "", "", ""),
        };
        let (group, resource) = (group.to_owned(), resource.to_owned());
        let labels = VerbLabels { verb, group: group.clone(), resource: resource.clone() };
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests
            .get_or_create(&RequestLabels { verb, group, resource, subresource, code })
            .inc();
    }

    /// Counts a watcher.
    pub(crate) fn watching(&self, resource: &str) -> Watching {
        let labels = ResourceLabels { resource: resource.to_owned() };
        let gauge = self.watchers.get_or_create(&labels).clone();
        gauge.inc();
        Watching(gauge)
    }

    /// The counters in the text format of `OpenMetrics`.
    pub(crate) fn text(&self) -> String {
        let mut encoded = String::new();
        // Writing to a string doesn't fail.
        let _ = text::encode(&mut encoded, &self.registry);
        encoded
    }
}

fn labels(info: &RequestInfo) -> (&'static str, &str, &str, &'static str) {
    let names = &info.def.names;
    let subresource = info.subresource.map_or("", |s| s.name());
    (info.verb.as_str(), &names.group, &names.plural, subresource)
}
