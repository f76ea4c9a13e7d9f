//! Which endpoints take the connections to a port.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use api_types::api::{
    core::v1::ServicePort,
    discovery::v1::{Endpoint, EndpointHints, EndpointPort, EndpointSlice},
};

use super::{place::Place, protocol::Protocol};

/// What the slices of a Service offer for one of its ports.
#[derive(Clone, Copy)]
pub(super) struct Offered<'a> {
    pub(super) place: &'a Place,
    pub(super) port: &'a ServicePort,
    pub(super) protocol: Protocol,
    pub(super) slices: &'a [&'a EndpointSlice],
}

impl Offered<'_> {
    /// By a traffic policy: `Local` keeps to this host, anything else goes by the endpoints' hints.
    pub(super) fn under(&self, policy: Option<&str>) -> BTreeSet<SocketAddr> {
        if policy == Some("Local") {
            let here = |endpoint: &Endpoint| is_here(self.place, endpoint);
            return self.chosen(here, here);
        }
        let topology = topology(self.place, self.slices);
        self.chosen(|endpoint| is_meant(self.place, topology, endpoint), |_| true)
    }

    /// What [`Offered::under`] gives on some host, or may as soon as endpoints come and go.
    pub(super) fn on_any_host(&self) -> BTreeSet<SocketAddr> {
        self.collect(|endpoint| is_ready(endpoint) || is_last_resort(endpoint))
    }

    pub(super) fn all(&self) -> BTreeSet<SocketAddr> {
        self.collect(|_| true)
    }

    /// Ready endpoints; while there are none, those that still serve although they are terminating, so
    /// that the last pod of a rolling update does not drop its clients.
    /// <https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-to-terminating-endpoints>
    fn chosen(
        &self,
        ready_ones: impl Fn(&Endpoint) -> bool,
        last_resorts: impl Fn(&Endpoint) -> bool,
    ) -> BTreeSet<SocketAddr> {
        let ready = self.collect(|endpoint| is_ready(endpoint) && ready_ones(endpoint));
        if ready.is_empty() {
            return self.collect(|endpoint| is_last_resort(endpoint) && last_resorts(endpoint));
        }
        ready
    }

    fn collect(&self, usable: impl Fn(&Endpoint) -> bool) -> BTreeSet<SocketAddr> {
        self.slices.iter().flat_map(|slice| self.sockets(slice, &usable)).collect()
    }

    /// Every address of the slice's usable endpoints, with the number that the slice gives to the port:
    /// named target ports are resolved there, per slice.
    fn sockets(
        &self,
        slice: &EndpointSlice,
        usable: impl Fn(&Endpoint) -> bool,
    ) -> impl Iterator<Item = SocketAddr> {
        let number = slice.ports.iter().flatten().find_map(|given| self.target(given));
        let endpoints = slice.endpoints.iter().flatten().filter(move |it| usable(it));
        // An endpoint's addresses are interchangeable; its first stands for it.
        let first = |endpoint: &Endpoint| endpoint.addresses.first()?.parse::<IpAddr>().ok();
        let addresses = endpoints.filter_map(first).filter(|address| may_be_led_to(*address));
        addresses.filter_map(move |address| Some(SocketAddr::new(address, number?)))
    }

    /// The number behind the port if `given` is its entry: same name (none is the empty one) and protocol. Kubernetes
    /// looks at no number in a slice: what none can be is not there, as no nginx takes it.
    fn target(&self, given: &EndpointPort) -> Option<u16> {
        let same_name = given.name.as_deref().unwrap_or_default()
            == self.port.name.as_deref().unwrap_or_default();
        let same_protocol = Protocol::named(given.protocol.as_deref()) == Some(self.protocol);
        let number = u16::try_from(given.port.filter(|_| same_name && same_protocol)?).ok()?;
        (number != 0).then_some(number)
    }
}

/// Whether connections may be led there: neither to servers of the host alone, or of a link, nor to an address of IPv4 in
/// the form of IPv6, which would be that of a pod under a name that no NetworkPolicy knows. At loopback addresses of IPv4
/// are API servers of a cluster that is all on one host.
fn may_be_led_to(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => !(ip.is_unspecified() || ip.is_link_local() || ip.is_multicast()),
        IpAddr::V6(ip) => {
            let is_of_ipv4 = ip.to_ipv4_mapped().is_some() || ip.segments().starts_with(&[0; 6]);
            !(is_of_ipv4 || ip.is_unicast_link_local() || ip.is_multicast())
        }
    }
}

/// Whose clients the hints tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topology {
    Anybody,
    Zone,
    Node,
}

/// Hints count only if every ready endpoint has them, and one of them is meant for here (Kubernetes:
/// `topologyModeFromHints`).
fn topology(place: &Place, slices: &[&EndpointSlice]) -> Topology {
    let ready =
        || slices.iter().flat_map(|it| it.endpoints.iter().flatten()).filter(|it| is_ready(it));
    let count = |topology, has: fn(&EndpointHints) -> bool| {
        ready().all(|endpoint| endpoint.hints.as_ref().is_some_and(has))
            && ready().any(|endpoint| is_meant(place, topology, endpoint))
    };
    if count(Topology::Node, |hints| is_given(hints.for_nodes.as_deref())) {
        return Topology::Node;
    }
    match count(Topology::Zone, |hints| is_given(hints.for_zones.as_deref())) {
        true => Topology::Zone,
        false => Topology::Anybody,
    }
}

fn is_given<T>(list: Option<&[T]>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

fn is_meant(place: &Place, topology: Topology, endpoint: &Endpoint) -> bool {
    let hints = endpoint.hints.as_ref();
    match topology {
        Topology::Anybody => true,
        Topology::Zone => {
            let mut zones = hints.and_then(|it| it.for_zones.as_ref()).into_iter().flatten();
            zones.any(|zone| place.zone.as_ref() == Some(&zone.name))
        }
        Topology::Node => {
            let mut nodes = hints.and_then(|it| it.for_nodes.as_ref()).into_iter().flatten();
            nodes.any(|node| place.nodes.contains(&node.name))
        }
    }
}

pub(super) fn is_here(place: &Place, endpoint: &Endpoint) -> bool {
    endpoint.node_name.as_ref().is_some_and(|node| place.nodes.contains(node))
}

/// Absent means ready.
pub(super) fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

/// Absent means serving, and not terminating.
pub(super) fn is_last_resort(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.serving.unwrap_or(true) && conditions.terminating == Some(true)
    })
}
