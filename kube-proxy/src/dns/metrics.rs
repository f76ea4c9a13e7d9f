//! What DNS counts.

use hickory_proto::op::ResponseCode;
use prometheus_client::metrics::{counter::Counter, family::Family};

/// Who knew the answer, and how it ended.
type Labels = [(&'static str, &'static str); 2];

/// The metrics.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Family<Labels, Counter>);

impl Metrics {
    /// Makes them and has them served.
    pub fn register(registry: &component::Metrics) -> Self {
        let metrics = Metrics::default();
        let help =
            "Questions answered, by who knew the answer (cluster, upstream) and how it ended";
        registry.register("kubeproxy_dns_responses", help, metrics.0.clone());
        metrics
    }

    pub(super) fn answered(&self, here: bool, code: ResponseCode) {
        let from = if here { "cluster" } else { "upstream" };
        let rcode = match code {
            ResponseCode::NoError => "NOERROR",
            ResponseCode::NXDomain => "NXDOMAIN",
            ResponseCode::ServFail => "SERVFAIL",
            _ => "other",
        };
        self.0.get_or_create(&[("from", from), ("rcode", rcode)]).inc();
    }
}
