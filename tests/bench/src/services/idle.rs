//! What Services take that nobody calls: the processes of nginxes, and Docker's own beside them.

use std::{fs, process::Command};

use anyhow::{Context, ensure};

use super::node::{Mode, NAME, Node};
use crate::{
    memory::Memory,
    report::{Column, Report, Row},
};

/// Each with an nginx.
const EACH: usize = 10;
/// Together with one.
const TOGETHER: [usize; 3] = [10, 100, 1_000];

pub(super) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let (nginxes, shims) = taken(Mode::Nginx, EACH, EACH).await?;
    report.add(row("the nginx of a Service, idle".to_owned(), nginxes, EACH));
    report.add(row("Docker's shim of it".to_owned(), shims, EACH));
    for count in TOGETHER {
        let (nginx, _) = taken(Mode::Shared, count, 1).await?;
        report.add(row(format!("the nginx of {count} Services, idle"), nginx, 1));
    }
    Ok(())
}

/// What the nginxes of so many Services take, of which there are so many, and what their shims do.
async fn taken(mode: Mode, services: usize, nginxes: usize) -> anyhow::Result<(Memory, Memory)> {
    let mut node = Node::start(mode).await?;
    node.serve_beside("127.0.0.1:9".parse()?, services - 1).await?;
    let masters = masters()?;
    ensure!(masters.len() == nginxes, "{} nginxes of {nginxes}", masters.len());
    let (mut nginx, mut shim) = (Memory::default(), Memory::default());
    for master in &masters {
        nginx = nginx.plus(Memory::of(master)?);
        for worker in
            fs::read_to_string(format!("/proc/{master}/task/{master}/children"))?.split_whitespace()
        {
            nginx = nginx.plus(Memory::of(worker)?);
        }
        shim = shim.plus(Memory::of(&parent(master)?)?);
    }
    Ok((nginx, shim))
}

fn row(what: String, all: Memory, count: usize) -> Row {
    let each = |kib: u64| Memory::mib(kib / count as u64);
    Row::new(what)
        .cell(Column::ServerMemory, each(all.proportional))
        .cell(Column::Anonymous, each(all.anonymous))
}

fn masters() -> anyhow::Result<Vec<String>> {
    let script = format!(
        "docker ps -q --filter label=io.minik8s.node={NAME} | xargs docker inspect -f '{{{{.State.Pid}}}}'"
    );
    let listed = Command::new("sh").args(["-c", &script]).output()?;
    Ok(String::from_utf8(listed.stdout)?.lines().map(str::to_owned).collect())
}

fn parent(process: &str) -> anyhow::Result<String> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    Ok(parent.context("a process has a parent")?.trim().to_owned())
}
