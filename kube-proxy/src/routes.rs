//! Which routes lead to the pods of other hosts' nodes, and what has to change for the kernel to have
//! them: functions from values to values. It knows neither the kernel nor the API server.
//!
//! Nodes on a network segment of this host are gateways; to the others it goes through a [`vxlan`].

pub mod kernel;
mod metrics;
pub mod reconciler;
pub mod seen;
pub mod settings;
pub mod steps;
pub mod sync;
pub mod underlay;
pub mod vxlan;

pub use metrics::RouteMetrics;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use api_types::api::core::v1::Node;
use ipnet::Ipv4Net;

use self::{settings::Settings, underlay::Underlay};

/// The host that the routes are for.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name of this node.
    pub node: String,
    /// The range of all pods. Routes outside of it are neither made nor looked at, so that no Node
    /// can draw other traffic to itself, and each of several clusters on a host has its own routes.
    pub cluster_cidr: Ipv4Net,
    /// How nodes that are not on a network segment of this host are reached.
    pub vxlan: Settings,
}

/// A route to the pods of a node, through that node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The node's name.
    pub node: String,
    /// Where its pods are.
    pub destination: Ipv4Net,
    /// Its address on the way.
    pub gateway: Ipv4Addr,
    /// The way.
    pub over: Over,
}

/// What packets to another node pass through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A network segment that both hosts are on.
    Segment,
    /// The VXLAN, to the node's host.
    Vxlan {
        /// The node's address.
        remote: Ipv4Addr,
    },
}

/// A route that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it leads.
    pub destination: Ipv4Net,
    /// Through whom; a blackhole and a route to a local bridge have none.
    pub gateway: Option<Ipv4Addr>,
    /// Whether by our VXLAN.
    pub by_vxlan: bool,
    /// Who answers for it.
    pub owner: Owner,
}

/// Who answers for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// kube-proxy.
    Us,
    /// An administrator, or a routing daemon of theirs, who knows the way better.
    Administrator,
    /// Nobody who meant to lead to another host: a link of this host has it, or it leads nowhere.
    Nobody,
}

/// One step from the routes that are there to the wanted ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Ours, no longer wanted.
    Remove(Ipv4Net),
    /// Not there yet.
    Add(Route),
    /// Ours, through another gateway so far.
    Replace(Route),
}

/// The routes that this host needs: none to nodes that are this host, as several kubelets on one
/// machine are, and none to networks that overlap theirs or those of a node before it by name.
pub fn wanted<'a>(
    host: &Host,
    local: &BTreeSet<Ipv4Addr>,
    underlay: &Underlay<'_>,
    nodes: impl Iterator<Item = &'a Node>,
) -> Vec<Route> {
    let (here, mut elsewhere): (Vec<_>, Vec<_>) =
        nodes.partition(|node| is_here(&host.node, local, node));
    elsewhere.sort_by_key(|node| name(node));
    let mut taken: Vec<Ipv4Net> = here.into_iter().flat_map(pod_cidrs).collect();
    let mut routes = Vec::new();
    for node in elsewhere {
        let Some(address) = addresses(node).next() else { continue };
        let by_vxlan = host.vxlan.is_needed(underlay, address);
        for destination in pod_cidrs(node) {
            let inside = host.cluster_cidr.contains(&destination);
            if inside && !taken.iter().any(|other| overlap(*other, destination)) {
                taken.push(destination);
                routes.push(Route::new(name(node), destination, address, by_vxlan));
            }
        }
    }
    routes
}

/// The names of the nodes that are this host: `node`, and all that have an address of this host.
pub fn nodes_here<'a>(
    node: &str,
    local: &BTreeSet<Ipv4Addr>,
    nodes: impl Iterator<Item = &'a Node>,
) -> BTreeSet<String> {
    let here = nodes.filter(|other| is_here(node, local, other)).map(|node| name(node).to_owned());
    here.chain([node.to_owned()]).collect()
}

/// What to do so that `found` becomes `wanted`. A route of somebody else is never changed; one of an
/// administrator does as well, whatever its gateway.
pub fn changes(wanted: &[Route], found: &[Found]) -> Vec<Change> {
    let ours: BTreeMap<Ipv4Net, &Found> = found
        .iter()
        .filter(|route| route.owner == Owner::Us)
        .map(|route| (route.destination, route))
        .collect();
    let destinations: BTreeSet<Ipv4Net> = wanted.iter().map(|route| route.destination).collect();
    let gone = ours.keys().filter(|destination| !destinations.contains(destination));
    let gone = gone.map(|destination| Change::Remove(*destination));
    let administrated: BTreeSet<Ipv4Net> = found
        .iter()
        .filter(|route| route.owner == Owner::Administrator)
        .map(|route| route.destination)
        .collect();
    let needed = wanted.iter().filter_map(|route| match ours.get(&route.destination) {
        Some(found) if route.is(found) => None,
        Some(_) => Some(Change::Replace(route.clone())),
        None if administrated.contains(&route.destination) => None,
        None => Some(Change::Add(route.clone())),
    });
    gone.chain(needed).collect()
}

impl Route {
    fn new(node: &str, destination: Ipv4Net, address: Ipv4Addr, by_vxlan: bool) -> Self {
        let (gateway, over) = if by_vxlan {
            (destination.network(), Over::Vxlan { remote: address })
        } else {
            (address, Over::Segment)
        };
        Self { node: node.to_owned(), destination, gateway, over }
    }

    /// Whether it passes through the VXLAN.
    pub fn by_vxlan(&self) -> bool {
        self.over != Over::Segment
    }

    fn is(&self, found: &Found) -> bool {
        found.gateway == Some(self.gateway) && found.by_vxlan == self.by_vxlan()
    }
}

fn is_here(here: &str, local: &BTreeSet<Ipv4Addr>, node: &Node) -> bool {
    name(node) == here || addresses(node).any(|address| local.contains(&address))
}

pub(crate) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// The node's IPv4 addresses within the cluster, the preferred one first.
pub(crate) fn addresses(node: &Node) -> impl Iterator<Item = Ipv4Addr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse().ok())
}

/// The node's IPv4 networks for pods; `podCIDRs`, if given, includes `podCIDR`.
pub(crate) fn pod_cidrs(node: &Node) -> Vec<Ipv4Net> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.as_deref().filter(|all| !all.is_empty());
    let all = all.unwrap_or(spec.pod_cidr.as_slice());
    all.iter().filter_map(|cidr| cidr.parse().ok()).map(|cidr: Ipv4Net| cidr.trunc()).collect()
}

fn overlap(one: Ipv4Net, other: Ipv4Net) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests;
