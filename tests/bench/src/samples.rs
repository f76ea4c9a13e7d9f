//! What a look at what a node's pods use costs its kubelet. Needs root, a running dockerd and the images of `scripts/images.sh`.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use kubelet::usage::{disks::Disks, host::Host, sampler::Sampler};

use crate::{
    Args,
    load::{Measured, measure},
    pods::Node,
    report::{Report, Row},
    usage::Meter,
};

/// With so many pods of one container, in turn.
pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let mut report = Report::new("Samples of what the pods of a node use");
    let node = Node::start().await?;
    let sampler = Sampler::new(Host::new(Path::new("/")), node.running(), Disks::default());
    let mut there = 0;
    for &pods in &args.sampled {
        report.step(format!("starting {pods} pods"));
        let more = pods.saturating_sub(there);
        measure(more, &mut vec![(); more], async |(), index| node.pod(there + index).await).await?;
        there = there.max(pods);
        report.step(format!("{} samples of {there} pods", args.samples));
        let (meter, mut times) = (Meter::start(None, None), Vec::new());
        for _ in 0..args.samples {
            let begin = Instant::now();
            sampler.sample(Duration::ZERO).await?;
            times.push(begin.elapsed());
        }
        let row = Row::new(format!("{there} pods")).load(&Measured::in_turn(&times));
        report.add(row.usage(&meter.read()));
    }
    for index in 0..there {
        node.remove(index).await?;
    }
    Ok(report)
}
