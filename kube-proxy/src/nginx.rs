//! The nginx configuration of one Service: a function from a [`ServicePlan`] to text.
//!
//! Equal plans give equal text, whatever the order in which endpoints became known, so that a
//! comparison of texts tells whether a reload is needed.
//!
//! A configuration names its [`Generation`] on a socket that only this host can reach: whether a reload
//! was taken is asked of the nginx itself, which keeps the old configuration if it can't use the new
//! one, and says so only in its log.

use std::fmt::{self, Write as _};

use sha2::{Digest, Sha256};

use crate::plan::{PortPlan, Protocol, ServicePlan};

/// Where nginx tells its generation, in its container; see [`crate::configs`].
pub const STATUS_SOCKET: &str = "/run/minik8s/status";

/// Connections that one worker can hold, per endpoint. A proxied connection takes two.
const CONNECTIONS_PER_ENDPOINT: usize = 4096;
/// The bounds of a worker's connections: every thousand costs 0.43 MB, in use or not.
const CONNECTIONS: (usize, usize) = (8192, 65536);
/// A datagram has no end: each client's port holds its two connections for the whole idle time.
const CONNECTIONS_FOR_UDP: usize = 65536;
/// Where every question has one answer, the answer is the end.
const CONNECTIONS_FOR_QUESTIONS: usize = 16384;
/// Files of a worker that are not connections. Together they are asked for in place of Docker's default,
/// which may be 1,024; a daemon that allows no container so many leaves the worker with what it has.
const OTHER_FILES: usize = 256;

/// Connections that all workers of a Service together may hold beside the present one, after reloads
/// and as long as their clients stay: about 110 MB.
const CONNECTIONS_OF_DRAINING_WORKERS: usize = 262_144;

/// How long a flow may be silent before it is forgotten. For TCP and UDP, what connection tracking in
/// the kernel gives them in Kubernetes (`--conntrack-tcp-timeout-established`; 30 s for UDP): the client
/// of a forgotten flow may come to another endpoint. A resolver asks again before 5 s are over.
const TCP_IDLE: &str = "24h";
const UDP_IDLE: &str = "30s";
const QUESTION_IDLE: &str = "5s";
/// UDP ports whose protocol answers each datagram with one: DNS and NTP.
const QUESTION_PORTS: [u16; 2] = [53, 123];

/// What distinguishes a configuration from others: its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generation(String);

/// What distinguishes one telling of a configuration from others: a worker of the same content, told
/// earlier, may still answer for a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Telling(pub u64);

/// A client of a Service with affinity stays with one endpoint for as long as this stays the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub u32);

/// A Service's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file, but for its marks.
    template: String,
    /// What nginx says while it goes by it.
    pub generation: Generation,
    /// When its clients began to be remembered.
    epoch: Epoch,
    /// How many workers of earlier configurations may stay with their clients.
    pub draining_workers: usize,
}

/// Stands in a template for what nginx says.
const ANSWER: &str = "ANSWER";

/// What nginx says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What it goes by.
    pub generation: Generation,
    /// Since when.
    pub telling: Telling,
    /// Of that configuration.
    pub epoch: Epoch,
    /// The number of this very connection, of all connections that it has had.
    pub connection: u64,
}

/// The configuration. Ports without endpoints are not listened on, so they are refused.
pub fn render(plan: &ServicePlan, epoch: Epoch) -> Config {
    let mut template = String::new();
    write_config(&mut template, plan, epoch).expect("writing to a String does not fail");
    let generation = Generation::of(&template);
    let draining_workers = CONNECTIONS_OF_DRAINING_WORKERS / connections(plan);
    Config { template, generation, epoch, draining_workers }
}

impl Config {
    /// The file.
    pub fn text(&self, telling: Telling) -> String {
        let answer = format!("{} {:x} {}", self.generation.0, telling.0, self.epoch.0);
        self.template.replacen(ANSWER, &answer, 1)
    }
}

impl Answer {
    /// From what nginx has sent.
    pub fn read(text: &str) -> Option<Self> {
        let [generation, telling, epoch, connection] =
            text.split(' ').collect::<Vec<_>>().try_into().ok()?;
        Some(Answer {
            generation: Generation(generation.to_owned()),
            telling: Telling(u64::from_str_radix(telling, 16).ok()?),
            epoch: Epoch(epoch.parse().ok()?),
            connection: connection.parse().ok()?,
        })
    }
}

impl Generation {
    fn of(text: &str) -> Self {
        let digest = Sha256::digest(text);
        Generation(digest[..8].iter().map(|byte| format!("{byte:02x}")).collect())
    }
}

fn write_config(out: &mut String, plan: &ServicePlan, epoch: Epoch) -> fmt::Result {
    write_head(out, plan)?;
    writeln!(out, "\nstream {{")?;
    write!(
        out,
        "    server {{\n        listen unix:{STATUS_SOCKET};\n        return \"{ANSWER} $connection\";\n    }}\n"
    )?;
    for port in open(plan) {
        write_upstream(out, port, plan.affinity.map(|_| epoch))?;
        write_server(out, plan, port)?;
    }
    writeln!(out, "}}")
}

/// No `worker_shutdown_timeout`: after a reload, the old worker lives until its last connection ends. A
/// connection to an endpoint that is still there must not end because another one went, and one to an
/// endpoint that is gone ends with that.
fn write_head(out: &mut String, plan: &ServicePlan) -> fmt::Result {
    let connections = connections(plan);
    let files = connections + OTHER_FILES;
    write!(
        out,
        "# Service {plan}. Written by kube-proxy, which overwrites it.\n\
         load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off;\n\
         worker_processes 1;\n\
         worker_rlimit_nofile {files};\n\
         pid /run/nginx.pid;\n\
         error_log /dev/stderr warn;\n\
         \n\
         events {{\n    worker_connections {connections};\n}}\n"
    )
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

fn write_upstream(out: &mut String, port: &PortPlan, affinity: Option<Epoch>) -> fmt::Result {
    writeln!(out, "    upstream {} {{", upstream(port))?;
    if let Some(Epoch(epoch)) = affinity {
        // Consistent: when an endpoint comes or goes, only its own share of the clients moves.
        writeln!(out, "        hash \"$remote_addr {epoch}\" consistent;")?;
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
        "        listen {socket} so_keepalive=on;\n        \
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
