//! Finds a node for every pod that has none.
//!
//! The decision is a function ([`schedule::schedule`]) over a [`snapshot::Snapshot`]; the [`plugins`] say which
//! nodes may take the pod, and with the [`strategy`] which of them does. Which pod is next, and what is known
//! when, is in `decider`; everything that happens because of a decision, in `binder`.

#![cfg_attr(
    test,
    allow(clippy::needless_pass_by_value, reason = "tables of cases read better with values")
)]

mod binder;
pub mod cache;
pub mod changes;
mod configuration;
mod decider;
pub mod metrics;
pub mod plugins;
pub mod pod;
pub mod queue;
pub mod resources;
pub mod sample;
pub mod schedule;
mod scheduler;
pub mod snapshot;
pub mod strategy;
pub mod taints;

use api_types::minik8s::SCHEDULING_STRATEGIES;
use clap::Parser;
use component::{Check, Replica, ReplicaArgs, Runtime};
use listwatch::ListWatch;

use metrics::Metrics;
pub use scheduler::{COMPONENT, Failed, run};
use strategy::Strategy;

const REPLICA: Replica = Replica { lease: "scheduler", health_address: "127.0.0.1:10259" };

/// Binds pods to nodes.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    replica: ReplicaArgs,
    /// How to choose among the nodes that fit: balanced (by what is asked for), spread (the fewest pods of the same
    /// controller), round-robin, min-pods, max-pods, min-cpu, min-mem (the fewest, the most; the least in use) or random.
    /// `kubectl cfg sched=NAME` overrides it while the scheduler runs
    #[arg(long, value_name = "NAME", default_value = SCHEDULING_STRATEGIES[0])]
    strategy: Strategy,
}

const EXAMPLES: &str = "Examples:
  scheduler --kubeconfig /etc/minik8s/scheduler.conf
  scheduler --kubeconfig /etc/minik8s/scheduler.conf --strategy random

  # Change the strategy of a running scheduler
  kubectl cfg sched=random";

/// The program: health, leader election, and then [`run`] until shutdown.
///
/// # Errors
///
/// Wrong configuration, or an occupied health address.
pub async fn main(args: Args, runtime: Runtime) -> anyhow::Result<()> {
    let metrics = Metrics::register(&runtime.metrics);
    let work = async |client, check: Check| {
        let redis = args.replica.client.redis.server()?;
        let listwatch = ListWatch::new(client, redis.as_ref(), &runtime.tasks)?;
        Err(run(&listwatch, &runtime.tasks, args.strategy, &metrics, || check.ready()).await.into())
    };
    REPLICA.run(&args.replica, &runtime, work).await
}
