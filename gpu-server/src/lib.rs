//! The server of one GPU job: it runs in the job's own pod and takes the job through a Slurm cluster.
//!
//! What it does now: it reads and checks its command line and makes the batch script. Submitting the
//! script over ssh, following the job and fetching its results come next; until then it refuses to
//! run without `--dry-run`, so that no pod can look as if its job were on its way.

pub mod args;
pub mod job;
pub mod remote;
pub mod sbatch;
pub mod slurm;
pub mod ssh;

use std::io::Write;

use anyhow::{Context, bail};
use component::Runtime;

pub use args::Invocation;

/// Does what the command line asks for.
pub async fn main(invocation: Invocation, _runtime: Runtime) -> anyhow::Result<()> {
    if invocation.dry_run {
        let script = sbatch::sbatch_script(&invocation.job);
        return std::io::stdout().write_all(script.as_bytes()).context("writing the script");
    }
    bail!(
        "cannot submit {}: this version does not talk to Slurm yet; --dry-run prints the batch script",
        invocation.job.name
    )
}
