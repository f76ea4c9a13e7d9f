//! What the server counts about itself, as `/metrics` shows it. Names and labels are Kubernetes'
//! (`k8s.io/apiserver/pkg/endpoints/metrics`).

use std::{sync::atomic::AtomicI64, time::Duration};

use component::ProcessMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::request::{RequestInfo, Target, Verb};

const SECONDS: [f64; 22] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 60.0,
];

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: &'static str,
    scope: &'static str,
    component: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AnswerLabels {
    #[prometheus(flatten)]
    request: RequestLabels,
    code: u16,
}

/// The label `request_kind`.
type Kind = [(&'static str, &'static str); 1];
type Durations = Family<RequestLabels, Histogram, fn() -> Histogram>;

/// The server's counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<AnswerLabels, Counter>,
    durations: Durations,
    watchers: Family<RequestLabels, Gauge>,
    reads: Gauge,
    writes: Gauge,
}

/// Counts something for as long as it lasts.
#[derive(Debug)]
pub(crate) struct Counted(Gauge<i64, AtomicI64>);

impl Counted {
    fn by(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
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
        let (watchers, under_way) = (Family::default(), Family::<Kind, Gauge>::default());
        registry.register("apiserver_request", "Requests that were answered", requests.clone());
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until the answer began",
            durations.clone(),
        );
        registry.register("apiserver_longrunning_requests", "Open watches", watchers.clone());
        let help = "Requests under way, but for watches and other streams";
        registry.register("apiserver_current_inflight_requests", help, under_way.clone());
        registry.register_collector(Box::new(ProcessMetrics));
        Self {
            registry,
            requests,
            durations,
            watchers,
            reads: under_way.get_or_create_owned(&[("request_kind", "readOnly")]),
            writes: under_way.get_or_create_owned(&[("request_kind", "mutating")]),
        }
    }

    /// Counts a request while it is under way.
    pub(crate) fn under_way(&self, target: Option<&Target>) -> Option<Counted> {
        let target = target.filter(|target| !target.is_long_running())?;
        let is_write = matches!(target, Target::Resource(info) if info.verb.is_write());
        Some(Counted::by(if is_write { &self.writes } else { &self.reads }))
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, target: Option<&Target>, code: u16, took: Duration) {
        let request = match target {
            Some(Target::Resource(info)) => labels(info),
            Some(Target::NonResource(_)) => RequestLabels { verb: "GET", ..unknown() },
            None => unknown(),
        };
        self.durations.get_or_create(&request).observe(took.as_secs_f64());
        self.requests.get_or_create(&AnswerLabels { request, code }).inc();
    }

    /// Counts a watcher.
    pub(crate) fn watching(&self, info: &RequestInfo) -> Counted {
        Counted::by(&self.watchers.get_or_create(&labels(info)))
    }

    /// The counters in the text format of `OpenMetrics`.
    pub(crate) fn text(&self) -> String {
        let mut encoded = String::new();
        // Writing to a string doesn't fail.
        let _ = text::encode(&mut encoded, &self.registry);
        encoded
    }
}

fn unknown() -> RequestLabels {
    RequestLabels { component: "apiserver", ..RequestLabels::default() }
}

fn labels(info: &RequestInfo) -> RequestLabels {
    let names = &info.def.names;
    RequestLabels {
        verb: verb(info.verb),
        group: names.group.clone(),
        version: names.version.clone(),
        resource: names.plural.clone(),
        subresource: info.subresource.map_or("", |s| s.name()),
        scope: scope(info),
        ..unknown()
    }
}

fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    if info.name.is_some() || info.verb == Verb::Create {
        "resource"
    } else if info.namespace.is_some() {
        "namespace"
    } else {
        "cluster"
    }
}
