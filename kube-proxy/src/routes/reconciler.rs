//! Brings the kernel's routes to what the nodes say.
//!
//! Guarantees: may run at any time and twice; a route that the kernel refuses keeps no other from
//! being made; routes that kube-proxy has not made are left alone.
//!
//! Assumptions: `nodes` come from a complete list. Routes to others are removed.

use std::collections::BTreeMap;

use api_types::api::core::v1::Node;
use tracing::info;

use super::{
    Change, Host, Route,
    kernel::{Kernel, Refusal},
    steps::{Plan, Step, plan},
};

/// What a pass found and could not do.
#[derive(Debug, Default)]
pub struct RouteReport {
    /// How many routes there should be.
    pub wanted: usize,
    /// How many of them pass through the VXLAN.
    pub by_vxlan: usize,
    /// By node, why there is no route to its pods.
    pub refused: BTreeMap<String, Vec<Refusal>>,
    /// Old routes that could not be removed.
    pub left: Vec<Refusal>,
}

/// One pass.
///
/// # Errors
///
/// The kernel does not tell its addresses or routes.
pub async fn reconcile(
    kernel: &Kernel,
    host: &Host,
    nodes: impl Iterator<Item = &Node> + Clone,
) -> Result<RouteReport, netlink::Error> {
    let plan = plan(host, &kernel.look().await?, nodes);
    let mut report = RouteReport::of(&plan);
    let (vxlan, mut without_vxlan) = (host.vxlan.name(), false);
    for step in &plan.steps {
        // A link of this name may be somebody else's.
        if without_vxlan && step.uses_vxlan() {
            continue;
        }
        match kernel.apply(step, &vxlan).await {
            Ok(()) => info!(?step, "route changed"),
            Err(refusal) => {
                without_vxlan |= step.makes_vxlan();
                report.note(step, refusal, &plan.routes);
            }
        }
    }
    Ok(report)
}

impl RouteReport {
    fn of(plan: &Plan) -> Self {
        let by_vxlan = plan.routes.iter().filter(|route| route.by_vxlan()).count();
        let mut report = Self { wanted: plan.routes.len(), by_vxlan, ..Self::default() };
        for route in &plan.waiting {
            report.refuse(route, Refusal::NoOwnNode(route.destination));
        }
        report
    }

    fn note(&mut self, step: &Step, refusal: Refusal, routes: &[Route]) {
        match step {
            Step::Route(Change::Add(route) | Change::Replace(route)) => self.refuse(route, refusal),
            Step::Vxlan(change) if change.is_addition() => {
                // Nobody is reached through it; one reason for a node will do.
                for route in routes.iter().filter(|route| route.by_vxlan()) {
                    if !self.refused.contains_key(&route.node) {
                        self.refuse(route, refusal.clone());
                    }
                }
            }
            Step::Route(Change::Remove(_)) | Step::Vxlan(_) => self.left.push(refusal),
        }
    }

    fn refuse(&mut self, route: &Route, refusal: Refusal) {
        self.refused.entry(route.node.clone()).or_default().push(refusal);
    }
}
