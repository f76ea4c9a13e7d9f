//! What is counted of routes.

use prometheus_client::metrics::gauge::Gauge;

use super::reconciler::RouteReport;
use crate::metrics::count;

/// The metrics of the routes to other nodes.
#[derive(Clone, Debug)]
pub struct RouteMetrics {
    wanted: Gauge,
    by_vxlan: Gauge,
    failed: Gauge,
}

impl RouteMetrics {
    /// Makes them and has them served.
    pub fn register(registry: &component::Metrics) -> Self {
        let gauge = Gauge::default;
        let metrics = RouteMetrics { wanted: gauge(), by_vxlan: gauge(), failed: gauge() };
        let RouteMetrics { wanted, by_vxlan, failed } = metrics.clone();
        registry.register("kubeproxy_routes", "Routes that there should be to pods", wanted);
        let help = "Those of them that pass through the VXLAN";
        registry.register("kubeproxy_vxlan_routes", help, by_vxlan);
        let help = "Nodes to whose pods the kernel refused a route in the last pass";
        registry.register("kubeproxy_route_nodes_failed", help, failed);
        metrics
    }

    /// Takes in what a pass did.
    pub(crate) fn record(&self, report: &RouteReport) {
        self.wanted.set(count(report.wanted));
        self.by_vxlan.set(count(report.by_vxlan));
        self.failed.set(count(report.refused.len()));
    }
}
