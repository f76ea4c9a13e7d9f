//! The nginxes of one Service: a function from a [`ServicePlan`] to [`InstanceSpec`]s.
//!
//! Equal plans give equal texts, whatever the order in which endpoints became known, so that a
//! comparison of texts tells whether a reload is needed.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::{
    containers::SERVICE_LABEL,
    family::Family,
    instance::InstanceSpec,
    nginx::{Configuration, DRAINING_CONNECTIONS, EPOCH, http::Http},
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
/// What nginx takes of a connection at once, of each of its sides. With the 16k that it takes by itself, bytes cost two thirds more
/// time; with more than this, connections that are soon over do, and each may hold twice as much.
const BUFFER: &str = "64k";
/// UDP ports whose protocol answers each datagram with one: DNS and NTP.
const QUESTION_PORTS: [u16; 2] = [53, 123];

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

/// What a Service adds to an nginx that serves others, too.
#[derive(Debug, Default)]
pub(super) struct Part {
    /// Directives of its own.
    pub(super) stream: String,
    /// Where it may listen and nothing else is asked, and to which upstream or endpoint that leads.
    pub(super) ways: BTreeMap<(Flow, Socket), String>,
}

impl Part {
    /// Of a Service that may listen at these sockets.
    pub(super) fn of(plan: &ServicePlan, may_listen: impl Fn(&Socket) -> bool) -> Self {
        let mut part = Part::default();
        let both = [("", inside(plan)), (OUTSIDE, from_outside(plan))];
        let all: Vec<_> = both.iter().flat_map(|(_, open)| open).collect();
        write_clients(&mut part.stream, plan, all).expect("writing to a String does not fail");
        for (suffix, mut all) in both {
            for open in &mut all {
                for door in &mut open.doors {
                    door.sockets.retain(|socket| may_listen(&(open.port.protocol, *socket)));
                }
                open.doors.retain(|door| !door.sockets.is_empty());
            }
            all.retain(|open| !open.doors.is_empty());
            for (number, open) in all.iter().enumerate() {
                let name = format!("{}{suffix}-{number}", plan.uid);
                part.add(plan, open, name).expect("writing to a String does not fail");
            }
        }
        part
    }

    fn add(&mut self, plan: &ServicePlan, open: &Open<'_>, name: String) -> fmt::Result {
        let upstream = with_length_of_its_own(name);
        let (common, own): (Vec<_>, Vec<_>) =
            open.doors.iter().partition(|door| door.only.is_none() && plan.kept.is_empty());
        let lone = open.endpoints.first().filter(|_| open.endpoints.len() == 1);
        let to = lone.map_or_else(|| upstream.clone(), ToString::to_string);
        if lone.is_none() || !own.is_empty() {
            write_upstream(&mut self.stream, open, &upstream, balancing(plan).as_deref())?;
        }
        for door in own {
            write_server(&mut self.stream, door, open, &upstream, plan)?;
        }
        let (flow, protocol) = (Flow::of(open.port), open.port.protocol);
        let sockets = common.into_iter().flat_map(|door| &door.sockets);
        self.ways.extend(sockets.map(|socket| ((flow, (protocol, *socket)), to.clone())));
        Ok(())
    }
}

/// nginx compares the name of each upstream, and of each that a connection is led to, with those of all others, of which it
/// passes over at once whatever is longer or shorter.
fn with_length_of_its_own(name: String) -> String {
    const LENGTHS: usize = 64;
    let sum: usize = name.bytes().map(usize::from).sum();
    name + &"-".repeat(sum % LENGTHS)
}

/// How an nginx treats what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Flow {
    /// As connections.
    Tcp,
    /// As flows of datagrams.
    Udp,
    /// As datagrams of which each has one answer.
    Questions,
}

impl Flow {
    fn of(port: &PortPlan) -> Self {
        match port.protocol {
            Protocol::Tcp => Flow::Tcp,
            Protocol::Udp if is_for_questions(port) => Flow::Questions,
            Protocol::Udp => Flow::Udp,
        }
    }

    /// Of a server that listens at these sockets, how.
    pub(super) fn write(
        self,
        out: &mut String,
        sockets: impl IntoIterator<Item: fmt::Display>,
    ) -> fmt::Result {
        match self {
            Flow::Tcp => write_tcp(out, sockets),
            Flow::Questions => write_questions(out, sockets),
            Flow::Udp => write_udp(out, sockets, UDP_IDLE),
        }
    }
}

/// The address from which nginx speaks to endpoints; nothing means its own. A pod takes nothing that seems to come from
/// itself.
fn write_clients<'a>(
    out: &mut String,
    plan: &ServicePlan,
    open: impl IntoIterator<Item = &'a Open<'a>>,
) -> fmt::Result {
    let endpoints: BTreeSet<_> = open.into_iter().flat_map(|open| &open.endpoints).collect();
    if plan.kept.is_empty() || endpoints.is_empty() {
        return Ok(());
    }
    let id = variable(plan);
    writeln!(out, "    geo $kept_{id} {{\n        default \"\";")?;
    plan.kept.iter().try_for_each(|network| writeln!(out, "        {network} 1;"))?;
    let own: BTreeSet<_> = endpoints.iter().map(|endpoint| endpoint.ip()).collect();
    let is_kept = |ip: &IpAddr| plan.kept.iter().any(|it| it.contains(ip));
    let own = own.into_iter().filter(is_kept);
    own.into_iter().try_for_each(|ip| writeln!(out, "        {} \"\";", IpNet::from(ip)))?;
    writeln!(out, "    }}\n    map $kept_{id} $client_{id} {{")?;
    writeln!(out, "        default \"\";\n        1 $remote_addr;\n    }}")
}

/// What variables of a Service end with.
fn variable(plan: &ServicePlan) -> String {
    plan.uid.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}

fn write_stream(out: &mut String, plan: &ServicePlan, open: &[Open<'_>]) -> fmt::Result {
    let balancing = balancing(plan);
    for open in open {
        let family = suffix(open.family);
        let upstream = format!("{}-{}{family}", open.port.protocol, open.port.port);
        write_upstream(out, open, &upstream, balancing.as_deref())?;
        open.doors.iter().try_for_each(|door| write_server(out, door, open, &upstream, plan))?;
    }
    Ok(())
}

/// Where an nginx listens.
pub type Socket = (Protocol, SocketAddr);

/// Endpoints that take connections, and where these come in: all of one family.
struct Open<'a> {
    port: &'a PortPlan,
    family: Family,
    endpoints: BTreeSet<SocketAddr>,
    doors: Vec<Door<'a>>,
}

/// What names of IPv6 end with.
fn suffix(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "",
        Family::Ipv6 => "-v6",
    }
}

/// Sockets with a say in who may come.
pub(super) struct Door<'a> {
    pub(super) sockets: BTreeSet<SocketAddr>,
    /// Nothing: everybody.
    pub(super) only: Option<&'a BTreeSet<IpNet>>,
}

fn inside<'a>(plan: &'a ServicePlan) -> Vec<Open<'a>> {
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

fn from_outside<'a>(plan: &'a ServicePlan) -> Vec<Open<'a>> {
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
pub(super) fn is_reached_from_outside(plan: &ServicePlan) -> bool {
    let mut doors = plan.ports.iter().flat_map(|port| outside(plan, port));
    doors.any(|door| !door.sockets.is_empty())
}

/// That of everybody, then that of a load balancer's clients.
pub(super) fn outside<'a>(plan: &'a ServicePlan, port: &PortPlan) -> Vec<Door<'a>> {
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

fn write_upstream(
    out: &mut String,
    open: &Open<'_>,
    upstream: &str,
    balancing: Option<&str>,
) -> fmt::Result {
    writeln!(out, "    upstream {upstream} {{")?;
    if let Some(balancing) = balancing {
        writeln!(out, "        {balancing};")?;
    }
    for endpoint in &open.endpoints {
        writeln!(out, "        server {endpoint};")?;
    }
    writeln!(out, "    }}")
}

fn write_server(
    out: &mut String,
    door: &Door<'_>,
    open: &Open<'_>,
    upstream: &str,
    plan: &ServicePlan,
) -> fmt::Result {
    writeln!(out, "    server {{")?;
    if !plan.kept.is_empty() {
        writeln!(out, "        proxy_bind $client_{} transparent;", variable(plan))?;
    }
    Flow::of(open.port).write(out, &door.sockets)?;
    if let Some(ranges) = door.only {
        ranges.iter().try_for_each(|range| writeln!(out, "        allow {range};"))?;
        writeln!(out, "        deny all;")?;
    }
    writeln!(out, "        proxy_pass {upstream};\n    }}")
}

/// Keep-alive finds dead peers long before the idle time is over. Half-closed: a client that has sent
/// its last byte still gets its answer.
fn write_tcp(out: &mut String, sockets: impl IntoIterator<Item: fmt::Display>) -> fmt::Result {
    for socket in sockets {
        writeln!(out, "        listen {socket} so_keepalive=on backlog={BACKLOG};")?;
    }
    write!(
        out,
        "        proxy_socket_keepalive on;\n        \
         proxy_half_close on;\n        \
         proxy_connect_timeout 2s;\n        \
         proxy_timeout {TCP_IDLE};\n        \
         proxy_buffer_size {BUFFER};\n"
    )
}

fn write_udp(
    out: &mut String,
    sockets: impl IntoIterator<Item: fmt::Display>,
    idle: &str,
) -> fmt::Result {
    let mut sockets = sockets.into_iter();
    sockets.try_for_each(|socket| writeln!(out, "        listen {socket} udp;"))?;
    writeln!(out, "        proxy_timeout {idle};")
}

/// One answer for each datagram of a flow, then the flow is over.
fn write_questions(
    out: &mut String,
    sockets: impl IntoIterator<Item: fmt::Display>,
) -> fmt::Result {
    write_udp(out, sockets, QUESTION_IDLE)?;
    writeln!(out, "        proxy_responses 1;")
}
