//! `kube-proxy check`: tells how this node differs from what the API server says, and changes nothing. What
//! should be there is said by the functions that the loops go by.

mod difference;
pub mod nginxes;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    net::Ipv4Addr,
    time::Duration,
};

use anyhow::{Context, bail};
use api_types::api::core::v1::Node;
use component::{Runtime, host::node_name};
use kube::runtime::reflector::Store;
use listwatch::ListWatch;
use serde::Serialize;
use tokio::time::timeout;

use crate::{
    addresses::{Addresses, Loopback},
    args::{Args, Output, ProxyMode},
    backend,
    configs::Configs,
    docker::Docker,
    firewall,
    routes::{kernel::Kernel, steps},
    self_made,
    world::{self, Here, RouterSettings, World},
};

pub use difference::Difference;

/// An API server that has not listed everything by then is said to be away.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Serialize)]
struct Report<'a> {
    node: &'a str,
    differences: &'a [Difference],
}

/// Prints the differences; an error if there are any.
pub(crate) async fn run(args: &Args, runtime: &Runtime) -> anyhow::Result<()> {
    let node = node_name(args.node_name.as_deref()).context("cannot tell the host name")?;
    let client = component::client(&args.client).await?;
    let listwatch = ListWatch::new(client, None, &runtime.tasks)?;
    let (nodes, nodes_watch) = world::follow(&listwatch, Vec::new());
    let (world, watches) = World::watch(&listwatch, nodes.clone(), &Default::default(), None);
    let certificate = self_made::certificate(&args.state_dir);
    let certificate = certificate.context("cannot use --state-dir")?;
    let host_ports = args.ingress_host_ports;
    let world = world.with_router(RouterSettings { host_ports, certificate });
    let here = Here {
        node,
        service_cidr: args.service_cidr,
        cluster_dns: args.cluster_dns,
        node_addresses: args.nodeport_addresses.clone(),
    };
    let differences = tokio::select! {
        found = differences(args, &here, &world, &nodes) => found?,
        () = watches => bail!("the watches have ended"),
        () = nodes_watch => bail!("the watch of nodes has ended"),
    };
    print(args.output, &here.node, &differences).context("cannot print")?;
    match differences.len() {
        0 => Ok(()),
        1 => bail!("1 difference"),
        count => bail!("{count} differences"),
    }
}

async fn differences(
    args: &Args,
    here: &Here,
    world: &World,
    nodes: &Store<Node>,
) -> anyhow::Result<Vec<Difference>> {
    let listed = timeout(PATIENCE, world.ready_with_hosts());
    listed.await.context(
        "the API server has not listed all Services, EndpointSlices, Nodes, DNS objects and Ingresses",
    )?;
    let kernel = Kernel::open().context("cannot look at the kernel's routes")?;
    let seen = kernel.look().await?;
    let place = world.place(here, &seen.local());
    let services = world.plans(&place);
    let mut specs: Vec<_> = world.router(&place).iter().flat_map(backend::router::specs).collect();
    let nginxes = match args.proxy_mode {
        ProxyMode::Nginx => services.iter().map(backend::service::spec).collect(),
        ProxyMode::Nftables => Vec::new(),
    };
    specs.extend(nginxes);

    let nodes = nodes.state();
    let plan = steps::plan(&args.host(&here.node), &seen, nodes.iter().map(AsRef::as_ref));
    let mut found = routes(&plan);
    found.extend(fence(args, &seen.routes));
    let loopback = Loopback::open(args.service_cidr, args.cluster_cidr).await;
    let held = loopback.context("cannot look at addresses")?.list().await?.held;
    let of_services = services.iter().map(|plan| (plan.ip, plan.to_string()));
    let of_nginxes = specs
        .iter()
        .flat_map(|spec| spec.addresses.iter().map(|address| (*address, spec.owner.clone())));
    let of_dns = args.cluster_dns.map(|address| (address, "DNS".to_owned()));
    found.extend(addresses(&of_services.chain(of_nginxes).chain(of_dns).collect(), &held));
    found.extend(rules(args).await?);
    let engine = ::docker::Docker::new(&args.docker_host).context("cannot use --docker-host")?;
    let docker = Docker::new(engine, &args.nginx_image, &here.node);
    let configs = Configs::open(&args.state_dir).context("cannot use --state-dir")?;
    match nginxes::differences(&docker, &configs, &specs).await {
        Ok(nginxes) => found.extend(nginxes),
        Err(error) => {
            let why = format!("cannot be looked at: {:#}", anyhow::Error::from(error));
            found.push(Difference::new("nginx", why));
        }
    }
    Ok(found)
}

fn routes(plan: &steps::Plan) -> Vec<Difference> {
    let waiting = plan.waiting.iter().map(|route| {
        let (to, node) = (route.destination, &route.node);
        Difference::new(
            "route",
            format!("route to {to} (node {node}) waits for this host's own node"),
        )
    });
    let step = |step: &steps::Step| {
        let part = match step {
            steps::Step::Route(_) => "route",
            steps::Step::Vxlan(_) => "vxlan",
        };
        Difference::new(part, step.to_string())
    };
    plan.steps.iter().map(step).chain(waiting).collect()
}

/// Whether packets for addresses that no Service has stay here.
fn fence(args: &Args, routes: &[netlink::Route]) -> Option<Difference> {
    let range = args.service_cidr;
    let fenced = routes.iter().any(|route| route.destination == range && !route.unicast);
    (!fenced).then(|| Difference::new("route", format!("blackhole route of {range} is missing")))
}

/// `wanted`: each address, and whose it is.
fn addresses(wanted: &BTreeMap<Ipv4Addr, String>, held: &BTreeSet<Ipv4Addr>) -> Vec<Difference> {
    let missing = wanted.iter().filter(|(address, _)| !held.contains(address));
    let missing = missing.map(|(address, owner)| format!("{address} of {owner} is missing on lo"));
    let surplus = held.iter().filter(|held| !wanted.contains_key(held));
    let surplus = surplus.map(|address| format!("{address} is left over on lo"));
    missing.chain(surplus).map(|message| Difference::new("address", message)).collect()
}

async fn rules(args: &Args) -> anyhow::Result<Vec<Difference>> {
    let wanted = firewall::table(args.service_cidr, args.cluster_cidr);
    let found = packet_filter::differences(&[wanted]).await?;
    Ok(found.into_iter().map(|message| Difference::new("rule", message)).collect())
}

fn print(output: Output, node: &str, differences: &[Difference]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match output {
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, &Report { node, differences })?;
            writeln!(out)
        }
        Output::Text => differences
            .iter()
            .try_for_each(|Difference { part, message }| writeln!(out, "{part}: {message}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_are_missing_or_left_over_are_told() {
        let a = ([10, 96, 0, 1].into(), "default/a".to_owned());
        let b = ([10, 96, 0, 2].into(), "default/b".to_owned());
        let wanted = BTreeMap::from([a, b]);
        let held = [[10, 96, 0, 2].into(), [10, 96, 0, 3].into()].into();
        let found = addresses(&wanted, &held);
        let found: Vec<_> = found.iter().map(|found| found.message.as_str()).collect();
        assert_eq!(
            found,
            ["10.96.0.1 of default/a is missing on lo", "10.96.0.3 is left over on lo",]
        );
        let held = [[10, 96, 0, 1].into(), [10, 96, 0, 2].into()].into();
        assert_eq!(addresses(&wanted, &held), []);
    }
}
