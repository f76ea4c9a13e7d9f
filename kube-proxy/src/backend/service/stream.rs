//! The directives by which an nginx leads connections to a Service's endpoints.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    net::{IpAddr, SocketAddr},
};

use ipnet::IpNet;

use super::{
    doors::{Door, Open},
    flow::Flow,
};
use crate::{
    family::Family,
    nginx::{EPOCH, upstream::write_upstream},
    plan::{Balancing, ServicePlan},
};

/// The address from which nginx speaks to endpoints; nothing means its own. A pod takes nothing that seems to come from
/// itself.
pub(super) fn write_clients(
    out: &mut String,
    plan: &ServicePlan,
    open: &[Open<'_>],
) -> fmt::Result {
    if plan.kept.is_empty() || open.is_empty() {
        return Ok(());
    }
    let id = variable(plan);
    writeln!(out, "    geo $kept_{id} {{\n        default \"\";")?;
    plan.kept.iter().try_for_each(|network| writeln!(out, "        {network} 1;"))?;
    let own = own_clients(plan, open).into_iter();
    own.map(IpNet::from).try_for_each(|ip| writeln!(out, "        {ip} \"\";"))?;
    writeln!(out, "    }}\n    map $kept_{id} $client_{id} {{")?;
    writeln!(out, "        default \"\";\n        1 $remote_addr;\n    }}")
}

/// Its endpoints, of those whose addresses are kept.
pub(super) fn own_clients<'a>(
    plan: &ServicePlan,
    open: impl IntoIterator<Item = &'a Open<'a>>,
) -> BTreeSet<IpAddr> {
    let endpoints = open.into_iter().flat_map(|open| &open.endpoints).map(SocketAddr::ip);
    endpoints.filter(|ip| plan.kept.iter().any(|network| network.contains(ip))).collect()
}

/// What variables of a Service end with.
fn variable(plan: &ServicePlan) -> String {
    plan.uid.replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")
}

pub(super) fn write_stream(out: &mut String, plan: &ServicePlan, open: &[Open<'_>]) -> fmt::Result {
    let balancing = balancing(plan);
    let client = (!plan.kept.is_empty()).then(|| format!("$client_{}", variable(plan)));
    for open in open {
        let family = suffix(open.family);
        let upstream = format!("{}-{}{family}", open.port.protocol, open.port.port);
        write_upstream(out, &upstream, balancing.as_deref(), &open.endpoints)?;
        let server = Server { open, upstream: &upstream, client: client.as_deref() };
        open.doors.iter().try_for_each(|door| server.write(out, door))?;
    }
    Ok(())
}

/// What names of IPv6 end with.
fn suffix(family: Family) -> &'static str {
    match family {
        Family::Ipv4 => "",
        Family::Ipv6 => "-v6",
    }
}

/// The directive that says who takes a connection; in turn if there is none.
pub(super) fn balancing(plan: &ServicePlan) -> Option<String> {
    match plan.balancing {
        // Consistent: when an endpoint comes or goes, only its own share of the clients moves.
        _ if plan.affinity.is_some() => Some(format!("hash \"$remote_addr {EPOCH}\" consistent")),
        Balancing::RoundRobin => None,
        Balancing::Random => Some("random".to_owned()),
        Balancing::LeastConnections => Some("least_conn".to_owned()),
    }
}

/// Where the connections of a server go.
pub(super) struct Server<'a> {
    pub(super) open: &'a Open<'a>,
    pub(super) upstream: &'a str,
    /// The variable that says from which address.
    pub(super) client: Option<&'a str>,
}

impl Server<'_> {
    pub(super) fn write(&self, out: &mut String, door: &Door<'_>) -> fmt::Result {
        writeln!(out, "    server {{")?;
        write_bind(out, self.client)?;
        Flow::of(self.open.port).write(out, &door.sockets)?;
        if let Some(ranges) = door.only {
            ranges.iter().try_for_each(|range| writeln!(out, "        allow {range};"))?;
            writeln!(out, "        deny all;")?;
        }
        writeln!(out, "        proxy_pass {};\n    }}", self.upstream)
    }
}

/// `client`: a variable; without one nginx speaks from its own address.
pub(crate) fn write_bind(out: &mut String, client: Option<&str>) -> fmt::Result {
    let mut client = client.into_iter();
    client.try_for_each(|client| writeln!(out, "        proxy_bind {client} transparent;"))
}
