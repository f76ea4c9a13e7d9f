//! Where connections to a Service come in, and which endpoints take them: all that a family has by itself.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::{
    family::Family,
    plan::{Outside, PortPlan, ServicePlan},
};

/// Endpoints that take connections, and where these come in: all of one family.
pub(super) struct Open<'a> {
    pub(super) port: &'a PortPlan,
    pub(super) family: Family,
    pub(super) endpoints: BTreeSet<SocketAddr>,
    pub(super) doors: Vec<Door<'a>>,
}

/// Sockets with a say in who may come.
pub(crate) struct Door<'a> {
    pub(crate) sockets: BTreeSet<SocketAddr>,
    /// Nothing: everybody.
    pub(crate) only: Option<&'a BTreeSet<IpNet>>,
}

/// At its virtual IPs.
pub(super) fn inside<'a>(plan: &'a ServicePlan) -> Vec<Open<'a>> {
    let open = |port: &'a PortPlan| {
        of_families(port, &port.endpoints, |family| {
            let own = plan.ips.iter().filter(move |ip| family.has(**ip));
            let sockets = own.map(|ip| SocketAddr::new(*ip, port.port)).collect();
            vec![Door { sockets, only: None }]
        })
    };
    plan.ports.iter().flat_map(open).collect()
}

/// Without what leads to nobody, and what nobody comes by.
fn of_families<'a>(
    port: &'a PortPlan,
    endpoints: &BTreeSet<SocketAddr>,
    mut doors: impl FnMut(Family) -> Vec<Door<'a>>,
) -> Vec<Open<'a>> {
    let open = |family: Family| {
        let mut doors = doors(family);
        doors.retain(|door| !door.sockets.is_empty());
        Open { port, family, endpoints: family.among(endpoints, SocketAddr::ip), doors }
    };
    let all = Family::BOTH.into_iter().map(open);
    all.filter(|open| !open.endpoints.is_empty() && !open.doors.is_empty()).collect()
}

/// At whatever else leads to it.
pub(super) fn from_outside<'a>(plan: &'a ServicePlan) -> Vec<Open<'a>> {
    let mut taken = BTreeSet::new();
    let open = |port: &'a PortPlan| {
        of_families(port, &port.outside_endpoints, |family| {
            let mut doors = outside(plan, port);
            for door in &mut doors {
                door.sockets.retain(|it| family.has(it.ip()));
                // nginx takes no configuration in which one socket comes twice.
                door.sockets.retain(|it| taken.insert((port.protocol, *it)));
            }
            doors
        })
    };
    plan.ports.iter().flat_map(open).collect()
}

/// Whether there are endpoints or not: its nginx does not come and go with them.
pub(crate) fn is_reached_from_outside(plan: &ServicePlan) -> bool {
    let mut doors = plan.ports.iter().flat_map(|port| outside(plan, port));
    doors.any(|door| !door.sockets.is_empty())
}

/// That of everybody, then that of a load balancer's clients.
pub(crate) fn outside<'a>(plan: &'a ServicePlan, port: &PortPlan) -> Vec<Door<'a>> {
    let Outside { node_addresses, external_ips, balancer_ips, held, source_ranges, .. } =
        &plan.outside;
    let node_ports = port.node_port.into_iter().flat_map(|number| {
        node_addresses.iter().map(move |address| SocketAddr::new(*address, number))
    });
    let here = |ips: &'a BTreeSet<IpAddr>| {
        ips.intersection(held).map(|ip| SocketAddr::new(*ip, port.port))
    };
    let everybody = Door { sockets: node_ports.chain(here(external_ips)).collect(), only: None };
    let balanced = Door { sockets: here(balancer_ips).collect(), only: source_ranges.as_ref() };
    vec![everybody, balanced]
}
