//! The controllers: each makes one aspect of the cluster as its objects say.
//!
//! [`controllers`] is the list of them; [`frame`] is what they stand on. They speak only to the API
//! server, and would work on any Kubernetes.

#![cfg_attr(
    test,
    allow(clippy::needless_pass_by_value, reason = "tables of cases read better with values")
)]

mod adoption;
mod clock;
mod context;
pub mod controllers;
mod discovery;
pub mod eviction;
pub mod frame;
pub mod functions;
pub mod gpu_jobs;
mod history;
pub mod indexes;
mod informers;
mod jobs;
pub mod load_balancer_pool;
pub mod network;
mod nodes;
mod owners;
mod pod_control;
mod pods;
mod root_ca;
mod settings;
mod shared_answer;
pub mod signing;
pub mod workers;

use std::net::IpAddr;
use std::path::PathBuf;

use clap::Parser;
use component::network::Networks;
use component::{Check, Replica, ReplicaArgs, Runtime};
use ipnet::IpNet;
use listwatch::ListWatch;
use load_balancer_pool::{AddressRange, Pool};
use tokio::task::JoinSet;

pub use clock::Clock;
pub use context::Context;
use eviction::EvictionArgs;
use frame::{Ended, Metrics, Registered};
use functions::FunctionArgs;
use gpu_jobs::GpuJobArgs;
pub use informers::Informers;
use network::{Network, NodePrefixes};
pub use settings::Settings;
use signing::SigningArgs;
use workers::WorkersArgs;

const REPLICA: Replica = Replica { lease: "controller-manager", health_address: "127.0.0.1:10257" };

/// Runs the controllers.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    replica: ReplicaArgs,
    /// The addresses of all pods: one range, or one of IPv4 and one of IPv6
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "10.244.0.0/16")]
    cluster_cidr: Networks,
    /// The prefix length of the part that each node gets of the range of IPv4
    #[arg(long, alias = "node-cidr-mask-size-ipv4", value_name = "BITS", default_value_t = NodePrefixes::default().v4)]
    node_cidr_mask_size: u8,
    /// The same of the range of IPv6
    #[arg(long, value_name = "BITS", default_value_t = NodePrefixes::default().v6)]
    node_cidr_mask_size_ipv6: u8,
    /// The virtual IPs of Services, as the API server is told them
    #[arg(long, value_name = "CIDR[,CIDR]", default_value = "10.96.0.0/16")]
    service_cidr: Networks,
    /// The addresses that Services of the type LoadBalancer without a loadBalancerClass get, one of each family that they
    /// have: free ones of the nodes' networks, of IPv4, IPv6 or both
    #[arg(long, value_name = "CIDR|FIRST-LAST,…", value_delimiter = ',')]
    load_balancer_pool: Vec<AddressRange>,
    /// The authority of the API server's certificate, for the ConfigMap kube-root-ca.crt of every namespace;
    /// without it, that of the kubeconfig
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,
    /// Addresses that are no node's, whatever it says, so that no kubelet gets a certificate for them, and no Service's of
    /// --load-balancer-pool: that of a load balancer before the API servers
    #[arg(long, value_name = "ADDRESS", value_delimiter = ',')]
    reserved_addresses: Vec<IpAddr>,
    #[command(flatten)]
    signing: SigningArgs,
    #[command(flatten)]
    eviction: EvictionArgs,
    #[command(flatten)]
    workers: WorkersArgs,
    #[command(flatten)]
    functions: FunctionArgs,
    #[command(flatten)]
    gpu_jobs: GpuJobArgs,
    /// The Prometheus that autoscalers' Pods, Object and External metrics come from, by the queries in the ConfigMap
    /// kube-system/horizontal-pod-autoscaler-queries
    #[arg(long, value_name = "URL")]
    prometheus_url: Option<String>,
}

const EXAMPLES: &str = "Examples:
  controller-manager --kubeconfig /etc/minik8s/controller-manager.conf
  controller-manager --kubeconfig /etc/minik8s/controller-manager.conf --redis redis://127.0.0.1:6379
  controller-manager --cluster-cidr 10.0.0.0/8 --node-cidr-mask-size 22

  # Pods and Services with addresses of both families
  controller-manager --cluster-cidr 10.244.0.0/16,fd00:10:244::/56 --service-cidr 10.96.0.0/16,fd00:10:96::/108

  # Addresses for Services of the type LoadBalancer
  controller-manager --load-balancer-pool 192.0.2.64/28,192.0.2.100-192.0.2.110,2001:db8::40/122";

/// The program: health, leader election, and then all controllers until shutdown.
///
/// # Errors
///
/// Wrong configuration, or an occupied health address.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    main_with(args, runtime, controllers::all).await
}

/// The program with other controllers.
///
/// # Errors
///
/// Those of [`main`].
pub async fn main_with(
    args: Args,
    runtime: Runtime,
    controllers: impl Fn(&Context, &mut JoinSet<()>) -> Vec<Registered>,
) -> anyhow::Result<()> {
    let ranges = [("--cluster-cidr", args.cluster_cidr), ("--service-cidr", args.service_cidr)];
    let ranges = ranges.into_iter().flat_map(|(flag, both)| both.iter().map(move |it| (flag, it)));
    let reserved = args.reserved_addresses.iter();
    let reserved = reserved.map(|address| ("--reserved-addresses", IpNet::from(*address)));
    let others: Vec<_> = ranges.chain(reserved).collect();
    let node_prefixes =
        NodePrefixes { v4: args.node_cidr_mask_size, v6: args.node_cidr_mask_size_ipv6 };
    let settings = Settings {
        pod_network: Network::new(args.cluster_cidr, node_prefixes)?,
        service_cidr: args.service_cidr,
        root_ca: root_ca::read(args.root_ca_file.as_deref(), &args.replica.client).await?,
        reserved_addresses: args.reserved_addresses,
        signing: args.signing.read()?,
        eviction: args.eviction,
        workers: args.workers,
        functions: args.functions,
        gpu_jobs: args.gpu_jobs,
        load_balancer_pool: Pool::new(args.load_balancer_pool, &others)?,
        prometheus_url: args.prometheus_url,
    };
    let metrics = Metrics::register(&runtime.metrics);
    let work = async |client, check: Check| {
        let redis = args.replica.client.redis.server()?;
        let listwatch = ListWatch::new(client, redis.as_ref(), &runtime.tasks)?;
        let context = Context::new(listwatch, settings.clone(), runtime.tasks.clone());
        Err(run_with(&context, &metrics, &controllers, &check).await.into())
    };
    REPLICA.run(&args.replica, &runtime, work).await
}

/// Runs all controllers until dropped, or until one of them fails. Each begins when it has seen what it reads;
/// the check says for what they wait.
pub async fn run(context: &Context, metrics: &Metrics, check: &Check) -> Ended {
    run_with(context, metrics, controllers::all, check).await
}

async fn run_with(
    context: &Context,
    metrics: &Metrics,
    controllers: impl Fn(&Context, &mut JoinSet<()>) -> Vec<Registered>,
    check: &Check,
) -> Ended {
    let mut tasks = JoinSet::new();
    let controllers = controllers(context, &mut tasks);
    controllers.iter().for_each(|controller| controller.count_in(metrics));
    context.informers.start(&context.listwatch, &mut tasks);
    controllers.iter().for_each(|controller| frame::work(controller, &mut tasks));
    tokio::select! {
        ended = frame::ended(&mut tasks) => return ended,
        () = frame::begun(&controllers, check) => {}
    }
    frame::ended(&mut tasks).await
}
