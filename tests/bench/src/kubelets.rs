//! Watches as kubelets have them, each of the pods of one node: how many changes of pods a second reach theirs, and what
//! one costs the server. The changes are written to the store itself, so that it is the watches that are measured.

use std::{sync::Arc, time::Instant};

use anyhow::Context;
use futures::{AsyncBufReadExt, StreamExt, future::try_join_all};
use kube::Client;
use serde_json::json;
use store::Store;
use tokio::sync::Barrier;

use crate::{
    Args,
    load::{Measured, measure},
    phases::{self, PODS},
    report::Report,
    server::{Backing, Server},
};

/// How many changes each watcher is to see.
const EACH: usize = 20;

pub(crate) async fn watch(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(Backing::Etcd).await?;
    let store = server.store().await?;
    let open = Arc::new(Barrier::new(args.watchers + 1));
    let mut watchers = Vec::new();
    for node in 0..args.watchers {
        watchers.push(tokio::spawn(kubelet(server.client().await, Arc::clone(&open), node)));
    }
    open.wait().await;
    let (begin, cpu) = (Instant::now(), server.cpu());
    let count = EACH * args.watchers;
    let put = async |i: usize| {
        let node = i % args.watchers;
        let key = format!("/registry/core/pods/default/pod-{node:06}");
        let mut pod = phases::pod(&format!("pod-{node:06}"));
        pod["metadata"]["namespace"] = "default".into();
        pod["metadata"]["uid"] = format!("00000000-0000-4000-8000-{node:012}").into();
        pod["metadata"]["annotations"] = json!({"change": i.to_string()});
        pod["spec"]["nodeName"] = format!("node-{node}").into();
        Ok(store.put(&key, pod.to_string().into(), None).await.map(drop)?)
    };
    let written = measure(count, args.concurrency, put).await?;
    try_join_all(watchers).await?.into_iter().collect::<anyhow::Result<()>>()?;
    let all = begin.elapsed();
    let cpu = (server.cpu() - cpu).as_micros() / count as u128;
    report.add("pod events, a watch per node", &Measured { all, ..written });
    report.note(format!("server CPU per event with {} watches of nodes: {cpu} µs", args.watchers));
    Ok(())
}

/// Reads until it has seen all changes of its pod.
async fn kubelet(client: Client, open: Arc<Barrier>, node: usize) -> anyhow::Result<()> {
    let query = format!(
        "watch=true&fieldSelector=spec.nodeName%3Dnode-{node}&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
    );
    let request = http::Request::get(format!("{PODS}?{query}")).body(Vec::new())?;
    let mut lines = client.request_stream(request).await?.lines();
    while !lines.next().await.context("the watch ended")??.contains("\"BOOKMARK\"") {}
    open.wait().await;
    let mut seen = 0;
    while seen < EACH {
        let line = lines.next().await.context("the watch ended")??;
        seen += usize::from(!line.contains("\"BOOKMARK\""));
    }
    Ok(())
}
