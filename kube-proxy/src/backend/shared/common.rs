//! What Services have together in the nginx of all: one server for each sort of traffic, which listens wherever they do and
//! finds out by the socket where that leads. nginx takes thousands of such sockets in a third of the time, and half of the
//! memory, of as many servers.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use crate::{
    backend::service::{CLIENT, Flow, Part, write_bind},
    nginx::Socket,
    plan::ServicePlan,
};

/// Of the tables in which nginx looks sockets up: with these it has them ready at once for up to some ten thousand, where it
/// would try thousands of others otherwise.
const HASHES: &str = "    map_hash_max_size 16384;\n    map_hash_bucket_size 256;\n";

#[derive(Debug, Default)]
pub(super) struct Common {
    /// Where what comes in at a socket is led, and for which Service, for people.
    ways: BTreeMap<Flow, BTreeMap<Socket, (String, String)>>,
    /// The networks of those clients whose addresses are kept.
    kept: BTreeSet<IpNet>,
    /// But for these, at these sockets: they are endpoints there themselves.
    own: BTreeSet<(IpAddr, Socket)>,
}

impl Common {
    /// Who comes first has a socket. Gives what the Service has for itself.
    pub(super) fn add(&mut self, plan: &ServicePlan, part: Part) -> String {
        for ((flow, socket), to) in part.ways {
            let all = self.ways.entry(flow).or_default();
            all.entry(socket).or_insert_with(|| (to, plan.to_string()));
        }
        self.kept.extend(&plan.kept);
        self.own.extend(part.own);
        part.stream
    }

    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.ways.is_empty() && self.kept.is_empty() {
            return Ok(());
        }
        out.push_str(HASHES);
        self.write_clients(out)?;
        for (flow, all) in &self.ways {
            let to = variable(*flow);
            writeln!(out, "    map $server_addr:$server_port {to} {{")?;
            for ((_, socket), (to, service)) in all {
                writeln!(out, "        {} {to}; # {service}", key(*socket))?;
            }
            writeln!(out, "    }}\n    server {{")?;
            write_bind(out, (!self.kept.is_empty()).then_some(CLIENT))?;
            flow.write(out, all.keys().map(|(_, socket)| socket))?;
            writeln!(out, "        proxy_pass {to};\n    }}")?;
        }
        Ok(())
    }

    /// As many variables for all Services as for one: each connection has room for all that there are.
    fn write_clients(&self, out: &mut String) -> fmt::Result {
        if self.kept.is_empty() {
            return Ok(());
        }
        writeln!(out, "    geo $kept {{\n        default 0;")?;
        self.kept.iter().try_for_each(|network| writeln!(out, "        {network} 1;"))?;
        writeln!(
            out,
            "    }}\n    map \"$protocol $remote_addr $server_addr:$server_port\" $own {{\n        default 0;"
        )?;
        for (ip, (protocol, socket)) in &self.own {
            writeln!(out, "        \"{protocol} {ip} {}\" 1;", key(*socket))?;
        }
        writeln!(out, "    }}\n    map $kept$own {CLIENT} {{")?;
        writeln!(out, "        default \"\";\n        10 $remote_addr;\n    }}")
    }
}

/// As variables say it.
fn key(socket: SocketAddr) -> String {
    format!("{}:{}", socket.ip(), socket.port())
}

fn variable(flow: Flow) -> &'static str {
    match flow {
        Flow::Tcp => "$tcp",
        Flow::Udp => "$udp",
        Flow::Questions => "$questions",
    }
}
