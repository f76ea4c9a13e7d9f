//! Load on the API server, with percentiles, beside the same work on the bare store in the same run.
//!
//! It starts what it measures: `apiserver` as built beside it, on a free port and in a temporary folder, once on etcd and
//! once on the embedded store. `cargo run --release -p bench`, after `cargo build --release -p apiserver`.

mod load;
mod phases;
mod report;
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
    /// Lists of all objects.
    #[arg(long, default_value_t = 20)]
    lists: usize,
    /// Stores to measure.
    #[arg(long, value_enum, default_values_t = [Backing::Etcd, Backing::Embedded])]
    store: Vec<Backing>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let _ = rustls::crypto::ring::default_provider().install_default();
    server::raise_file_limit()?;
    for &backing in &args.store {
        let mut report = Report::new(format!("{backing:?}"));
        phases::raw(&args, backing, &mut report).await?;
        phases::api(&args, backing, &mut report).await?;
        report.print();
    }
    Ok(())
}
