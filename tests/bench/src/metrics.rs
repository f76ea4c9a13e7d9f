//! Lists of what pods use, which the API server puts together from what kubelets have announced.

use anyhow::Context;
use component::Tasks;
use listwatch::{ContainerUsage, ListWatch, PodUsage, PodsUsage, Usage};
use serde_json::{Value, json};
use testkit::{Redis, wait};

use crate::{
    Args,
    client::{Client, JSON},
    lists::{List, TABLE},
    objects::{self, PODS},
    report::Report,
    server::{Backing, Server},
};

const POD_METRICS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
/// So many pods are on a node.
const PODS_PER_NODE: usize = 100;

pub(crate) async fn run(args: &Args, backing: Backing) -> anyhow::Result<Report> {
    let mut report = Report::new(format!("What pods use, {backing:?}"));
    for &pods in &args.measured {
        of(pods, backing, &mut report).await?;
    }
    Ok(report)
}

async fn of(pods: usize, backing: Backing, report: &mut Report) -> anyhow::Result<()> {
    report.step(format!("creating {pods} pods that run"));
    let redis = Redis::spawn().await;
    let server = Server::with(backing, &[format!("--redis={}", redis.url())]).await?;
    let announced = fill(&mut server.connect().await?, pods).await?;
    let client = server.program.client().await;
    let kubelets = ListWatch::new(client, Some(&redis.server()), &Tasks::default())?;
    wait::until("all that is announced is known", async || {
        announced.iter().for_each(|usage| kubelets.announce_pods_usage(usage));
        let list = list(&server).await.map_err(|error| error.to_string())?;
        let known = list["items"].as_array().map_or(0, Vec::len);
        if known == pods { Ok(()) } else { Err(format!("{known} are known")) }
    })
    .await;
    for (what, path, accept) in [
        ("their use", POD_METRICS.to_owned(), JSON),
        ("their use as a table", POD_METRICS.to_owned(), TABLE),
        ("the use of 1 % by label", format!("{POD_METRICS}?labelSelector=rare%3Dyes"), JSON),
        ("the use of one", format!("{POD_METRICS}/{}", objects::name(0)), JSON),
        ("the pods themselves", PODS.to_owned(), JSON),
    ] {
        report.step(what);
        let list = List { path: &path, accept, coding: "identity" };
        report.add(list.measure(&server, format!("{pods} pods: {what}")).await?);
    }
    Ok(())
}

async fn list(server: &Server) -> anyhow::Result<Value> {
    Ok(serde_json::from_slice(&server.connect().await?.get(POD_METRICS).await?)?)
}

/// Makes nodes and pods that run on them; what their kubelets announce.
async fn fill(client: &mut Client, pods: usize) -> anyhow::Result<Vec<PodsUsage>> {
    let mut announced = Vec::new();
    for first in (0..pods).step_by(PODS_PER_NODE) {
        let node = format!("node-{first}");
        client.post("/api/v1/nodes", json!({"metadata": {"name": node}}).to_string()).await?;
        let mut used = Vec::new();
        for index in first..pods.min(first + PODS_PER_NODE) {
            used.push(run_pod(client, index, &node).await?);
        }
        announced.push(PodsUsage { node, pods: used });
    }
    Ok(announced)
}

async fn run_pod(client: &mut Client, index: usize, node: &str) -> anyhow::Result<PodUsage> {
    let mut pod = objects::pod(index);
    pod["spec"]["nodeName"] = node.into();
    let created: Value = serde_json::from_slice(&client.create(PODS, pod.to_string()).await?)?;
    let running = json!({"status": {"phase": "Running"}}).to_string();
    client.patch(&format!("{}/status", objects::path(index)), running).await?;
    let usage = Usage {
        window_seconds: Some(10.0),
        cpu_nano_cores: Some(1_234_567),
        memory_working_set_bytes: Some(12 << 20),
        ..Usage::default()
    };
    Ok(PodUsage {
        namespace: "default".to_owned(),
        name: objects::name(index),
        uid: created["metadata"]["uid"].as_str().context("a pod has a uid")?.to_owned(),
        usage: usage.clone(),
        containers: vec![ContainerUsage { name: "main".to_owned(), usage }],
    })
}
