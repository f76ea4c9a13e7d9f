//! Load on the programs, with percentiles, what it costs them, and beside the same work without them in the same run.
//!
//! It starts what it measures: `apiserver` as built beside it, on a free port and in a temporary folder, once on etcd and
//! once on the embedded store. `cargo build --release --workspace && target/release/bench`.

mod applying;
mod audit;
mod binding;
mod client;
mod connections;
mod custom_resources;
mod gpu;
mod kubelets;
mod lists;
mod load;
mod memory;
mod metrics;
mod objects;
mod pods;
mod report;
mod requests;
mod restart;
mod samples;
mod scheduling;
mod server;
mod services;
mod usage;
mod watches;

use clap::{Parser, ValueEnum};

use crate::{report::Report, server::Backing};

/// Measures the API server, the scheduler, the path of a Service, starts of pods and GPU jobs: percentiles, CPU time and memory,
/// and ratios to the same work without them.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to measure, in this order
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Section::value_variants().to_vec())]
    only: Vec<Section>,
    /// Stores to measure the API server on
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Backing::Etcd, Backing::Embedded])]
    store: Vec<Backing>,
    /// requests, apply, audit: pods to create, get, patch and delete
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// requests: lists of all of them
    #[arg(long, default_value_t = 20)]
    lists: usize,
    /// requests, apply, audit: so many under way at once
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// lists: pods that there are
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 100_000])]
    listed: Vec<usize>,
    /// metrics: pods that run
    #[arg(long, value_delimiter = ',', default_values_t = [1_000])]
    measured: Vec<usize>,
    /// watches, kubelets: so many open at once
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 5_000])]
    watchers: Vec<usize>,
    /// watches: changes that every watcher is to see
    #[arg(long, default_value_t = 20)]
    changes: usize,
    /// kubelets: changes of pods, each of which one watcher is to see
    #[arg(long, default_value_t = 20_000)]
    node_events: usize,
    /// connections: those held that are idle or slow
    #[arg(long, default_value_t = 3_000)]
    connections: usize,
    /// custom-resources: definitions of kinds
    #[arg(long, default_value_t = 200)]
    definitions: usize,
    /// custom-resources: objects of all of these kinds together
    #[arg(long, default_value_t = 10_000)]
    custom_objects: usize,
    /// restart: pods that there are
    #[arg(long, default_value_t = 50_000)]
    restarted: usize,
    /// scheduler: nodes to choose among
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 5_000])]
    nodes: Vec<usize>,
    /// scheduler: pods that are on each of them
    #[arg(long, default_value_t = 30)]
    pods_per_node: usize,
    /// scheduler: pods to decide
    #[arg(long, default_value_t = 1_000)]
    decisions: usize,
    /// bindings: pods that a scheduler binds
    #[arg(long, default_value_t = 5_000)]
    bound: usize,
    /// bindings: nodes that it binds them to
    #[arg(long, default_value_t = 1_000)]
    bound_to: usize,
    /// services: connections at once
    #[arg(long, value_delimiter = ',', default_values_t = [16, 2_000])]
    clients: Vec<usize>,
    /// services: requests on connections that stay, and questions to the DNS; with a connection each, a fifth
    #[arg(long, default_value_t = 100_000)]
    service_requests: usize,
    /// services: how many others there are when a Service's endpoint changes
    #[arg(long, value_delimiter = ',', default_values_t = [10, 100, 1_000, 5_000])]
    other_services: Vec<usize>,
    /// services: of these at most so many where each has an nginx
    #[arg(long, default_value_t = 100)]
    nginx_services: usize,
    /// services: changes of its endpoint
    #[arg(long, default_value_t = 50)]
    endpoint_changes: usize,
    /// services: MiB that one connection brings
    #[arg(long, default_value_t = 4_096)]
    mebibytes: usize,
    /// pods: started one at a time
    #[arg(long, default_value_t = 30)]
    pod_starts: usize,
    /// pods: started at once
    #[arg(long, default_value_t = 50)]
    pods_at_once: usize,
    /// samples: pods that run
    #[arg(long, value_delimiter = ',', default_values_t = [0, 100])]
    sampled: Vec<usize>,
    /// samples: how many are taken
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// gpu: jobs one at a time
    #[arg(long, default_value_t = 10)]
    gpu_jobs: usize,
    /// gpu: jobs at once
    #[arg(long, default_value_t = 100)]
    gpu_jobs_at_once: usize,
}

const EXAMPLES: &str = "Examples:
  cargo build --release --workspace && target/release/bench
  target/release/bench --only lists --store embedded --listed 100000
  target/release/bench --only bindings --store embedded --bound 5000 --bound-to 1000
  sudo target/release/bench --only services,pods,samples     # need root, a running dockerd and the images of scripts/images.sh
  sudo tests/bench/services.sh                               # services, in a network namespace, and the VXLAN
  sudo target/release/bench --only gpu                       # needs root and installs what scripts/slurm.sh needs";

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Decisions on clusters of several sizes
    Scheduler,
    /// Pods that a scheduler binds by each strategy
    Bindings,
    /// Creates, gets, patches, lists and deletes beside the bare store
    Requests,
    /// Server-side applies beside merge patches
    Apply,
    /// Requests with and without an audit log
    Audit,
    /// Lists of many pods in each form, plain and compressed
    Lists,
    /// Lists of what many pods use, as kubelets announce it over Redis
    Metrics,
    /// From a write to the event at each of many watchers
    Watches,
    /// Changes of pods that reach the watches of their nodes
    Kubelets,
    /// Clients that come beside many connections
    Connections,
    /// Many CustomResourceDefinitions with many objects
    CustomResources,
    /// From the start to ready with many pods in the embedded store
    Restart,
    /// Through a Service's nginx, one for all, or rules beside a direct connection; changes of endpoints; the cluster's DNS
    Services,
    /// Starts of pods beside Docker's own time
    Pods,
    /// What a look at what pods use costs a kubelet
    Samples,
    /// Jobs in a Slurm cluster beside plain ssh, sbatch, sacct and scp
    Gpu,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    component::install_crypto_provider();
    component::raise_file_limit();
    let mut failed = Vec::new();
    for section in &args.only {
        // The others are measured all the same.
        if let Err(error) = section.run(&args).await {
            failed.push(format!("{section:?}: {error:#}"));
        }
    }
    anyhow::ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

impl Section {
    async fn run(self, args: &Args) -> anyhow::Result<()> {
        match self {
            Self::Scheduler => scheduling::run(args)?.print(),
            Self::Bindings => on_each(args, binding::run).await,
            Self::Requests => on_each(args, requests::run).await,
            Self::Apply => on_each(args, applying::run).await,
            Self::Audit => on_each(args, audit::run).await,
            Self::Lists => on_each(args, lists::run).await,
            Self::Metrics => on_each(args, metrics::run).await,
            Self::Watches => on_each(args, watches::run).await,
            Self::Kubelets => on_each(args, kubelets::run).await,
            Self::Connections => on_each(args, connections::run).await,
            Self::CustomResources => on_each(args, custom_resources::run).await,
            Self::Restart => restart::run(args).await?.print(),
            Self::Services => services::run(args).await?.print(),
            Self::Pods => pods::run(args).await?.print(),
            Self::Samples => samples::run(args).await?.print(),
            Self::Gpu => gpu::run(args).await?.print(),
        }
    }
}

async fn on_each(
    args: &Args,
    run: impl AsyncFn(&Args, Backing) -> anyhow::Result<Report>,
) -> anyhow::Result<()> {
    for &backing in &args.store {
        run(args, backing).await?.print()?;
    }
    Ok(())
}
