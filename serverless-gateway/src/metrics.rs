//! What the gateway counts: by function that exists, for a name that anybody can make up is no label.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
};
use tokio::time::Instant;

use crate::directory::Key;

/// The metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    calls: Family<Answered, Counter>,
    durations: Family<Labels, Histogram>,
    in_flight: Family<Labels, Gauge>,
    queued: Family<Labels, Gauge>,
    cold_starts: Family<Labels, Counter>,
    cold_start_phases: Family<Phase, Histogram>,
}

/// Those of a function.
#[derive(Clone, Debug)]
pub(crate) struct FunctionMetrics {
    labels: Labels,
    calls: Family<Answered, Counter>,
    /// Nothing: the function is no more, and what is counted of it stays for ever.
    by_code: Arc<Mutex<Option<BTreeMap<u16, Counter>>>>,
    durations: Histogram,
    in_flight: Gauge,
    queued: Gauge,
    cold_starts: Counter,
    cold_start_phases: Family<Phase, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    namespace: String,
    function: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    namespace: String,
    function: String,
    code: u16,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Phase {
    phase: &'static str,
}

/// What a call counts as whose caller goes before its end.
const CALLER_GONE: u16 = 499;

/// A call in hand, for as long as it lives: then it is counted, by how it ended, with its duration.
#[derive(Debug)]
pub(crate) struct InFlight {
    function: Arc<FunctionMetrics>,
    since: Instant,
    code: u16,
}

/// A call that waits, for as long as it lives.
#[derive(Debug)]
pub(crate) struct Queued(Gauge);

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 18))
}

impl Metrics {
    pub(crate) fn register(registry: &component::Metrics) -> Self {
        let metrics = Metrics {
            calls: Family::default(),
            durations: Family::new_with_constructor(durations),
            in_flight: Family::default(),
            queued: Family::default(),
            cold_starts: Family::default(),
            cold_start_phases: Family::new_with_constructor(durations),
        };
        let of = metrics.clone();
        let help = "Calls by how they ended: the answer's code, or else 502 if it broke off, 504 if it was late, 499 if its caller went";
        registry.register("function_calls", help, of.calls);
        let help = "How long calls took, to the end of the answer";
        registry.register("function_call_duration_seconds", help, of.durations);
        let help = "Calls not answered to their end, those that wait for an instance too";
        registry.register("function_calls_in_flight", help, of.in_flight);
        let help = "Calls that wait for an instance";
        registry.register("function_calls_queued", help, of.queued);
        let help = "Calls that waited for an instance to become ready";
        registry.register("function_cold_starts", help, of.cold_starts);
        let help = "What calls waited for while an instance became ready";
        registry.register("function_cold_start_seconds", help, of.cold_start_phases);
        metrics
    }

    pub(crate) fn of_function(&self, (namespace, name): &Key) -> FunctionMetrics {
        let labels = Labels { namespace: namespace.clone(), function: name.clone() };
        FunctionMetrics {
            calls: self.calls.clone(),
            by_code: Arc::new(Mutex::new(Some(BTreeMap::new()))),
            durations: self.durations.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            queued: self.queued.get_or_create_owned(&labels),
            cold_starts: self.cold_starts.get_or_create_owned(&labels),
            cold_start_phases: self.cold_start_phases.clone(),
            labels,
        }
    }

    /// A function is no more.
    pub(crate) fn forget(&self, function: &FunctionMetrics) {
        let labels = &function.labels;
        self.durations.remove(labels);
        self.in_flight.remove(labels);
        self.queued.remove(labels);
        self.cold_starts.remove(labels);
        let mut by_code = function.by_code.lock();
        for code in by_code.take().into_iter().flat_map(BTreeMap::into_keys) {
            self.calls.remove(&labels.answered(code));
        }
    }
}

impl FunctionMetrics {
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.inc();
        InFlight { function: self.clone(), since: Instant::now(), code: CALLER_GONE }
    }

    pub(crate) fn queue(&self) -> Queued {
        self.queued.inc();
        Queued(self.queued.clone())
    }

    fn answered(&self, code: u16) {
        let new = || self.calls.get_or_create_owned(&self.labels.answered(code));
        if let Some(by_code) = self.by_code.lock().as_mut() {
            by_code.entry(code).or_insert_with(new).inc();
        }
    }

    /// What a call waited for.
    pub(crate) fn cold_start(&self, breakdown: &[(&'static str, Duration)]) {
        self.cold_starts.inc();
        for &(phase, duration) in breakdown {
            let histogram = self.cold_start_phases.get_or_create(&Phase { phase });
            histogram.observe(duration.as_secs_f64());
        }
    }
}

impl Labels {
    fn answered(&self, code: u16) -> Answered {
        let (namespace, function) = (self.namespace.clone(), self.function.clone());
        Answered { namespace, function, code }
    }
}

impl InFlight {
    /// It did not end with its caller, but so.
    pub(crate) fn ended(mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.function.answered(self.code);
        self.function.durations.observe(self.since.elapsed().as_secs_f64());
        self.function.in_flight.dec();
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.0.dec();
    }
}
