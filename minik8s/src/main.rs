//! All programs in one file, for a machine that runs several of them: it keeps in memory once what they have in
//! common. Its name says which of them it is, so it is linked under the name of each.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;

type Program = fn() -> ExitCode;

const PROGRAMS: [(&str, Program); 8] = [
    ("apiserver", || component::main("apiserver", apiserver::main)),
    ("controller-manager", || component::main("controller-manager", controller_manager::main)),
    ("gpu-server", || component::main("gpu-server", gpu_server::main)),
    ("kube-proxy", || component::main("kube-proxy", kube_proxy::main)),
    ("kubectl", kubectl::main),
    ("kubelet", || component::main("kubelet", kubelet::kubelet::run)),
    ("scheduler", || component::main("scheduler", scheduler::main)),
    ("serverless-gateway", || component::main("serverless-gateway", serverless_gateway::main)),
];

/// All programs of minik8s in one file. It runs the one by whose name it is called.
#[derive(Debug, Parser)]
#[command(version, after_help = EXAMPLES)]
struct Args {
    /// Links this file into the directory, under the name of each program
    #[arg(long, value_name = "DIRECTORY", required = true)]
    install: PathBuf,
}

const EXAMPLES: &str = "Examples:
  minik8s --install /usr/local/lib/minik8s
  /usr/local/lib/minik8s/kubectl get nodes";

fn main() -> ExitCode {
    let called = env::args_os().next().map(PathBuf::from);
    let name = called.as_ref().and_then(|path| path.file_name()?.to_str());
    match PROGRAMS.iter().find(|(program, _)| Some(*program) == name) {
        Some((_, program)) => program(),
        None => apiserver::stand_in()
            .unwrap_or_else(|| component::main("minik8s", async |args: Args, _| install(&args))),
    }
}

/// Hard links, so that a program is found again by what /proc says of it.
fn install(Args { install: directory }: &Args) -> anyhow::Result<()> {
    let file = env::current_exe().context("cannot find this file")?;
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for (program, _) in PROGRAMS {
        let link = directory.join(program);
        replace(&file, &link)
            .with_context(|| format!("cannot link {} as {}", file.display(), link.display()))?;
    }
    Ok(())
}

/// Under another name first: a link is not made over a file, and somebody may be about to run the old one.
fn replace(file: &Path, link: &Path) -> io::Result<()> {
    let new = link.with_extension("new");
    remove(&new)?;
    fs::hard_link(file, &new)?;
    fs::rename(&new, link)?;
    // It is still there if both were links to one file.
    remove(&new)
}

fn remove(file: &Path) -> io::Result<()> {
    fs::remove_file(file).or_else(|error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    })
}
