//! The nginx of one Service: a function from a [`ServicePlan`] to an [`InstanceSpec`].
//!
//! Equal plans give equal texts, whatever the order in which endpoints became known, so that a
//! comparison of texts tells whether a reload is needed.

use std::fmt::{self, Write as _};

use crate::{
    containers::SERVICE_LABEL,
    instance::InstanceSpec,
    nginx::{Configuration, EPOCH, http::Http},
    plan::{PortPlan, Protocol, ServicePlan},
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

/// The nginx of a Service. Ports without endpoints are not listened on, so they are refused.
pub fn spec(plan: &ServicePlan) -> InstanceSpec {
    let ServicePlan { namespace, name, uid, ip, affinity, .. } = plan;
    let mut stream = String::new();
    write_stream(&mut stream, plan).expect("writing to a String does not fail");
    InstanceSpec {
        kind: KIND.to_owned(),
        uid: uid.clone(),
        owner: plan.to_string(),
        name: format!("service_{name}_{namespace}_{uid}"),
        labels: [(SERVICE_LABEL.to_owned(), plan.to_string())].into(),
        addresses: [*ip].into(),
        configuration: Configuration {
            title: format!("Service {plan}"),
            connections: connections(plan),
            stream,
            http: Http::default(),
            affinity: *affinity,
        },
    }
}

fn write_stream(out: &mut String, plan: &ServicePlan) -> fmt::Result {
    for port in open(plan) {
        write_upstream(out, port, plan.affinity.is_some())?;
        write_server(out, plan, port)?;
    }
    Ok(())
}

fn open(plan: &ServicePlan) -> impl Iterator<Item = &PortPlan> {
    plan.ports.iter().filter(|port| !port.endpoints.is_empty())
}

/// As many as the port that needs most.
fn connections(plan: &ServicePlan) -> usize {
    open(plan).map(connections_of).max().unwrap_or(0).clamp(CONNECTIONS.0, CONNECTIONS.1)
}

fn connections_of(port: &PortPlan) -> usize {
    match port.protocol {
        Protocol::Tcp => port.endpoints.len() * CONNECTIONS_PER_ENDPOINT,
        Protocol::Udp if is_for_questions(port) => CONNECTIONS_FOR_QUESTIONS,
        Protocol::Udp => CONNECTIONS_FOR_UDP,
    }
}

fn is_for_questions(port: &PortPlan) -> bool {
    QUESTION_PORTS.contains(&port.port)
}

fn write_upstream(out: &mut String, port: &PortPlan, affinity: bool) -> fmt::Result {
    writeln!(out, "    upstream {} {{", upstream(port))?;
    if affinity {
        // Consistent: when an endpoint comes or goes, only its own share of the clients moves.
        writeln!(out, "        hash \"$remote_addr {EPOCH}\" consistent;")?;
    }
    for endpoint in &port.endpoints {
        writeln!(out, "        server {endpoint};")?;
    }
    writeln!(out, "    }}")
}

fn write_server(out: &mut String, plan: &ServicePlan, port: &PortPlan) -> fmt::Result {
    let socket = format!("{}:{}", plan.ip, port.port);
    writeln!(out, "    server {{")?;
    match port.protocol {
        Protocol::Tcp => write_tcp(out, &socket)?,
        Protocol::Udp if is_for_questions(port) => write_questions(out, &socket)?,
        Protocol::Udp => write_udp(out, &socket, UDP_IDLE)?,
    }
    writeln!(out, "        proxy_pass {};\n    }}", upstream(port))
}

/// Keep-alive finds dead peers long before the idle time is over. Half-closed: a client that has sent
/// its last byte still gets its answer.
fn write_tcp(out: &mut String, socket: &str) -> fmt::Result {
    write!(
        out,
        "        listen {socket} so_keepalive=on backlog={BACKLOG};\n        \
         proxy_socket_keepalive on;\n        \
         proxy_half_close on;\n        \
         proxy_connect_timeout 2s;\n        \
         proxy_timeout {TCP_IDLE};\n"
    )
}

fn write_udp(out: &mut String, socket: &str, idle: &str) -> fmt::Result {
    write!(out, "        listen {socket} udp;\n        proxy_timeout {idle};\n")
}

/// One answer for each datagram of a flow, then the flow is over.
fn write_questions(out: &mut String, socket: &str) -> fmt::Result {
    write_udp(out, socket, QUESTION_IDLE)?;
    writeln!(out, "        proxy_responses 1;")
}

fn upstream(port: &PortPlan) -> String {
    format!("{}-{}", port.protocol, port.port)
}
