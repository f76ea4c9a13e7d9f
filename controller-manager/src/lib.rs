//! The controllers: each makes one aspect of the cluster as its objects say.
//!
//! [`controllers`] is the list of them; [`frame`] is what they stand on. They speak only to the API
//! server, and would work on any Kubernetes.

#![cfg_attr(
    test,
    allow(clippy::needless_pass_by_value, reason = "tables of cases read better with values")
)]

mod context;
pub mod controllers;
mod discovery;
pub mod frame;
mod informers;
pub mod network;
mod nodes;
mod owners;
mod pods;

use clap::Parser;
use component::{Check, Replica, ReplicaArgs, Runtime};
use ipnet::Ipv4Net;
use listwatch::ListWatch;
use tokio::task::JoinSet;

pub use context::Context;
pub use informers::Informers;
use network::Network;

const REPLICA: Replica = Replica { lease: "controller-manager", health_address: "127.0.0.1:10257" };

/// Runs the controllers.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    replica: ReplicaArgs,
    /// The addresses of all pods
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16", value_parser = component::network::parse)]
    cluster_cidr: Ipv4Net,
    /// The prefix length of the part that each node gets of them
    #[arg(long, value_name = "BITS", default_value_t = 24)]
    node_cidr_mask_size: u8,
}

const EXAMPLES: &str = "Examples:
  controller-manager --kubeconfig /etc/minik8s/controller-manager.conf
  controller-manager --kubeconfig /etc/minik8s/controller-manager.conf --redis redis://127.0.0.1:6379
  controller-manager --cluster-cidr 10.0.0.0/8 --node-cidr-mask-size 22";

/// The program: health, leader election, and then [`run`] until shutdown.
///
/// # Errors
///
/// Wrong configuration, or an occupied health address.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    let pod_network = Network::new(args.cluster_cidr, args.node_cidr_mask_size)?;
    let client = component::client(&args.replica.client).await?;
    let work = async |client, check: Check| {
        let listwatch = ListWatch::new(client, args.replica.client.redis.as_deref())?;
        run(listwatch, pod_network, || check.ready()).await;
        Ok(())
    };
    REPLICA.run(&args.replica, &runtime, client, work).await
}

/// Runs all controllers until dropped. `synced` is called when everything that exists has been seen.
pub async fn run(listwatch: ListWatch, pod_network: Network, synced: impl FnOnce()) {
    let context = Context { listwatch, informers: Informers::default(), pod_network };
    let mut tasks = JoinSet::new();
    let controllers = controllers::all(&context, &mut tasks);
    context.informers.start(&context.listwatch, &mut tasks);
    context.informers.synced().await;
    synced();
    controllers.iter().for_each(|controller| frame::work(controller, &mut tasks));
    while tasks.join_next().await.is_some() {
        tracing::error!("a task that should never end has ended");
    }
}
