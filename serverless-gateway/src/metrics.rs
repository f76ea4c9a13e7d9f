//! What the gateway counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

/// The metrics.
#[derive(Clone, Debug, Default)]
pub(crate) struct Metrics {
    calls: Family<Call, Counter>,
    in_flight: Gauge,
}

/// By function that exists, and by the answer's code: a name that anybody can make up is no label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    namespace: String,
    function: String,
    code: u16,
}

/// A call in hand; it counts for as long as it lives.
#[derive(Debug)]
pub(crate) struct InFlight(Gauge);

impl Metrics {
    pub(crate) fn register(registry: &component::Metrics) -> Self {
        let metrics = Metrics::default();
        let (calls, in_flight) = (metrics.calls.clone(), metrics.in_flight.clone());
        registry.register("function_calls", "Calls answered", calls);
        registry.register("function_calls_in_flight", "Calls being worked on", in_flight);
        metrics
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn answered(&self, namespace: &str, function: &str, code: u16) {
        let (namespace, function) = (namespace.to_owned(), function.to_owned());
        self.calls.get_or_create(&Call { namespace, function, code }).inc();
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}
