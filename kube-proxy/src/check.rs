//! `kube-proxy check`: tells how this node differs from what the API server says, and changes nothing. What
//! should be there is said by the functions that the loops go by.

pub mod nginxes;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail};
use api_types::api::core::v1::Node;
use component::{
    Runtime,
    check::{Difference, report},
    host::node_name,
};
use ipnet::IpNet;
use kube::runtime::reflector::Store;
use listwatch::ListWatch;
use netlink::Netlink;
use tokio::time::timeout;

use crate::{
    addresses::{Addresses, Loopback},
    announced::Announced,
    announcer,
    args::{Args, NginxForm, ProxyMode},
    backend, client_addresses,
    configs::Configs,
    docker::Docker,
    firewall,
    instance::InstanceSpec,
    plan::{Place, ServicePlan},
    policy,
    routes::{guard, kernel::Kernel, seen::Seen, steps},
    self_made,
    world::{self, Here, RouterSettings, World},
};

/// An API server that has not listed everything by then is said to be away.
const PATIENCE: Duration = Duration::from_secs(30);

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
    let announced = Arc::<Announced>::default();
    let world = world.with_router(RouterSettings { host_ports, certificate });
    let world = world.with_announced(announced.clone());
    let here = args.here(node);
    let differences = tokio::select! {
        found = differences(args, &here, &world, &nodes, &listwatch, &announced) => found?,
        () = watches => bail!("the watches have ended"),
        () = nodes_watch => bail!("the watch of nodes has ended"),
    };
    report(args.output, &here.node, &differences)
}

async fn differences(
    args: &Args,
    here: &Here,
    world: &World,
    nodes: &Store<Node>,
    listwatch: &ListWatch,
    announced: &Announced,
) -> anyhow::Result<Vec<Difference>> {
    let listed = timeout(PATIENCE, world.ready_with_hosts());
    listed.await.context(
        "the API server has not listed all Services, EndpointSlices, Nodes, DNS objects, Ingresses and Gateways",
    )?;
    let announcements = announcer::differences(here, world, nodes, announced).await?;
    let clients = clients(args, world).await?;
    let kernel = Kernel::open().context("cannot look at the kernel's routes")?;
    let seen = kernel.look().await?;
    let place = world.place(here, &seen.local());
    let services = world.plans(&place);
    let configs = Configs::open(&args.state_dir).context("cannot use --state-dir")?;
    let (mut specs, left_out) = specs(args, &services, &configs);
    specs.extend(led_on(world, &place));

    let mut found = ways(args, here, &seen, nodes).await?;
    found.extend(said("rule", clients));
    found.extend(of_addresses(args, &services, &specs).await?);
    found.extend(said("announcement", announcements));
    found.extend(rules(args, &services).await?);
    found.extend(policies(args, here, kernel, world, nodes, listwatch).await?);
    found.extend(left_out);
    found.extend(nginxes(args, here, &configs, &specs).await?);
    Ok(found)
}

fn said(part: &'static str, messages: Vec<String>) -> impl Iterator<Item = Difference> {
    messages.into_iter().map(move |message| Difference::new(part, message))
}

/// Of what keeps clients' addresses; whose these are is known to the world afterwards.
async fn clients(args: &Args, world: &World) -> anyhow::Result<Vec<String>> {
    let (netlink, pods) = (Netlink::open()?, args.cluster_cidr);
    let keeps_clients = args.nginx_keeps_clients();
    let found = client_addresses::differences(pods, &netlink, keeps_clients).await?;
    if keeps_clients {
        world.keep_clients_of(client_addresses::networks(pods, &netlink).await?);
    }
    Ok(found)
}

/// The nginxes that there should be beside those of Services.
fn led_on(world: &World, place: &Place) -> Vec<InstanceSpec> {
    let router = world.router(place);
    let gateways = world.gateways(place).map(|(plans, _)| plans).unwrap_or_default();
    let of_gateways = gateways.iter().flat_map(backend::gateway::specs);
    router.iter().flat_map(backend::router::specs).chain(of_gateways).collect()
}

/// To other hosts' pods, and to nowhere.
async fn ways(
    args: &Args,
    here: &Here,
    seen: &Seen,
    nodes: &Store<Node>,
) -> anyhow::Result<Vec<Difference>> {
    let (all, host) = (nodes.state(), args.host(&here.node));
    let plan = steps::plan(&host, seen, all.iter().map(AsRef::as_ref));
    let mut found = routes(&plan);
    found.extend(said("vxlan", guard::differences(&host, seen, &plan.overlay).await?));
    found.extend(fence(args, &seen.routes));
    Ok(found)
}

async fn of_addresses(
    args: &Args,
    services: &[ServicePlan],
    specs: &[InstanceSpec],
) -> anyhow::Result<Vec<Difference>> {
    let loopback = Loopback::open(args.service_cidr, args.cluster_cidr).await;
    let held = loopback.context("cannot look at addresses")?.list().await?.held;
    let of_services =
        services.iter().flat_map(|plan| plan.ips.iter().map(|ip| (*ip, plan.to_string())));
    let of_nginxes = specs
        .iter()
        .flat_map(|spec| spec.addresses.iter().map(|address| (*address, spec.owner.clone())));
    let of_dns = args.cluster_dns.map(|address| (address, "DNS".to_owned()));
    Ok(addresses(&of_services.chain(of_nginxes).chain(of_dns).collect(), &held))
}

async fn nginxes(
    args: &Args,
    here: &Here,
    configs: &Configs,
    specs: &[InstanceSpec],
) -> anyhow::Result<Vec<Difference>> {
    let engine = ::docker::Docker::new(&args.docker_host).context("cannot use --docker-host")?;
    let docker = Docker::new(engine, &args.nginx_image, &here.node);
    Ok(nginxes::differences(&docker, configs, specs).await.unwrap_or_else(|error| {
        let why = format!("cannot be looked at: {:#}", anyhow::Error::from(error));
        vec![Difference::new("nginx", why)]
    }))
}

/// The nginxes of Services that there should be, and what they leave out.
fn specs(
    args: &Args,
    services: &[ServicePlan],
    configs: &Configs,
) -> (Vec<InstanceSpec>, Vec<Difference>) {
    match (args.proxy_mode, args.nginx) {
        (ProxyMode::Nginx, NginxForm::PerService) => {
            let of_services = services.iter().flat_map(backend::service::specs);
            (of_services.collect(), Vec::new())
        }
        (ProxyMode::Nginx, NginxForm::Shared) => nginxes::shared(configs, services),
        (ProxyMode::Nftables, _) => (Vec::new(), Vec::new()),
    }
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
fn fence(args: &Args, routes: &[netlink::Route]) -> Vec<Difference> {
    let is_fenced = |range: &IpNet| routes.iter().any(|it| it.destination == *range && !it.unicast);
    let open = args.service_cidr.iter().filter(|range| !is_fenced(range));
    let missing = |range: IpNet| format!("blackhole route of {range} is missing");
    open.map(|range| Difference::new("route", missing(range))).collect()
}

/// `wanted`: each address, and whose it is.
fn addresses(wanted: &BTreeMap<IpAddr, String>, held: &BTreeSet<IpAddr>) -> Vec<Difference> {
    let missing = wanted.iter().filter(|(address, _)| !held.contains(address));
    let missing = missing.map(|(address, owner)| format!("{address} of {owner} is missing on lo"));
    let surplus = held.iter().filter(|held| !wanted.contains_key(held));
    let surplus = surplus.map(|address| format!("{address} is left over on lo"));
    missing.chain(surplus).map(|message| Difference::new("address", message)).collect()
}

async fn rules(args: &Args, services: &[ServicePlan]) -> anyhow::Result<Vec<Difference>> {
    let (ranges, pods) = (args.service_cidr, args.cluster_cidr);
    let carrying = match args.proxy_mode {
        ProxyMode::Nginx => None,
        ProxyMode::Nftables => Some(services),
    };
    let mut found = firewall::differences(&ranges, &pods).await?;
    found.extend(backend::differences(&ranges, &pods, carrying).await?);
    Ok(said("rule", found).collect())
}

async fn policies(
    args: &Args,
    here: &Here,
    kernel: Kernel,
    world: &World,
    nodes: &Store<Node>,
    listwatch: &ListWatch,
) -> anyhow::Result<Vec<Difference>> {
    let found = match args.network_policy {
        false => policy::left(here).await?,
        true => {
            let found = policy::differences(here.clone(), kernel, world, nodes, listwatch);
            timeout(PATIENCE, found).await.context(
                "the API server has not listed all NetworkPolicies, pods and namespaces",
            )??
        }
    };
    Ok(said("policy", found).collect())
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
