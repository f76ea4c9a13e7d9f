//! Gives every Service its virtual IP on this node, held by an nginx of its own that balances over the
//! ready endpoints, and every other node of the network segment a route to its pods.
//!
//! [`plan`] decides what each Service should look like, [`nginx`] what its configuration says: both
//! are functions from values to values. [`reconciler`], the one [`backend`] there is, makes it so, through [`containers`]
//! (Docker) and [`addresses`] (the kernel). It proxies by configuration only: the traffic never passes
//! through this program, and flows on while it is away.
//!
//! [`routes`] is the same for routes, with a loop of its own: neither waits for the other.
//! [`dns`] answers for the names of Services, and is the one thing that is not there while this program is away.
//! [`announcer`] settles with other hosts who answers for load balancers' addresses.
//! [`policy`] keeps from pods what NetworkPolicies don't allow.
//! [`check`] tells how this node differs from all that, and changes nothing.
//! `witness` tells the node controller which other hosts are reached from here.

pub mod addresses;
pub mod announced;
pub mod announcer;
mod args;
pub mod backend;
mod bridged;
pub mod check;
pub mod client_addresses;
mod clients;
pub mod configs;
pub mod containers;
pub mod dns;
pub mod docker;
pub mod family;
pub mod firewall;
pub mod gateway;
mod gateways;
mod health_checks;
mod host_ports;
mod ingresses;
pub mod instance;
mod metrics;
pub mod nginx;
pub mod node_addresses;
mod pace;
pub mod plan;
pub mod policy;
pub mod reconciler;
pub mod router;
pub mod routes;
mod self_made;
pub mod status;
pub mod sync;
mod told;
mod wake;
mod witness;
pub mod workers;
pub mod world;

use std::{net::IpAddr, sync::Arc};

use anyhow::{Context, bail};
use component::{Check, Runtime, events::Recorder, host::node_name, resolv_conf};
use futures::{
    FutureExt,
    future::{LocalBoxFuture, select_all},
};
use listwatch::ListWatch;
use netlink::Netlink;
use tokio_util::sync::CancellationToken;

use crate::{
    addresses::Loopback,
    announced::Announced,
    announcer::Announcer,
    args::{Command, NginxForm, ProxyMode},
    backend::{Backend, Nftables, Nginx, SharedNginx, WithoutRules, shared::HostSockets},
    configs::Configs,
    dns::Dns,
    docker::Docker,
    reconciler::Reconciler,
    routes::{Host, kernel::Kernel, sync::Outlets as RouteOutlets, sync::Routes},
    sync::Outlets,
    world::{Follower, Here, RouterSettings, World},
};

pub use args::Args;
pub use metrics::Metrics;
pub use routes::RouteMetrics;
pub use wake::Wake;

const HEALTH_ADDRESS: &str = "127.0.0.1:10256";

/// The program: runs until shutdown. An API server or a Docker daemon that is away is waited for.
///
/// # Errors
///
/// Wrong configuration, differences that were to be found, an occupied health address, no right to open a netlink socket.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    match args.command {
        Some(Command::Check) => check::run(&args, &runtime).await,
        None => work(args, runtime).await,
    }
}

async fn work(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    if args.service_cidr.v6.is_some() != args.cluster_cidr.v6.is_some() {
        bail!("--service-cidr and --cluster-cidr: both need an IPv6 network, or neither");
    }
    let client = component::client(&args.client).await?;
    let redis = args.client.redis.server()?;
    let listwatch = ListWatch::new(client, redis.as_ref(), &runtime.tasks)?;
    let (check, routes_check) = (runtime.health.check("services"), runtime.health.check("routes"));
    runtime.serve(&args.serve, HEALTH_ADDRESS).await?;

    let node = node_name(args.node_name.as_deref()).context("cannot tell the host name")?;
    let recorder = Recorder::new(&runtime.tasks, listwatch.client().clone(), "kube-proxy", &node);
    let engine = ::docker::Docker::new(&args.docker_host).context("cannot use --docker-host")?;
    let docker = Docker::new(engine, &args.nginx_image, &node);
    let addresses = hold_addresses(&args).await?.without(args.cluster_dns.map(IpAddr::V4));
    let (dns, dns_addresses) = (make_dns(&args, &runtime)?, hold_addresses(&args).await?);
    let dns_check = runtime.health.check("dns");
    if dns.is_none() {
        dns_check.ready();
    }
    let configs = Configs::open(&args.state_dir).context("cannot use --state-dir")?;
    let mut backend = carry_services(&args, docker.clone(), addresses, configs)?;
    let clients = keep_clients(&args, &runtime).await?;
    let host = args.host(&node);
    let mut routes = keep_routes(host, recorder.clone(), routes_check, &runtime)?;
    let here = Here {
        node,
        service_cidr: args.service_cidr,
        cluster_dns: args.cluster_dns.map(IpAddr::V4),
        node_addresses: args.nodeport_addresses.clone(),
        leads_by_rules: args.proxy_mode == ProxyMode::Nftables,
    };
    let (announced, announcing) =
        (Arc::<Announced>::default(), runtime.health.check("load balancers"));
    let announcer = Announcer::new(here.clone(), announced.clone(), recorder.clone(), announcing);
    let mut announcer = announcer.context("cannot announce load balancers' addresses")?;
    let outlets = Outlets { check, metrics: Metrics::register(&runtime.metrics), recorder };
    let (wake, routes_wake) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    let mut policies = keep_policies(&args, &here, &runtime).await?;
    let (node_wake, announcer_wake) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    let wakes = [&wake, &routes_wake, &node_wake, &announcer_wake].into_iter().cloned();
    let wakes = wakes.chain(policies.as_ref().map(policy::Keeper::wake)).collect();
    let (nodes, nodes_watch) = world::follow(&listwatch, wakes);
    let follower = dns.clone().map(|dns| Arc::new(dns) as Arc<dyn Follower>);
    let (world, watches) = World::watch(&listwatch, nodes.clone(), &wake, follower);
    let world = world.with_router(router_settings(&args)?).with_announced(announced);
    let (client, name) = (listwatch.client(), &here.node);

    let mut parts: Vec<Part<'_>> = vec![
        ("watching Services and EndpointSlices", watches.boxed_local()),
        ("watching nodes", nodes_watch.boxed_local()),
        (
            "keeping Services",
            sync::run(&world, &here, &mut *backend, &wake, &outlets).boxed_local(),
        ),
        ("keeping routes", routes.run(&nodes, &routes_wake).boxed_local()),
        (
            "telling of host ports",
            host_ports::keep(client, name, &nodes, &node_wake, args.ingress_host_ports)
                .boxed_local(),
        ),
        ("announcing", announcer.run(&world, &nodes, &announcer_wake, &wake).boxed_local()),
        ("asking other hosts", witness::run(&here.node, &nodes, &listwatch).boxed_local()),
        ("following Docker's events", docker.follow_deaths(&wake).boxed_local()),
    ];
    let keeping = clients.iter().map(|clients| clients.run(&world, &wake).boxed_local());
    parts.extend(keeping.map(|part| ("keeping addresses of clients", part)));
    if let Some(policies) = &mut policies {
        let keeping = policies.run(&world, &nodes, &listwatch);
        parts.push(("keeping network policies", keeping.boxed_local()));
    }
    if let Some(dns) = &dns {
        let serving = dns.run(&dns_addresses, &listwatch, &dns_check);
        parts.push(("serving DNS", serving.boxed_local()));
    }
    let ended = run(&runtime.shutdown, parts).await;
    announcer.leave().await;
    ended
}

/// What it does, and doing it.
type Part<'a> = (&'static str, LocalBoxFuture<'a, ()>);

/// Runs until shutdown. No part comes to its end before; if one does, the program has failed.
async fn run(shutdown: &CancellationToken, parts: Vec<Part<'_>>) -> anyhow::Result<()> {
    let parts = parts.into_iter().map(|(doing, part)| part.map(move |()| doing).boxed_local());
    tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        (doing, ..) = select_all(parts) => bail!("{doing} has ended"),
    }
}

async fn hold_addresses(args: &Args) -> anyhow::Result<Loopback> {
    let opened = Loopback::open(args.service_cidr, args.cluster_cidr).await;
    opened.context("cannot hold addresses")
}

/// The two modes leave nothing of each other behind.
fn carry_services(
    args: &Args,
    docker: Docker,
    addresses: Loopback,
    configs: Configs,
) -> anyhow::Result<Box<dyn Backend>> {
    let ranges = args.service_cidr;
    match (args.proxy_mode, args.nginx) {
        (ProxyMode::Nginx, NginxForm::PerService) => {
            by_nginx_alone(args, Nginx(Reconciler::new(docker, addresses, configs)))
        }
        (ProxyMode::Nginx, NginxForm::Shared) => {
            let sockets = Box::new(HostSockets);
            by_nginx_alone(args, SharedNginx::new(ranges, docker, addresses, configs, sockets))
        }
        (ProxyMode::Nftables, _) => {
            Ok(Box::new(Nftables::new(ranges, args.cluster_cidr, docker, addresses, configs)))
        }
    }
}

fn by_nginx_alone<B: Backend + 'static>(args: &Args, nginx: B) -> anyhow::Result<Box<dyn Backend>> {
    let nginx = WithoutRules::new(args.service_cidr, nginx);
    if args.nginx_keeps_clients() {
        return Ok(Box::new(nginx));
    }
    let left = client_addresses::Left { pods: args.cluster_cidr, kernel: Netlink::open()? };
    Ok(Box::new(nginx.and_without(Box::new(left))))
}

fn router_settings(args: &Args) -> anyhow::Result<RouterSettings> {
    let certificate = self_made::certificate(&args.state_dir);
    let certificate = certificate.context("cannot make a certificate in --state-dir")?;
    Ok(RouterSettings { host_ports: args.ingress_host_ports, certificate })
}

/// Nothing, if none is wanted here.
fn make_dns(args: &Args, runtime: &Runtime) -> anyhow::Result<Option<Dns>> {
    let Some(address) = args.cluster_dns else { return Ok(None) };
    if !args.service_cidr.contains(address.into()) {
        bail!("--cluster-dns: {address} is not in --service-cidr {}", args.service_cidr);
    }
    if args.dns_upstream.iter().any(|server| server.ip() == address) {
        bail!("--dns-upstream: {address} is the cluster's DNS itself");
    }
    let own = |stub: &&dns::Stub| stub.servers.iter().any(|server| server.ip() == address);
    if let Some(stub) = args.dns_stub.iter().find(own) {
        bail!("--dns-stub: {address}, for {}, is the cluster's DNS itself", stub.domain);
    }
    let settings = dns::Settings {
        address,
        domain: args.cluster_domain.clone(),
        ranges: args.service_cidr.iter().chain(args.cluster_cidr.iter()).collect(),
        upstream: args.dns_upstream.clone(),
        host_file: args.resolv_conf.clone().unwrap_or_else(resolv_conf::host_file),
        stubs: args.dns_stub.clone(),
    };
    let metrics = dns::metrics::Metrics::register(&runtime.metrics);
    Dns::new(settings, metrics).map(Some)
}

/// Nothing, if they are not wanted: then nothing is left of them, either.
async fn keep_policies(
    args: &Args,
    here: &Here,
    runtime: &Runtime,
) -> anyhow::Result<Option<policy::Keeper>> {
    if !args.network_policy {
        policy::remove(here).await.context("cannot remove the rules of network policies")?;
        return Ok(None);
    }
    let outlets = policy::Outlets::new(runtime.health.check("network policies"), &runtime.metrics);
    let kernel = Kernel::open().context("cannot keep network policies")?;
    Ok(Some(policy::Keeper::new(here.clone(), kernel, outlets)))
}

/// Nothing, if nginx is not to speak from them. What brings answers back goes once no nginx does, or Services have none.
async fn keep_clients(
    args: &Args,
    runtime: &Runtime,
) -> anyhow::Result<Option<client_addresses::Keeper>> {
    let (pods, kernel) = (args.cluster_cidr, Netlink::open()?);
    if args.nginx_keeps_clients() {
        let check = runtime.health.check("addresses of clients");
        return Ok(Some(client_addresses::Keeper { pods, kernel, check }));
    }
    if args.proxy_mode == ProxyMode::Nftables {
        let removed = client_addresses::remove(pods, &kernel).await;
        removed.context("cannot remove the rules by which nginx kept clients' addresses")?;
    }
    Ok(None)
}

fn keep_routes(
    host: Host,
    recorder: Recorder,
    check: Check,
    runtime: &Runtime,
) -> anyhow::Result<Routes> {
    let metrics = RouteMetrics::register(&runtime.metrics);
    let kernel = Kernel::open().context("cannot keep routes")?;
    Ok(Routes::new(host, kernel, RouteOutlets { check, metrics, recorder }).guarded())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_part_that_ends_before_the_program_is_a_failure() {
        let shutdown = CancellationToken::new();
        let parts = || vec![("staying", std::future::pending().boxed_local())];
        let mut with_one_that_ends = parts();
        with_one_that_ends.push(("leaving", async {}.boxed_local()));
        let error = run(&shutdown, with_one_that_ends).await.unwrap_err();
        assert_eq!(error.to_string(), "leaving has ended");
        shutdown.cancel();
        run(&shutdown, parts()).await.unwrap();
    }
}
