//! What comes in at a port, and how an nginx treats it.

use std::fmt::{self, Write as _};

use crate::plan::{PortPlan, Protocol};

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

/// How an nginx treats what comes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Flow {
    /// As connections.
    Tcp,
    /// As flows of datagrams.
    Udp,
    /// As datagrams of which each has one answer.
    Questions,
}

impl Flow {
    pub(super) fn of(port: &PortPlan) -> Self {
        match port.protocol {
            Protocol::Tcp => Flow::Tcp,
            Protocol::Udp if is_for_questions(port) => Flow::Questions,
            Protocol::Udp => Flow::Udp,
        }
    }

    /// Of a server that listens at these sockets, how.
    pub(crate) fn write(
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

fn is_for_questions(port: &PortPlan) -> bool {
    QUESTION_PORTS.contains(&port.port)
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
