//! Load on functions and workflows, and what the way through the gateway costs.
//!
//! `overhead` and `workflows` start all that they measure in this process. `steps` and `cold` need a cluster (`scripts/up.sh`): they make a
//! function there, call it, and remove it.

// The API server, the gateway and workers run within one future each.
#![recursion_limit = "256"]

mod cluster;
mod load;
mod overhead;
mod workflows;

use clap::{Parser, Subcommand};

use crate::{cluster::ClusterArgs, overhead::OverheadArgs, workflows::WorkflowArgs};

/// Calls functions and prints how long that takes.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Through the gateway beside directly to the instance, both in this process
    Overhead(OverheadArgs),
    /// Runs of workflows and their steps, beside the writes that they take
    Workflows(WorkflowArgs),
    /// A function that sleeps 100 ms, from no instance on, at rates that grow
    Steps {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// Calls per second, one after the other
        #[arg(long, value_delimiter = ',', default_values_t = [100, 300, 1_000])]
        rates: Vec<u32>,
        /// How long each rate is kept
        #[arg(long, default_value_t = 20)]
        seconds: u32,
    },
    /// First calls of a function without instances, beside the same containers made and started without a cluster
    Cold {
        #[command(flatten)]
        cluster: ClusterArgs,
        /// How many
        #[arg(long, default_value_t = 20)]
        count: usize,
        /// Let instances come from the warm pool of a cluster that has one (`scripts/up.sh --warm-pool 1`)
        #[arg(long)]
        warm_pool: bool,
    },
}

const EXAMPLES: &str = "Examples:
  cargo run --release -p bench --bin functions -- overhead
  functions workflows --runs 1000 --steps 1,5,20
  functions steps --kubeconfig /etc/minik8s/admin.conf --rates 100,300,1000
  sudo functions cold --kubeconfig /etc/minik8s/admin.conf --count 20 --idle-seconds 2
  sudo functions cold --kubeconfig /etc/minik8s/admin.conf --count 20 --warm-pool";

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    component::install_crypto_provider();
    component::raise_file_limit();
    match Args::parse().what {
        What::Overhead(args) => overhead::measure(&args).await,
        What::Workflows(args) => workflows::measure(&args).await,
        What::Steps { cluster, rates, seconds } => cluster::steps(&cluster, &rates, seconds).await,
        What::Cold { cluster, count, warm_pool } => cluster::cold(&cluster, count, warm_pool).await,
    }
}
