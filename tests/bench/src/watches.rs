//! The time from sending a write to each watcher's reading of its event. Each watcher has a connection of its own, and
//! all are open before the first write.

use std::time::Instant;

use futures::future::try_join_all;

use crate::{
    Args,
    client::Watch,
    load::Measured,
    objects::{self, PODS},
    report::{Report, Row},
    server::{Backing, Server},
};

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("From a write to the event, {backing:?}"));
    for &watchers in &args.watchers {
        report.step(format!("{watchers} watchers"));
        let server = Server::start(backing).await?;
        report.add(watched(&server, watchers, args.changes).await?);
    }
    Ok(report)
}

async fn watched(server: &Server, watchers: usize, changes: usize) -> anyhow::Result<Row> {
    let mut writer = server.connect().await?;
    writer.post(PODS, objects::pod(0).to_string()).await?;
    let field = format!("metadata.name={}", objects::name(0));
    let clients = server.clients(watchers).await?;
    let watches = clients.into_iter().map(|client| client.watch(PODS, &field));
    let watches = try_join_all(watches).await?;
    let watches: Vec<_> =
        watches.into_iter().map(|watch| tokio::spawn(times(watch, changes))).collect();
    let (begin, meter, mut sent) = (Instant::now(), server.meter(), Vec::new());
    for index in 0..changes {
        sent.push(Instant::now());
        writer.patch(&objects::path(0), objects::change(index)).await?;
    }
    let mut times = Vec::with_capacity(watchers * changes);
    for received in try_join_all(watches).await? {
        times.extend(received?.into_iter().zip(&sent).map(|(received, sent)| received - *sent));
    }
    let measured = Measured::new(times, begin.elapsed());
    Ok(Row::new(format!("{watchers} watchers, {changes} writes"))
        .load(&measured)
        .usage(&meter.read()))
}

/// When each of the changes arrived.
async fn times(mut watch: Watch, changes: usize) -> anyhow::Result<Vec<Instant>> {
    let mut received = Vec::with_capacity(changes);
    while received.len() < changes {
        watch.change().await?;
        received.push(Instant::now());
    }
    Ok(received)
}
