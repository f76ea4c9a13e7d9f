//! The nginx configuration of one Service: a function from a [`ServicePlan`] to text.
//!
//! Equal plans give equal text, whatever the order in which endpoints became known, so that a
//! comparison of texts tells whether a reload is needed.

use std::fmt::{self, Write as _};

use crate::plan::{PortPlan, Protocol, ServicePlan};

/// Connections that one worker can hold per endpoint. A proxied connection takes two.
const CONNECTIONS_PER_ENDPOINT: usize = 1024;
/// The bounds of a worker's connections: every thousand costs about half a megabyte.
const CONNECTIONS: (usize, usize) = (1024, 8192);
/// A datagram has no end: each client's port holds its two connections for the whole idle time.
const CONNECTIONS_FOR_UDP: usize = 16384;

/// How long a flow may be silent before it is forgotten. For TCP, what Kubernetes gives connection
/// tracking (`--conntrack-tcp-timeout-established`); for UDP much less, see [`CONNECTIONS_FOR_UDP`]:
/// the client of a forgotten flow may come to another endpoint, no more.
const TCP_IDLE: &str = "24h";
const UDP_IDLE: &str = "10s";

/// The configuration. Ports without endpoints are not listened on, so the kernel refuses them.
pub fn render(plan: &ServicePlan) -> String {
    let mut text = String::new();
    write_config(&mut text, plan).expect("writing to a String does not fail");
    text
}

fn write_config(out: &mut String, plan: &ServicePlan) -> fmt::Result {
    write_head(out, plan)?;
    writeln!(out, "\nstream {{")?;
    for port in plan.ports.iter().filter(|port| !port.endpoints.is_empty()) {
        write_upstream(out, port, plan.client_affinity)?;
        write_server(out, plan, port)?;
    }
    writeln!(out, "}}")
}

/// `worker_shutdown_timeout`: after a reload, the old worker lives until its last connection ends.
/// Connections to endpoints that are gone must not keep workers for ever.
fn write_head(out: &mut String, plan: &ServicePlan) -> fmt::Result {
    let connections = connections(plan);
    write!(
        out,
        "# Service {plan}. Written by kube-proxy, which overwrites it.\n\
         load_module /usr/lib/nginx/modules/ngx_stream_module.so;\n\
         daemon off;\n\
         worker_processes 1;\n\
         worker_shutdown_timeout 10m;\n\
         pid /run/nginx.pid;\n\
         error_log /dev/stderr warn;\n\
         \n\
         events {{\n    worker_connections {connections};\n}}\n"
    )
}

fn connections(plan: &ServicePlan) -> usize {
    let open = || plan.ports.iter().filter(|port| !port.endpoints.is_empty());
    if open().any(|port| port.protocol == Protocol::Udp) {
        return CONNECTIONS_FOR_UDP;
    }
    let most_endpoints = open().map(|port| port.endpoints.len()).max().unwrap_or(0);
    (most_endpoints * CONNECTIONS_PER_ENDPOINT).clamp(CONNECTIONS.0, CONNECTIONS.1)
}

fn write_upstream(out: &mut String, port: &PortPlan, client_affinity: bool) -> fmt::Result {
    writeln!(out, "    upstream {} {{", upstream(port))?;
    if client_affinity {
        // Consistent: when an endpoint comes or goes, only its own share of the clients moves.
        writeln!(out, "        hash $remote_addr consistent;")?;
    }
    for endpoint in &port.endpoints {
        writeln!(out, "        server {endpoint};")?;
    }
    writeln!(out, "    }}")
}

fn write_server(out: &mut String, plan: &ServicePlan, port: &PortPlan) -> fmt::Result {
    let socket = format!("{}:{}", plan.ip, port.port);
    let upstream = upstream(port);
    writeln!(out, "    server {{")?;
    match port.protocol {
        // Keep-alive finds dead peers long before the idle time is over.
        Protocol::Tcp => write!(
            out,
            "        listen {socket} so_keepalive=on;\n        \
             proxy_socket_keepalive on;\n        \
             proxy_connect_timeout 2s;\n        \
             proxy_timeout {TCP_IDLE};\n"
        )?,
        Protocol::Udp => write!(
            out,
            "        listen {socket} udp;\n        \
             proxy_timeout {UDP_IDLE};\n"
        )?,
    }
    writeln!(out, "        proxy_pass {upstream};\n    }}")
}

fn upstream(port: &PortPlan) -> String {
    format!("{}-{}", port.protocol, port.port)
}
