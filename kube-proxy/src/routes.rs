//! Which routes lead to the pods of other hosts' nodes, and what has to change for the kernel to have
//! them: functions from values to values. It knows neither the kernel nor the API server.
//!
//! Nodes on a network segment of this host are gateways; to the others it goes through a [`vxlan`].

pub mod guard;
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
    net::{IpAddr, Ipv4Addr},
};

use api_types::api::core::v1::Node;
use component::dual_stack::DualStack;
use ipnet::IpNet;

use self::{
    settings::{Mode, Settings},
    underlay::Underlay,
};

/// The host that the routes are for.
#[derive(Clone, Debug)]
pub struct Host {
    /// The name of this node.
    pub node: String,
    /// The ranges of all pods. Routes outside of them are neither made nor looked at, so that no Node
    /// can draw other traffic to itself, and each of several clusters on a host has its own routes.
    pub cluster_cidr: DualStack,
    /// How nodes that are not on a network segment of this host are reached.
    pub vxlan: Settings,
}

/// A route to the pods of a node, through that node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The node's name.
    pub node: String,
    /// Where its pods are.
    pub destination: IpNet,
    /// Its address on the way.
    pub gateway: IpAddr,
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
        /// The node's address, of IPv4 whatever is inside.
        remote: Ipv4Addr,
    },
}

/// A route that the kernel has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it leads.
    pub destination: IpNet,
    /// Through whom; a blackhole and a route to a local bridge have none.
    pub gateway: Option<IpAddr>,
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
    Remove(IpNet),
    /// Not there yet.
    Add(Route),
    /// Ours, through another gateway so far.
    Replace(Route),
}

/// The routes that this host needs: none to nodes that are this host, as several kubelets on one
/// machine are, and none to networks that overlap theirs or those of an older node.
pub fn wanted<'a>(
    host: &Host,
    local: &BTreeSet<IpAddr>,
    underlay: &Underlay<'_>,
    nodes: impl Iterator<Item = &'a Node>,
) -> Vec<Route> {
    let (here, mut elsewhere): (Vec<_>, Vec<_>) =
        nodes.partition(|node| is_here(&host.node, local, node));
    elsewhere.sort_by_key(|node| (node.metadata.creation_timestamp.clone(), name(node)));
    let own = here.iter().copied().find(|node| name(node) == host.node);
    let mut taken: Vec<IpNet> = here.iter().copied().flat_map(pod_cidrs).collect();
    let mut routes = Vec::new();
    for node in elsewhere {
        for destination in pod_cidrs(node) {
            let inside = host.cluster_cidr.encloses(&destination);
            if !inside || taken.iter().any(|other| overlap(*other, destination)) {
                continue;
            }
            let ends = Ends { host, own, node };
            if let Some((gateway, over)) = ends.way(underlay, destination) {
                taken.push(destination);
                routes.push(Route { node: name(node).to_owned(), destination, gateway, over });
            }
        }
    }
    routes
}

/// The two nodes that a route connects.
struct Ends<'a> {
    host: &'a Host,
    /// This host's own, if there is one.
    own: Option<&'a Node>,
    node: &'a Node,
}

impl Ends<'_> {
    /// Who is next on the way to a network of the node's pods, and what lies between. By the nodes' addresses of its family,
    /// if both have one; both have to come to the same.
    fn way(&self, underlay: &Underlay<'_>, destination: IpNet) -> Option<(IpAddr, Over)> {
        let is_of_family = |ip: &IpAddr| ip.is_ipv4() == destination.addr().is_ipv4();
        let direct = address(self.host, self.node, is_of_family);
        let is_direct_there = destination.addr().is_ipv4()
            || self.own.is_some_and(|own| address(self.host, own, is_of_family).is_some());
        let settings = &self.host.vxlan;
        match direct.filter(|_| is_direct_there) {
            Some(address) if !settings.is_needed(underlay, address) => {
                Some((address, Over::Segment))
            }
            None if settings.mode == Mode::Never => None,
            _ => {
                let remote = ipv4_address(self.host, self.node)?;
                Some((destination.network(), Over::Vxlan { remote }))
            }
        }
    }
}

/// The names of the nodes that are this host: `node`, and all that have an address of this host.
pub fn nodes_here<'a>(
    node: &str,
    local: &BTreeSet<IpAddr>,
    nodes: impl Iterator<Item = &'a Node>,
) -> BTreeSet<String> {
    let here = nodes.filter(|other| is_here(node, local, other)).map(|node| name(node).to_owned());
    here.chain([node.to_owned()]).collect()
}

/// What to do so that `found` becomes `wanted`. A route of somebody else is never changed; one of an
/// administrator does as well, whatever its gateway.
pub fn changes(wanted: &[Route], found: &[Found]) -> Vec<Change> {
    let ours: BTreeMap<IpNet, &Found> = found
        .iter()
        .filter(|route| route.owner == Owner::Us)
        .map(|route| (route.destination, route))
        .collect();
    let destinations: BTreeSet<IpNet> = wanted.iter().map(|route| route.destination).collect();
    let gone = ours.keys().filter(|destination| !destinations.contains(destination));
    let gone = gone.map(|destination| Change::Remove(*destination));
    let administrated: BTreeSet<IpNet> = found
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
    /// Whether it passes through the VXLAN.
    pub fn by_vxlan(&self) -> bool {
        self.over != Over::Segment
    }

    fn is(&self, found: &Found) -> bool {
        found.gateway == Some(self.gateway) && found.by_vxlan == self.by_vxlan()
    }
}

fn is_here(here: &str, local: &BTreeSet<IpAddr>, node: &Node) -> bool {
    name(node) == here || addresses(node).any(|address| local.contains(&address))
}

/// By which its host is reached: none of the pods', whose routes would lead to themselves.
fn address(host: &Host, node: &Node, which: impl Fn(&IpAddr) -> bool) -> Option<IpAddr> {
    addresses(node).find(|address| !host.cluster_cidr.contains(*address) && which(address))
}

fn ipv4_address(host: &Host, node: &Node) -> Option<Ipv4Addr> {
    match address(host, node, IpAddr::is_ipv4)? {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

pub(crate) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

/// The node's addresses within the cluster, the preferred one of each family before its others.
pub(crate) fn addresses(node: &Node) -> impl Iterator<Item = IpAddr> {
    let addresses = node.status.iter().flat_map(|status| status.addresses.iter().flatten());
    addresses
        .filter(|address| address.type_ == "InternalIP")
        .filter_map(|address| address.address.parse().ok())
}

/// The first of them of each family.
pub(crate) fn primary(node: &Node) -> Vec<IpAddr> {
    let of = |is_family: fn(&IpAddr) -> bool| addresses(node).find(is_family);
    [of(IpAddr::is_ipv4), of(IpAddr::is_ipv6)].into_iter().flatten().collect()
}

/// The node's networks for pods; `podCIDRs`, if given, includes `podCIDR`.
pub(crate) fn pod_cidrs(node: &Node) -> Vec<IpNet> {
    let Some(spec) = &node.spec else { return Vec::new() };
    let all = spec.pod_cidrs.as_deref().filter(|all| !all.is_empty());
    let all = all.unwrap_or(spec.pod_cidr.as_slice());
    all.iter().filter_map(|cidr| cidr.parse().ok()).map(|cidr: IpNet| cidr.trunc()).collect()
}

fn overlap(one: IpNet, other: IpNet) -> bool {
    one.contains(&other) || other.contains(&one)
}

#[cfg(test)]
mod tests;
