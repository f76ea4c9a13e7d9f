//! Server-side applies beside merge patches that change the same: of pods of which nobody has applied anything, and of those
//! that an applier has.

use http::Request;

use crate::{
    Args,
    client::Client,
    load::measure,
    objects::{self, fill},
    report::{Report, Row},
    server::{Backing, Server},
};

/// What the others are compared to.
const PATCH: &str = "merge patch";

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let title = format!("Server-side apply, {} at once, {backing:?}", args.concurrency);
    let (mut report, server) = (Report::new(title), Server::start(backing).await?);
    report.step("creating");
    fill(&server, args.objects).await?;
    let mut clients = server.clients(args.concurrency).await?;
    for (what, work) in [
        (PATCH, Work::Patch),
        ("first apply", Work::Apply("first")),
        ("apply that changes something", Work::Apply("second")),
        ("apply that changes nothing", Work::Apply("second")),
        ("merge patch of what was applied", Work::Patch),
    ] {
        report.step(what);
        let meter = server.meter();
        let measured =
            measure(args.objects, &mut clients, async |client, i| work.on(client, i).await).await?;
        report.add_beside(PATCH, Row::new(what).load(&measured).usage(&meter.read()));
    }
    Ok(report)
}

#[derive(Clone, Copy, Debug)]
enum Work {
    /// Of one annotation.
    Patch,
    /// Of the whole manifest, as kubectl does, with an annotation of this value.
    Apply(&'static str),
}

impl Work {
    async fn on(self, client: &mut Client, index: usize) -> anyhow::Result<()> {
        let Self::Apply(value) = self else {
            return client.patch(&objects::path(index), objects::change(index)).await;
        };
        let mut pod = objects::pod(index);
        pod["metadata"]["annotations"]["applied"] = value.into();
        let uri = format!("{}?fieldManager=bench", objects::path(index));
        let request = Request::patch(uri).header("content-type", "application/apply-patch+yaml");
        client.send(request, pod.to_string()).await.map(drop)
    }
}
