//! The directives by which an nginx leads connections to a Service's endpoints.

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    net::IpAddr,
};

use ipnet::IpNet;

use super::{
    doors::{Door, Open},
    flow::Flow,
};
use crate::{
    family::Family,
    nginx::EPOCH,
    plan::{Balancing, ServicePlan},
};

/// The address from which nginx speaks to endpoints; nothing means its own. A pod takes nothing that seems to come from
/// itself.
pub(super) fn write_clients<'a>(
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

pub(super) fn write_stream(out: &mut String, plan: &ServicePlan, open: &[Open<'_>]) -> fmt::Result {
    let balancing = balancing(plan);
    for open in open {
        let family = suffix(open.family);
        let upstream = format!("{}-{}{family}", open.port.protocol, open.port.port);
        write_upstream(out, open, &upstream, balancing.as_deref())?;
        open.doors.iter().try_for_each(|door| write_server(out, door, open, &upstream, plan))?;
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

pub(super) fn write_upstream(
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

pub(super) fn write_server(
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
