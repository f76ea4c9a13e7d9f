//! Clients that come while there are many connections that are idle or slow.

use testkit::Connections;

use crate::{
    Args,
    load::measure,
    report::{Report, Row},
    server::{Backing, Server},
};

/// How many come.
const NEWCOMERS: usize = 1000;
/// For how many seconds slow requests are waited for: longer than the clients take.
const PATIENCE: u32 = 60;

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Connections, {backing:?}"));
    let server = Server::start(backing).await?;
    let ask = async |(): &mut (), _| server.connect().await?.get("/version").await.map(drop);
    let mut row = async |what: String| {
        let meter = server.meter();
        let measured = measure(NEWCOMERS, &mut vec![(); args.concurrency], ask).await?;
        report.add(Row::new(what).load(&measured).usage(&meter.read()));
        anyhow::Ok(())
    };
    row("get on a new connection".to_owned()).await?;
    let connections = Connections::open(&server, args.connections / 3, PATIENCE).await;
    row(format!("the same beside {} idle and slow ones", args.connections)).await?;
    drop(connections);
    Ok(report)
}
