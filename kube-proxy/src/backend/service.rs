//! The nginxes of one Service: a function from a [`ServicePlan`] to [`InstanceSpec`]s.
//!
//! Equal plans give equal texts, whatever the order in which endpoints became known, so that a
//! comparison of texts tells whether a reload is needed.

mod doors;
mod flow;
mod part;
mod stream;

use std::{collections::BTreeSet, net::IpAddr};

use self::{
    doors::{Open, from_outside, inside},
    stream::{write_clients, write_stream},
};
use crate::{
    containers::SERVICE_LABEL,
    instance::InstanceSpec,
    nginx::{Configuration, DRAINING_CONNECTIONS, Socket, http::Http},
    plan::ServicePlan,
};

pub(super) use self::{
    doors::{Door, is_reached_from_outside, outside},
    flow::Flow,
    part::{CLIENT, Part},
    stream::write_bind,
};

/// Whose nginxes these are.
pub const KIND: &str = "Service";
/// Connections that one worker can hold, per endpoint. A proxied connection takes two.
const CONNECTIONS_PER_ENDPOINT: usize = 4096;
/// The bounds of a worker's connections: every thousand costs 0.43 MB, in use or not.
const CONNECTIONS: (usize, usize) = (8192, 65536);
/// A datagram has no end: each client's port holds its two connections for the whole idle time.
const CONNECTIONS_FOR_UDP: usize = 65536;
/// Where every question has one answer, the answer is the end.
const CONNECTIONS_FOR_QUESTIONS: usize = 16384;

/// What the uid of the one for those from outside ends with.
pub const OUTSIDE: &str = "-outside";

/// The nginx at a Service's virtual IPs and, if it is reached from outside, one for that by itself: nginx serves nothing if
/// there is one socket that it can't have, and what others have of this host's ports and addresses is nothing to those
/// who come by the virtual IP.
pub fn specs(plan: &ServicePlan) -> Vec<InstanceSpec> {
    let outside = is_reached_from_outside(plan)
        .then(|| instance(plan, OUTSIDE, BTreeSet::new(), &from_outside(plan)));
    [spec(plan)].into_iter().chain(outside).collect()
}

/// The nginx at a Service's virtual IPs. Ports without endpoints are not listened on, so they are refused.
pub fn spec(plan: &ServicePlan) -> InstanceSpec {
    instance(plan, "", plan.ips.clone(), &inside(plan))
}

/// `held`: addresses that are there for it alone.
fn instance(
    plan: &ServicePlan,
    suffix: &str,
    held: BTreeSet<IpAddr>,
    open: &[Open<'_>],
) -> InstanceSpec {
    let ServicePlan { namespace, name, uid, affinity, .. } = plan;
    let mut stream = String::new();
    write_clients(&mut stream, plan, open).expect("writing to a String does not fail");
    write_stream(&mut stream, plan, open).expect("writing to a String does not fail");
    let from = if suffix == OUTSIDE { ", from outside" } else { "" };
    InstanceSpec {
        kind: KIND.to_owned(),
        uid: format!("{uid}{suffix}"),
        owner: plan.to_string(),
        name: format!("service_{name}_{namespace}_{uid}{suffix}"),
        labels: [(SERVICE_LABEL.to_owned(), plan.to_string())].into(),
        addresses: held,
        configuration: Configuration {
            title: format!("Service {plan}{from}"),
            connections: connections(open),
            stream,
            http: Http::default(),
            affinity: *affinity,
            draining_connections: DRAINING_CONNECTIONS,
        },
    }
}

/// Where a Service listens: nowhere for ports without endpoints.
pub(super) fn sockets(plan: &ServicePlan) -> BTreeSet<Socket> {
    let open = inside(plan).into_iter().chain(from_outside(plan));
    open.flat_map(|open| {
        let sockets = open.doors.into_iter().flat_map(|door| door.sockets);
        sockets.map(move |socket| (open.port.protocol, socket))
    })
    .collect()
}

/// As many as the port that needs most.
fn connections(open: &[Open<'_>]) -> usize {
    open.iter().map(connections_of).max().unwrap_or(0).clamp(CONNECTIONS.0, CONNECTIONS.1)
}

fn connections_of(open: &Open<'_>) -> usize {
    match Flow::of(open.port) {
        Flow::Tcp => open.endpoints.len() * CONNECTIONS_PER_ENDPOINT,
        Flow::Questions => CONNECTIONS_FOR_QUESTIONS,
        Flow::Udp => CONNECTIONS_FOR_UDP,
    }
}
