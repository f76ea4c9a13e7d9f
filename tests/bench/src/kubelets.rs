//! Watches as kubelets have them, each of the pods of one node: how many changes of pods a second reach theirs. On etcd
//! the changes are written to the store itself, so that it is the watches that are measured; else they are patches.

use std::{sync::Arc, time::Instant};

use futures::future::try_join_all;
use store::Store;

use crate::{
    Args,
    client::{Client, Watch},
    load::{Measured, measure},
    objects::{self, PODS},
    report::{Report, Row},
    server::{Backing, Server},
};

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("Watches of nodes, {backing:?}"));
    for &nodes in &args.watchers {
        report.step(format!("{nodes} nodes"));
        let server = Server::start(backing).await?;
        let mut writers = Vec::new();
        for client in server.clients(args.concurrency).await? {
            writers.push(Writer::new(&server, backing, client).await?);
        }
        report.add(followed(&server, &mut writers, nodes, args.node_events).await?);
    }
    Ok(report)
}

async fn followed(
    server: &Server,
    writers: &mut [Writer],
    nodes: usize,
    events: usize,
) -> anyhow::Result<Row> {
    let create = async |writer: &mut Writer, node| writer.create(node).await;
    measure(nodes, writers, create).await?;
    let each = events.div_ceil(nodes);
    let clients = server.clients(nodes).await?.into_iter().enumerate();
    let watch = async |(node, client): (usize, Client)| {
        client.watch(PODS, &format!("spec.nodeName=node-{node}")).await
    };
    let watches = try_join_all(clients.map(watch)).await?;
    let watches: Vec<_> = watches.into_iter().map(|it| tokio::spawn(follow(it, each))).collect();
    let (begin, meter) = (Instant::now(), server.meter());
    let change = async |writer: &mut Writer, index| writer.change(index % nodes, index).await;
    let written = measure(each * nodes, writers, change).await?;
    try_join_all(watches).await?.into_iter().collect::<anyhow::Result<()>>()?;
    let measured = Measured { all: begin.elapsed(), ..written };
    let what = format!("{nodes} nodes, writes until all events came");
    Ok(Row::new(what).load(&measured).usage(&meter.read()))
}

/// Reads until it has seen so many changes.
async fn follow(mut watch: Watch, changes: usize) -> anyhow::Result<()> {
    for _ in 0..changes {
        watch.change().await?;
    }
    Ok(())
}

/// Writes pods, each bound to the node of its number.
enum Writer {
    Store(Arc<dyn Store>),
    Client(Client),
}

impl Writer {
    async fn new(server: &Server, backing: Backing, client: Client) -> anyhow::Result<Self> {
        Ok(match backing {
            Backing::Etcd => Self::Store(Arc::new(server.store().await?)),
            Backing::Embedded => Self::Client(client),
        })
    }

    async fn create(&mut self, node: usize) -> anyhow::Result<()> {
        match self {
            Self::Store(_) => self.change(node, 0).await,
            Self::Client(client) => client.post(PODS, bound(node).to_string()).await,
        }
    }

    async fn change(&mut self, node: usize, index: usize) -> anyhow::Result<()> {
        match self {
            Self::Store(store) => {
                let mut pod = bound(node);
                pod["metadata"]["namespace"] = "default".into();
                pod["metadata"]["uid"] = format!("00000000-0000-4000-8000-{node:012}").into();
                pod["metadata"]["annotations"]["change"] = index.to_string().into();
                Ok(store.put(&objects::key(node), pod.to_string().into(), None).await.map(drop)?)
            }
            Self::Client(client) => {
                client.patch(&objects::path(node), objects::change(index + 1)).await
            }
        }
    }
}

fn bound(node: usize) -> serde_json::Value {
    let mut pod = objects::pod(node);
    pod["spec"]["nodeName"] = format!("node-{node}").into();
    pod
}
