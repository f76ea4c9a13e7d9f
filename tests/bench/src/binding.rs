//! Pods that a scheduler binds, through an API server, to nodes of which there is nothing but the objects.

use std::time::{Duration, Instant};

use anyhow::bail;
use component::Tasks;
use listwatch::ListWatch;
use scheduler::{
    metrics::Metrics,
    strategy::{self, Strategy},
};

use crate::{
    Args,
    client::Client,
    load::measure,
    objects::PODS,
    report::{Column, Report, Row},
    scheduling::{node, node_name, pod},
    server::{Backing, Server},
};

const NODES: &str = "/api/v1/nodes";
/// How many creations are under way at once.
const AT_ONCE: usize = 64;

/// By each strategy, on a server of its own.
pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let (pods, nodes) = (args.bound, args.bound_to);
    let mut report = Report::new(format!("{pods} pods bound to {nodes} nodes, {backing:?}"));
    for strategy in strategy::ALL {
        report.step(strategy.name());
        let server = Server::start(backing).await?;
        fill(&server, nodes, pods).await?;
        let meter = server.meter();
        let took = bound(&server, *strategy, pods).await?;
        let rate = format!("{:.0}", pods as f64 / took.as_secs_f64());
        let row = Row::new(strategy.name()).cell(Column::Rate, rate).usage(&meter.read());
        report.add(row);
    }
    Ok(report)
}

async fn fill(server: &Server, nodes: usize, pods: usize) -> anyhow::Result<()> {
    let mut clients = server.clients(AT_ONCE).await?;
    let add_node = async |client: &mut Client, index: usize| {
        let node = node(index).to_string();
        client.post(NODES, node.clone()).await?;
        client.patch(&format!("{NODES}/{}/status", node_name(index)), node).await
    };
    measure(nodes, &mut clients, add_node).await?;
    let add_pod = async |client: &mut Client, index: usize| {
        let mut pod = pod(&format!("pod-{index}"), "100m");
        pod["spec"]["containers"][0]["image"] = "minik8s/busybox:0.1".into();
        client.post(PODS, pod.to_string()).await
    };
    measure(pods, &mut clients, add_pod).await.map(drop)
}

/// From the start of a scheduler until it has bound all of them.
async fn bound(server: &Server, strategy: Strategy, pods: usize) -> anyhow::Result<Duration> {
    let mut unbound = server.connect().await?.watch(PODS, "spec.nodeName=").await?;
    let client = server.program.client().await;
    let tasks = Tasks::default();
    let listwatch = ListWatch::new(client, None, &tasks)?;
    let metrics = Metrics::register(&component::Metrics::default());
    let begin = Instant::now();
    let all = async {
        for _ in 0..pods {
            unbound.change().await?;
        }
        anyhow::Ok(begin.elapsed())
    };
    tokio::select! {
        failed = scheduler::run(&listwatch, &tasks, strategy, &metrics, || {}) => bail!(failed),
        took = all => took,
    }
}
