//! The memory of a cluster's programs as they are now, each page divided among those that have it.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;
use tabled::{builder::Builder, settings::Style};

/// Prints how much memory the programs of this machine's cluster have (`scripts/up.sh` starts one).
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  sudo footprint\n  sudo footprint --run-dir /run/minik8s")]
struct Args {
    /// Where the programs' process ids are
    #[arg(long, default_value = "/run/minik8s")]
    run_dir: PathBuf,
}

/// In KiB, as /proc has them.
#[derive(Clone, Copy, Default)]
struct Memory {
    proportional: u64,
    /// That of no file: heap, stacks, and pages of the program that were written to.
    anonymous: u64,
    resident: u64,
}

impl Memory {
    fn of(process: &str) -> anyhow::Result<Self> {
        let maps = fs::read_to_string(format!("/proc/{process}/smaps_rollup"))?;
        let kib = |name: &str| {
            let line = maps.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse().ok())
                .with_context(|| format!("/proc/{process}/smaps_rollup has no {name}"))
        };
        Ok(Self {
            proportional: kib("Pss:")?,
            anonymous: kib("Pss_Anon:")?,
            resident: kib("Rss:")?,
        })
    }

    fn plus(self, other: Self) -> Self {
        Self {
            proportional: self.proportional + other.proportional,
            anonymous: self.anonymous + other.anonymous,
            resident: self.resident + other.resident,
        }
    }

    fn row(self, name: &str) -> Vec<String> {
        let mib = |kib: u64| format!("{:.1}", kib as f64 / 1024.0);
        let file = self.proportional - self.anonymous;
        let cells = [self.proportional, self.anonymous, file, self.resident].map(mib);
        [name.to_owned()].into_iter().chain(cells).collect()
    }
}

/// The programs of minik8s alone: not etcd, Redis nor a registry.
const PROGRAMS: [&str; 6] =
    ["apiserver", "controller-manager", "kube-proxy", "kubelet", "scheduler", "serverless-gateway"];

#[expect(clippy::print_stdout, reason = "the program's output")]
fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut table = Builder::default();
    table.push_record(["", "PSS MiB", "anonymous", "of files", "RSS"]);
    let mut sum = Memory::default();
    for program in PROGRAMS {
        let file = args.run_dir.join(program).with_extension("pid");
        let recorded = fs::read_to_string(&file)
            .with_context(|| format!("no cluster runs: cannot read {}", file.display()))?;
        let process = recorded.split_whitespace().next().unwrap_or_default();
        let memory = Memory::of(process).with_context(|| format!("{program} does not run"))?;
        table.push_record(memory.row(program));
        sum = sum.plus(memory);
    }
    table.push_record(sum.row("together"));
    println!("{}", table.build().with(Style::psql()));
    Ok(())
}
