//! What the server counts about itself, as `/metrics` shows it. Names and labels are Kubernetes'
//! (`k8s.io/apiserver/pkg/endpoints/metrics`).

use std::{
    collections::BTreeMap,
    sync::{OnceLock, atomic::AtomicI64},
    time::Duration,
};

use api_types::jiff::Timestamp;
use component::ProcessMetrics;
use prometheus_client::{
    encoding::{EncodeLabelSet, text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::{
    audit::Audit,
    flow_control::Counters,
    request::{Delegated, RequestInfo, Target, Verb},
    storage::Durations,
};

const SECONDS: [f64; 22] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0,
    10.0, 15.0, 20.0, 30.0, 60.0,
];

/// What is left of a certificate's life, from none to a year.
const REMAINING: [f64; 14] = [
    0.0,
    1_800.0,
    3_600.0,
    7_200.0,
    21_600.0,
    43_200.0,
    86_400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
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
type RequestDurations = Family<RequestLabels, Histogram, fn() -> Histogram>;

/// The server's counters.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Family<AnswerLabels, Counter>,
    durations: RequestDurations,
    watchers: Family<RequestLabels, Gauge>,
    reads: Gauge,
    writes: Gauge,
    certificates: Histogram,
    /// When the certificate ends that is served with, if it is over TLS.
    serves_until: OnceLock<i64>,
    /// Of who waits and who does not.
    pub(crate) flow: Counters,
    /// Of requests to the store.
    pub(crate) store: Durations,
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
    pub(crate) fn new(audit: Option<&Audit>) -> Self {
        let mut registry = Registry::default();
        let requests = Family::default();
        let durations = RequestDurations::new_with_constructor(|| Histogram::new(SECONDS));
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
        let (certificates, store) = (Histogram::new(REMAINING), Durations::default());
        registry.register(
            "apiserver_client_certificate_expiration_seconds",
            "Distribution of the remaining lifetime on the certificate used to authenticate a request",
            certificates.clone(),
        );
        let help = "Latency of requests to the store, by operation and kind";
        registry.register("etcd_request_duration_seconds", help, store.family());
        audit.into_iter().for_each(|audit| audit.register(&mut registry));
        registry.register_collector(Box::new(ProcessMetrics));
        let flow = Counters::new(&mut registry);
        Self {
            registry,
            requests,
            durations,
            watchers,
            reads: under_way.get_or_create_owned(&[("request_kind", "readOnly")]),
            writes: under_way.get_or_create_owned(&[("request_kind", "mutating")]),
            certificates,
            serves_until: OnceLock::new(),
            flow,
            store,
        }
    }

    /// Counts a request while it is under way.
    pub(crate) fn under_way(&self, target: Option<&Target>) -> Option<Counted> {
        let target = target.filter(|target| !target.is_long_running())?;
        Some(Counted::by(if target.is_write() { &self.writes } else { &self.reads }))
    }

    /// Counts an answered request.
    pub(crate) fn answered(&self, target: Option<&Target>, code: u16, took: Duration) {
        let request = match target {
            Some(Target::Resource(info)) => labels(info),
            Some(Target::Delegated(delegated)) => labels_of_delegated(delegated),
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

    /// A request whose sender shows a certificate that ends then, in seconds since 1970.
    pub(crate) fn certificate_shown(&self, not_after: i64) {
        let now = Timestamp::now().as_second();
        self.certificates.observe(seconds(not_after - now));
    }

    /// The server shows a certificate that ends then, in seconds since 1970.
    pub(crate) fn serves_until(&self, not_after: i64) {
        // A server begins to serve once.
        let _ = self.serves_until.set(not_after);
    }

    /// The counters in the text format of `OpenMetrics`, and how many `objects` there are by kind.
    pub(crate) fn text(&self, objects: &BTreeMap<String, usize>) -> String {
        let counts = Family::<[(&str, String); 1], Gauge>::default();
        for (kind, count) in objects {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            counts.get_or_create(&[("resource", kind.clone())]).set(count);
        }
        let mut latest = Registry::default();
        let help = "Number of stored objects at the time of last check split by kind";
        latest.register("apiserver_storage_objects", help, counts);
        if let Some(end) = self.serves_until.get() {
            let gauge = Gauge::<i64, AtomicI64>::default();
            gauge.set(*end);
            latest.register(
                "apiserver_serving_certificate_expiration_timestamp_seconds",
                "End of the certificate that the server shows, in seconds since unix epoch",
                gauge,
            );
        }
        let mut encoded = String::new();
        // Writing to a string doesn't fail.
        let _ = text::encode_registry(&mut encoded, &self.registry);
        let _ = text::encode(&mut encoded, &latest);
        encoded
    }
}

#[expect(clippy::cast_precision_loss, reason = "a hundred thousand years are told apart from none")]
fn seconds(whole: i64) -> f64 {
    whole as f64
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

/// What others serve is told by group version: the names of resources in paths are their senders'.
fn labels_of_delegated(Delegated { delegate, resource, .. }: &Delegated) -> RequestLabels {
    RequestLabels {
        verb: resource.as_ref().map_or("GET", |path| verb(path.verb)),
        group: delegate.group.clone(),
        version: delegate.version.clone(),
        component: "aggregator",
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
