//! The memory of a cluster's programs as they are now, each page divided among those that have it, and the processor time that
//! they take.

#[path = "../memory.rs"]
mod memory;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Parser;
use tabled::{builder::Builder, settings::Style};

use memory::Memory;

/// Prints how much memory the programs of this machine's cluster have (`scripts/up.sh` starts one), and how busy they are.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  sudo footprint\n  sudo footprint --run-dir /run/minik8s --seconds 60"
)]
struct Args {
    /// Where the programs' process ids are
    #[arg(long, default_value = "/run/minik8s")]
    run_dir: PathBuf,
    /// For so long their processor time is measured
    #[arg(long, default_value_t = 0)]
    seconds: u64,
}

/// The programs of minik8s alone: not etcd, Redis nor a registry.
const PROGRAMS: [&str; 6] =
    ["apiserver", "controller-manager", "kube-proxy", "kubelet", "scheduler", "serverless-gateway"];

fn row(memory: Memory, name: &str) -> Vec<String> {
    let file = memory.proportional - memory.anonymous;
    let cells = [memory.proportional, memory.anonymous, file, memory.resident].map(Memory::mib);
    [name.to_owned()].into_iter().chain(cells).collect()
}

/// The processor time that a process has taken.
fn cpu(process: &str) -> anyhow::Result<Duration> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').context("/proc has another format")?;
    let mut ticks = 0;
    for field in fields.split_whitespace().skip(11).take(2) {
        ticks += field.parse::<u64>()?;
    }
    Ok(Duration::from_millis(10 * ticks))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut programs = Vec::new();
    for program in PROGRAMS {
        let file = args.run_dir.join(program).with_extension("pid");
        let recorded = fs::read_to_string(&file)
            .with_context(|| format!("no cluster runs: cannot read {}", file.display()))?;
        let process = recorded.split_whitespace().next().unwrap_or_default().to_owned();
        let before = cpu(&process).with_context(|| format!("{program} does not run"))?;
        programs.push((program, process, before));
    }
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    print(&args, &programs)
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn print(args: &Args, programs: &[(&str, String, Duration)]) -> anyhow::Result<()> {
    let mut table = Builder::default();
    table.push_record(["", "PSS MiB", "anonymous", "of files", "RSS", "% of a core"]);
    let (mut sum, mut all_cpu) = (Memory::default(), Duration::ZERO);
    let busy = |cpu: Duration| match args.seconds {
        0 => String::new(),
        seconds => format!("{:.2}", cpu.as_secs_f64() * 100.0 / seconds as f64),
    };
    for (program, process, before) in programs {
        let memory = Memory::of(process).with_context(|| format!("{program} does not run"))?;
        let cpu = cpu(process)?.saturating_sub(*before);
        table.push_record([row(memory, program), vec![busy(cpu)]].concat());
        (sum, all_cpu) = (sum.plus(memory), all_cpu + cpu);
    }
    table.push_record([row(sum, "together"), vec![busy(all_cpu)]].concat());
    println!("{}", table.build().with(Style::psql()));
    Ok(())
}
