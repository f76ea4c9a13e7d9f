//! All that is to be done for the routes, in order: from what the kernel has and what nodes say to a list
//! of steps. Pure. Who does them, and who only tells of them, goes by the same list.

use std::fmt;

use api_types::api::core::v1::Node;

use super::{
    Change, Host, Route, changes, name,
    seen::Seen,
    underlay::Underlay,
    vxlan::{self, Overlay},
    wanted,
};

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The routes that there should be.
    pub routes: Vec<Route>,
    /// In this order.
    pub steps: Vec<Step>,
    /// Those that have to wait: they pass through the VXLAN, which needs this host's own node.
    pub waiting: Vec<Route>,
    /// The VXLAN that some of them pass through.
    pub overlay: Overlay,
}

/// One thing to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// With a route.
    Route(Change),
    /// With the VXLAN.
    Vxlan(vxlan::Change),
}

/// What is to be done so that the kernel has what the nodes say.
pub fn plan<'a>(
    host: &Host,
    seen: &Seen,
    mut nodes: impl Iterator<Item = &'a Node> + Clone,
) -> Plan {
    let others = seen.routes_of_others();
    let underlay = Underlay { routes: &others, links: &seen.links };
    let routes = wanted(host, &seen.local(), &underlay, nodes.clone());
    let own = nodes.find(|node| name(node) == host.node);
    let overlay = vxlan::wanted(host, own, &underlay, &routes);
    let cluster = host.cluster_cidr;
    let link = vxlan::staying(&overlay, cluster, seen);
    let (mut gone, mut needed, mut waiting) = (Vec::new(), Vec::new(), Vec::new());
    for change in changes(&routes, &seen.found(cluster, link)) {
        match change {
            Change::Remove(_) => gone.push(change),
            Change::Add(route) | Change::Replace(route)
                if route.by_vxlan() && overlay.device.is_none() =>
            {
                waiting.push(route);
            }
            Change::Add(_) | Change::Replace(_) => needed.push(change),
        }
    }
    // A route never leads to a link, or over a neighbour, that is not there.
    let gone = gone.into_iter().map(Step::Route);
    let made = vxlan::additions(&overlay, cluster, seen).into_iter().map(Step::Vxlan);
    let needed = needed.into_iter().map(Step::Route);
    let left = vxlan::removals(&overlay, cluster, seen).into_iter().map(Step::Vxlan);
    let steps = gone.chain(made).chain(needed).chain(left).collect();
    Plan { routes, steps, waiting, overlay }
}

impl Step {
    /// Whether nothing can be done with the VXLAN before it.
    pub(super) fn makes_vxlan(&self) -> bool {
        matches!(self, Step::Vxlan(vxlan::Change::Make(_) | vxlan::Change::Remake(_)))
    }

    pub(super) fn uses_vxlan(&self) -> bool {
        match self {
            Step::Vxlan(_) => true,
            Step::Route(Change::Add(route) | Change::Replace(route)) => route.by_vxlan(),
            Step::Route(Change::Remove(_)) => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Route(change) => change.fmt(f),
            Step::Vxlan(change) => change.fmt(f),
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Remove(destination) => write!(f, "route to {destination} is left over"),
            Change::Add(Route { destination, gateway, node, .. }) => {
                write!(f, "route to {destination} via {gateway} (node {node}) is missing")
            }
            Change::Replace(Route { destination, gateway, node, .. }) => {
                write!(f, "route to {destination} does not lead via {gateway} (node {node})")
            }
        }
    }
}
