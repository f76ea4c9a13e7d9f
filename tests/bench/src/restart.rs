//! The embedded store with many pods: how long the API server takes to be ready again, and what a pod takes of its
//! memory.

use std::time::Instant;

use testkit::wait;

use crate::{
    Args,
    load::Measured,
    objects::fill,
    report::{Column, Report, Row},
    server::{Backing, Server},
};

/// How often it is restarted.
const TIMES: usize = 3;

pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Restarts with {} pods, Embedded", args.restarted));
    let mut server = Server::start(Backing::Embedded).await?;
    let idle = server.memory();
    report.step("creating them");
    fill(&server, args.restarted).await?;
    let each = |memory: u64| memory.saturating_sub(idle) / args.restarted as u64;
    report.note(format!("memory of a pod: {} bytes once created", each(server.memory())));
    let ends: [(_, fn(&mut Server)); 2] = [
        ("after an end in order", |server| server.program.end()),
        ("after a kill", |server| server.program.kill()),
    ];
    for (what, end) in ends {
        report.step(what);
        report.add(again(&mut server, what, end).await?);
        report.note(format!("memory of a pod: {} bytes {what}", each(server.memory())));
    }
    Ok(report)
}

/// The CPU time is that of its last start.
async fn again(server: &mut Server, what: &str, end: fn(&mut Server)) -> anyhow::Result<Row> {
    let mut times = Vec::with_capacity(TIMES);
    for _ in 0..TIMES {
        end(server);
        let begin = Instant::now();
        server.program.restart().await;
        let ask = async || server.connect().await?.get("/readyz").await;
        wait::until("the API server is ready", ask).await;
        times.push(begin.elapsed());
    }
    Ok(Row::new(what)
        .load(&Measured::in_turn(&times))
        .cpu(Column::ServerCpu, server.cpu())
        .memory(Column::ServerMemory, server.memory()))
}
