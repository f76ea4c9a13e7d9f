//! Load on the API server, with percentiles, beside the same work on the bare store in the same run; and the
//! scheduler's decisions; and with `--pod-starts` what a kubelet adds to Docker's own time.
//!
//! It starts what it measures: `apiserver` as built beside it, on a free port and in a temporary folder, once on etcd and
//! once on the embedded store. `cargo run --release -p bench`, after `cargo build --release -p apiserver`.

mod kubelets;
mod lists;
mod load;
mod phases;
mod pods;
mod report;
mod scheduling;
mod server;

use clap::Parser;

use crate::{report::Report, server::Backing};

/// Creates, gets, lists and watches against the API server; percentiles, and ratios to the bare store.
#[derive(Debug, Parser)]
#[command(
    after_help = "Example:\n  cargo build --release -p apiserver && cargo run --release -p bench -- --objects 10000 --watchers 1000"
)]
pub(crate) struct Args {
    /// Pods to create, get and list.
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Watches open at once.
    #[arg(long, default_value_t = 1_000)]
    watchers: usize,
    /// Changes that every watcher is to see.
    #[arg(long, default_value_t = 50)]
    changes: usize,
    /// Requests under way at once.
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// Connections held that are idle or slow.
    #[arg(long, default_value_t = 3_000)]
    connections: usize,
    /// Lists of all objects.
    #[arg(long, default_value_t = 20)]
    lists: usize,
    /// Nodes for the scheduler to choose among.
    #[arg(long, value_delimiter = ',', default_values_t = [100, 1_000, 5_000])]
    nodes: Vec<usize>,
    /// Pods that are on each of them.
    #[arg(long, default_value_t = 30)]
    pods_per_node: usize,
    /// Pods for the scheduler to decide.
    #[arg(long, default_value_t = 1_000)]
    decisions: usize,
    /// Only the scheduler's decisions.
    #[arg(long)]
    scheduler_only: bool,
    /// Only starts of pods, so many one at a time and so many at once.
    #[arg(long)]
    pod_starts: Option<usize>,
    /// How many pods there are for the lists in each form.
    #[arg(long, value_delimiter = ',', default_values_t = [10_000, 50_000])]
    listed: Vec<usize>,
    /// Only those lists, and the watches of nodes.
    #[arg(long)]
    reads_only: bool,
    /// Stores to measure.
    #[arg(long, value_enum, default_values_t = [Backing::Etcd, Backing::Embedded])]
    store: Vec<Backing>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    if let Some(count) = args.pod_starts {
        let mut report = Report::new("Pods".to_owned());
        pods::start(count, &mut report).await?;
        report.print();
        return Ok(());
    }
    if !args.reads_only {
        let mut report = Report::new("Scheduler".to_owned());
        scheduling::measure(&args, &mut report)?;
        report.print();
    }
    if !args.scheduler_only {
        reads(&args).await?;
    }
    let writes = !args.scheduler_only && !args.reads_only;
    for &backing in args.store.iter().filter(|_| writes) {
        let mut report = Report::new(format!("{backing:?}"));
        phases::raw(&args, backing, &mut report).await?;
        phases::api(&args, backing, &mut report).await?;
        report.print();
    }
    Ok(())
}

async fn reads(args: &Args) -> anyhow::Result<()> {
    for &count in &args.listed {
        lists::measure(Backing::Embedded, count).await?;
    }
    let mut report = Report::new("Watches of nodes".to_owned());
    kubelets::watch(args, &mut report).await?;
    report.print();
    Ok(())
}
