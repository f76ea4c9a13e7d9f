//! Who answers what an nginx leads on, be it connections or requests.

use std::{
    fmt::{self, Write as _},
    net::SocketAddr,
};

/// Each in turn, unless `balancing` says who is next. By itself nginx would not ask who refused once for 10 s, and nobody
/// once all have; it is asked each time: whether an endpoint is ready is said by the API server alone.
pub(crate) fn write_upstream<'a>(
    out: &mut String,
    name: &str,
    balancing: Option<&str>,
    servers: impl IntoIterator<Item = &'a SocketAddr>,
) -> fmt::Result {
    writeln!(out, "    upstream {name} {{")?;
    if let Some(balancing) = balancing {
        writeln!(out, "        {balancing};")?;
    }
    for server in servers {
        writeln!(out, "        server {server} max_fails=0;")?;
    }
    writeln!(out, "    }}")
}
