//! Gives every Service its virtual IP on this node, held by an nginx of its own that balances over the
//! ready endpoints, and every other node of the network segment a route to its pods.
//!
//! [`plan`] decides what each Service should look like, [`nginx`] what its configuration says: both
//! are functions from values to values. [`reconciler`], the one [`backend`] there is, makes it so, through [`containers`]
//! (Docker) and [`addresses`] (the kernel). It proxies by configuration only: the traffic never passes
//! through this program, and flows on while it is away.
//!
//! [`routes`] is the same for routes, with a loop of its own: neither waits for the other.
//! `witness` tells the node controller which other hosts are reached from here.

pub mod addresses;
mod args;
pub mod backend;
mod clients;
pub mod configs;
pub mod containers;
pub mod docker;
pub mod firewall;
pub mod instance;
mod metrics;
pub mod nginx;
mod pace;
pub mod plan;
pub mod reconciler;
pub mod routes;
pub mod status;
pub mod sync;
mod told;
mod wake;
mod witness;
pub mod workers;
pub mod world;

use std::sync::Arc;

use anyhow::Context;
use component::{Check, Runtime, events::Recorder, host};
use listwatch::ListWatch;

use crate::{
    addresses::Loopback,
    backend::Nginx,
    configs::Configs,
    docker::Docker,
    reconciler::Reconciler,
    routes::{Host, kernel::Kernel, sync::Outlets as RouteOutlets, sync::Routes},
    sync::Outlets,
    world::{Here, World},
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
/// Wrong configuration, an occupied health address, no right to open a netlink socket.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    let client = component::client(&args.client).await?;
    let listwatch = ListWatch::new(client, args.client.redis.as_deref())?;
    let (check, routes_check) = (runtime.health.check("services"), runtime.health.check("routes"));
    runtime.serve(&args.serve, HEALTH_ADDRESS).await?;

    let node = host::node_name(args.node_name.as_deref()).context("cannot tell the host name")?;
    let recorder = Recorder::new(listwatch.client().clone(), "kube-proxy", &node);
    let engine = ::docker::Docker::new(&args.docker_host).context("cannot use --docker-host")?;
    let docker = Docker::new(engine, &args.nginx_image, &node);
    let addresses = Loopback::open(args.service_cidr, args.cluster_cidr).await;
    let addresses = addresses.context("cannot hold addresses")?;
    let configs = Configs::open(&args.state_dir).context("cannot use --state-dir")?;
    let mut backend = Nginx(Reconciler::new(docker.clone(), addresses, configs));
    let host = Host { node: node.clone(), cluster_cidr: args.cluster_cidr };
    let mut routes = keep_routes(host, recorder.clone(), routes_check, &runtime)?;
    let here = Here { node, service_cidr: args.service_cidr };
    let outlets = Outlets { check, metrics: Metrics::register(&runtime.metrics), recorder };
    let (wake, routes_wake) = (Arc::new(Wake::default()), Arc::new(Wake::default()));
    let (nodes, nodes_watch) = world::follow(&listwatch, vec![wake.clone(), routes_wake.clone()]);
    let (world, watches) = World::watch(&listwatch, nodes.clone(), &wake);

    tokio::select! {
        () = runtime.shutdown.cancelled() => {}
        () = sync::run(&world, &here, &mut backend, &wake, &outlets) => {}
        () = watches => {}
        () = nodes_watch => {}
        () = routes.run(&nodes, &routes_wake) => {}
        () = witness::run(&here.node, &nodes, &listwatch) => {}
        () = docker.follow_deaths(&wake) => {}
    }
    Ok(())
}

fn keep_routes(
    host: Host,
    recorder: Recorder,
    check: Check,
    runtime: &Runtime,
) -> anyhow::Result<Routes> {
    let metrics = RouteMetrics::register(&runtime.metrics);
    let kernel = Kernel::open().context("cannot keep routes")?;
    Ok(Routes::new(host, kernel, RouteOutlets { check, metrics, recorder }))
}
