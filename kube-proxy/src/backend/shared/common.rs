//! What Services have together in the nginx of all: one server for each sort of traffic, which listens wherever they do and
//! finds out by the socket where that leads. nginx takes thousands of such sockets in a third of the time, and half of the
//! memory, of as many servers.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
};

use crate::{
    backend::service::{Flow, Socket},
    plan::ServicePlan,
};

/// Of the tables in which nginx looks sockets up: with these it has them ready at once for up to some ten thousand, where it
/// would try thousands of others otherwise.
const HASHES: &str = "    map_hash_max_size 16384;\n    map_hash_bucket_size 256;\n";

/// Where what comes in at a socket is led, and for which Service, for people.
#[derive(Debug, Default)]
pub(super) struct Common(BTreeMap<Flow, BTreeMap<Socket, (String, String)>>);

impl Common {
    /// Who comes first has a socket.
    pub(super) fn add(&mut self, plan: &ServicePlan, ways: BTreeMap<(Flow, Socket), String>) {
        for ((flow, socket), to) in ways {
            let all = self.0.entry(flow).or_default();
            all.entry(socket).or_insert_with(|| (to, plan.to_string()));
        }
    }

    pub(super) fn write(&self, out: &mut String) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        out.push_str(HASHES);
        for (flow, all) in &self.0 {
            let to = variable(*flow);
            writeln!(out, "    map $server_addr:$server_port {to} {{")?;
            for ((_, socket), (to, service)) in all {
                // As the variables say it.
                let key = format!("{}:{}", socket.ip(), socket.port());
                writeln!(out, "        {key} {to}; # {service}")?;
            }
            writeln!(out, "    }}\n    server {{")?;
            flow.write(out, all.keys().map(|(_, socket)| socket))?;
            writeln!(out, "        proxy_pass {to};\n    }}")?;
        }
        Ok(())
    }
}

fn variable(flow: Flow) -> &'static str {
    match flow {
        Flow::Tcp => "$tcp",
        Flow::Udp => "$udp",
        Flow::Questions => "$questions",
    }
}
