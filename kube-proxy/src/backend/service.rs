//! The nginxes of one Service: a function from a [`ServicePlan`] to [`InstanceSpec`]s.
//!
//! Equal plans give equal texts, whatever the order in which endpoints became known, so that a
//! comparison of texts tells whether a reload is needed.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    net::{Ipv4Addr, SocketAddrV4},
};

use ipnet::Ipv4Net;

use crate::{
    containers::SERVICE_LABEL,
    instance::InstanceSpec,
    nginx::{Configuration, EPOCH, http::Http},
    plan::{Balancing, Outside, PortPlan, Protocol, ServicePlan},
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

/// How long a flow may be silent before it is forgotten. For TCP and UDP, what connection tracking in
/// the kernel gives them in Kubernetes (`--conntrack-tcp-timeout-established`; 30 s for UDP): the client
/// of a forgotten flow may come to another endpoint. A resolver asks again before 5 s are over.
const TCP_IDLE: &str = "24h";
const UDP_IDLE: &str = "30s";
const QUESTION_IDLE: &str = "5s";
/// How many connections wait to be taken, as far as the kernel lets them (`net.core.somaxconn`, 4096 since Linux 5.4). Those
/// beyond are tried again by their clients after a second, then after two more: nginx's own 511 are few.
const BACKLOG: u32 = 4096;
/// UDP ports whose protocol answers each datagram with one: DNS and NTP.
const QUESTION_PORTS: [u16; 2] = [53, 123];

/// What the uid of the one for those from outside ends with.
pub const OUTSIDE: &str = "-outside";

/// The nginx at a Service's virtual IP and, if it is reached from outside, one for that by itself: nginx serves nothing if
/// there is one socket that it can't have, and what others have of this host's ports and addresses is nothing to those
/// who come by the virtual IP.
pub fn specs(plan: &ServicePlan) -> Vec<InstanceSpec> {
    let outside = is_reached_from_outside(plan)
        .then(|| instance(plan, OUTSIDE, BTreeSet::new(), &from_outside(plan)));
    [spec(plan)].into_iter().chain(outside).collect()
}

/// The nginx at a Service's virtual IP. Ports without endpoints are not listened on, so they are refused.
pub fn spec(plan: &ServicePlan) -> InstanceSpec {
    instance(plan, "", [plan.ip].into(), &inside(plan))
}

/// `held`: addresses that are there for it alone.
fn instance(
    plan: &ServicePlan,
    suffix: &str,
    held: BTreeSet<Ipv4Addr>,
    open: &[Open<'_>],
) -> InstanceSpec {
    let ServicePlan { namespace, name, uid, affinity, .. } = plan;
    let mut stream = String::new();
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
        },
    }
}

fn write_stream(out: &mut String, plan: &ServicePlan, open: &[Open<'_>]) -> fmt::Result {
    let balancing = balancing(plan);
    for open in open {
        write_upstream(out, open, balancing.as_deref())?;
        open.doors.iter().try_for_each(|door| write_server(out, door, open))?;
    }
    Ok(())
}

/// Endpoints that take connections, and where these come in.
struct Open<'a> {
    port: &'a PortPlan,
    endpoints: &'a BTreeSet<SocketAddrV4>,
    doors: Vec<Door<'a>>,
}

/// Sockets with a say in who may come.
struct Door<'a> {
    sockets: BTreeSet<SocketAddrV4>,
    /// Nothing: everybody.
    only: Option<&'a BTreeSet<Ipv4Net>>,
}

fn inside<'a>(plan: &'a ServicePlan) -> Vec<Open<'a>> {
    let open = |port: &'a PortPlan| {
        let sockets = [SocketAddrV4::new(plan.ip, port.port)].into();
        Open { port, endpoints: &port.endpoints, doors: vec![Door { sockets, only: None }] }
    };
    plan.ports.iter().map(open).filter(|open| !open.endpoints.is_empty()).collect()
}

fn from_outside<'a>(plan: &'a ServicePlan) -> Vec<Open<'a>> {
    let mut taken = BTreeSet::new();
    let open = |port: &'a PortPlan| {
        let mut doors = outside(plan, port);
        for door in &mut doors {
            // nginx takes no configuration in which one socket comes twice.
            door.sockets.retain(|it| taken.insert((port.protocol, *it)));
        }
        doors.retain(|door| !door.sockets.is_empty());
        Open { port, endpoints: &port.outside_endpoints, doors }
    };
    let all = plan.ports.iter().map(open);
    all.filter(|open| !open.endpoints.is_empty() && !open.doors.is_empty()).collect()
}

/// Whether there are endpoints or not: its nginx does not come and go with them.
fn is_reached_from_outside(plan: &ServicePlan) -> bool {
    let mut doors = plan.ports.iter().flat_map(|port| outside(plan, port));
    doors.any(|door| !door.sockets.is_empty())
}

/// That of everybody, then that of a load balancer's clients.
fn outside<'a>(plan: &'a ServicePlan, port: &PortPlan) -> Vec<Door<'a>> {
    let Outside { node_addresses, external_ips, balancer_ips, held, source_ranges, .. } =
        &plan.outside;
    let node_ports = port.node_port.into_iter().flat_map(|number| {
        node_addresses.iter().map(move |address| SocketAddrV4::new(*address, number))
    });
    let here = |ips: &'a BTreeSet<Ipv4Addr>| {
        ips.intersection(held).map(|ip| SocketAddrV4::new(*ip, port.port))
    };
    let everybody = Door { sockets: node_ports.chain(here(external_ips)).collect(), only: None };
    let balanced = Door { sockets: here(balancer_ips).collect(), only: source_ranges.as_ref() };
    vec![everybody, balanced]
}

/// As many as the port that needs most.
fn connections(open: &[Open<'_>]) -> usize {
    open.iter().map(connections_of).max().unwrap_or(0).clamp(CONNECTIONS.0, CONNECTIONS.1)
}

fn connections_of(open: &Open<'_>) -> usize {
    match open.port.protocol {
        Protocol::Tcp => open.endpoints.len() * CONNECTIONS_PER_ENDPOINT,
        Protocol::Udp if is_for_questions(open.port) => CONNECTIONS_FOR_QUESTIONS,
        Protocol::Udp => CONNECTIONS_FOR_UDP,
    }
}

fn is_for_questions(port: &PortPlan) -> bool {
    QUESTION_PORTS.contains(&port.port)
}

/// The directive that says who takes a connection; in turn if there is none.
fn balancing(plan: &ServicePlan) -> Option<String> {
    match plan.balancing {
        // Consistent: when an endpoint comes or goes, only its own share of the clients moves.
        _ if plan.affinity.is_some() => Some(format!("hash \"$remote_addr {EPOCH}\" consistent")),
        Balancing::RoundRobin => None,
        Balancing::Random => Some("random".to_owned()),
        Balancing::LeastConnections => Some("least_conn".to_owned()),
    }
}

fn write_upstream(out: &mut String, open: &Open<'_>, balancing: Option<&str>) -> fmt::Result {
    writeln!(out, "    upstream {} {{", upstream(open.port))?;
    if let Some(balancing) = balancing {
        writeln!(out, "        {balancing};")?;
    }
    for endpoint in open.endpoints {
        writeln!(out, "        server {endpoint};")?;
    }
    writeln!(out, "    }}")
}

fn upstream(port: &PortPlan) -> String {
    format!("{}-{}", port.protocol, port.port)
}

fn write_server(out: &mut String, door: &Door<'_>, open: &Open<'_>) -> fmt::Result {
    writeln!(out, "    server {{")?;
    match open.port.protocol {
        Protocol::Tcp => write_tcp(out, door)?,
        Protocol::Udp if is_for_questions(open.port) => write_questions(out, door)?,
        Protocol::Udp => write_udp(out, door, UDP_IDLE)?,
    }
    if let Some(ranges) = door.only {
        ranges.iter().try_for_each(|range| writeln!(out, "        allow {range};"))?;
        writeln!(out, "        deny all;")?;
    }
    writeln!(out, "        proxy_pass {};\n    }}", upstream(open.port))
}

/// Keep-alive finds dead peers long before the idle time is over. Half-closed: a client that has sent
/// its last byte still gets its answer.
fn write_tcp(out: &mut String, door: &Door<'_>) -> fmt::Result {
    for socket in &door.sockets {
        writeln!(out, "        listen {socket} so_keepalive=on backlog={BACKLOG};")?;
    }
    write!(
        out,
        "        proxy_socket_keepalive on;\n        \
         proxy_half_close on;\n        \
         proxy_connect_timeout 2s;\n        \
         proxy_timeout {TCP_IDLE};\n"
    )
}

fn write_udp(out: &mut String, door: &Door<'_>, idle: &str) -> fmt::Result {
    door.sockets.iter().try_for_each(|socket| writeln!(out, "        listen {socket} udp;"))?;
    writeln!(out, "        proxy_timeout {idle};")
}

/// One answer for each datagram of a flow, then the flow is over.
fn write_questions(out: &mut String, door: &Door<'_>) -> fmt::Result {
    write_udp(out, door, QUESTION_IDLE)?;
    writeln!(out, "        proxy_responses 1;")
}
