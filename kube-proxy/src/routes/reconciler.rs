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
    Change, Host, changes,
    kernel::{Kernel, Refusal},
    wanted,
};

/// What a pass found and could not do.
#[derive(Debug, Default)]
pub struct RouteReport {
    /// How many routes there should be.
    pub wanted: usize,
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
    nodes: impl Iterator<Item = &Node>,
) -> Result<RouteReport, netlink::Error> {
    let local = kernel.addresses().await?;
    let found = kernel.routes(host.cluster_cidr).await?;
    let wanted = wanted(host, &local, nodes);
    let mut report = RouteReport { wanted: wanted.len(), ..RouteReport::default() };
    for change in changes(&wanted, &found) {
        match kernel.apply(&change).await {
            Ok(()) => info!(?change, "route changed"),
            Err(refusal) => report.note(change, refusal),
        }
    }
    Ok(report)
}

impl RouteReport {
    fn note(&mut self, change: Change, refusal: Refusal) {
        match change {
            Change::Add(route) | Change::Replace(route) => {
                self.refused.entry(route.node).or_default().push(refusal);
            }
            Change::Remove(_) => self.left.push(refusal),
        }
    }
}
