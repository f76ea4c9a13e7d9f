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
pub mod indexes;
mod informers;
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

use std::path::PathBuf;

use clap::Parser;
use component::{Check, Replica, ReplicaArgs, Runtime};
use ipnet::Ipv4Net;
use listwatch::ListWatch;
use tokio::task::JoinSet;

pub use clock::Clock;
pub use context::Context;
use eviction::EvictionArgs;
use frame::{Ended, Metrics, Registered};
use functions::FunctionArgs;
use gpu_jobs::GpuJobArgs;
pub use informers::Informers;
use network::Network;
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
    /// The addresses of all pods
    #[arg(long, value_name = "CIDR", default_value = "10.244.0.0/16", value_parser = component::network::parse)]
    cluster_cidr: Ipv4Net,
    /// The prefix length of the part that each node gets of them
    #[arg(long, value_name = "BITS", default_value_t = 24)]
    node_cidr_mask_size: u8,
    /// The authority of the API server's certificate, for the ConfigMap kube-root-ca.crt of every namespace;
    /// without it, that of the kubeconfig
    #[arg(long, value_name = "FILE")]
    root_ca_file: Option<PathBuf>,
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
  controller-manager --cluster-cidr 10.0.0.0/8 --node-cidr-mask-size 22";

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
    let settings = Settings {
        pod_network: Network::new(args.cluster_cidr, args.node_cidr_mask_size)?,
        root_ca: root_ca::read(args.root_ca_file.as_deref(), &args.replica.client).await?,
        signing: args.signing.read()?,
        eviction: args.eviction,
        workers: args.workers,
        functions: args.functions,
        gpu_jobs: args.gpu_jobs,
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
