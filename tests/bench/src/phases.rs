//! What is measured, in order: creates, gets, lists, watches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use futures::{AsyncBufReadExt, StreamExt, future::try_join_all};
use indicatif::{ProgressBar, ProgressStyle};
use kube::Client;
use serde_json::{Value, json};
use store::{Expect, Query};
use testkit::Connections;
use tokio::sync::Barrier;

use crate::{
    Args,
    load::{Measured, measure},
    report::Report,
    server::{Backing, Bare, Server},
};

pub(crate) const PODS: &str = "/api/v1/namespaces/default/pods";

/// How many clients come while there are idle and slow connections.
const NEWCOMERS: usize = 1000;
/// For how many seconds slow requests are waited for: longer than those clients take.
const PATIENCE: u32 = 60;

/// A pod as a client sends it: about a kilobyte.
pub(crate) fn pod(name: &str) -> Value {
    let environment: Vec<_> = (0..8)
        .map(|i| json!({"name": format!("VARIABLE_{i}"), "value": "a value of some length"}))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": "bench", "tier": "load"}},
        "spec": {"containers": [{"name": "main", "image": "minik8s/busybox:0.1", "env": environment, "ports": [{"containerPort": 80}]}]},
    })
}

fn step(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(what.to_owned());
    bar.set_style(
        ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template"),
    );
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

/// The same work on the bare store: the floor.
pub(crate) async fn raw(args: &Args, backing: Backing, report: &mut Report) -> anyhow::Result<()> {
    let bar = step(&format!("bare {backing:?}"));
    let bare = Bare::start(backing).await?;
    let (store, key) = (&bare.store, |i: usize| format!("/registry/core/pods/default/pod-{i:06}"));
    // As the server stores it: with defaults and metadata it is twice what was sent.
    let value = Bytes::from(serde_json::to_vec(&[pod("pod-000000"), pod("pod-000000")])?);
    let create =
        async |i| Ok(store.put(&key(i), value.clone(), Some(Expect::Absent)).await.map(|_| ())?);
    report.floor("create", &measure(args.objects, args.concurrency, create).await?);
    let get = async |i| Ok(store.get(&key(i)).await.map(|_| ())?);
    report.floor("get", &measure(args.objects, args.concurrency, get).await?);
    let list =
        async |_| Ok(store.list("/registry/core/pods/", Query::default()).await.map(|_| ())?);
    report.floor("list all", &measure(args.lists, 1, list).await?);
    bar.finish_and_clear();
    Ok(())
}

/// The work through the API.
pub(crate) async fn api(args: &Args, backing: Backing, report: &mut Report) -> anyhow::Result<()> {
    let server = Server::start(backing).await?;
    let client = server.client().await;
    let idle = server.memory() >> 20;
    let bar = step("creates");
    report.add("create", &creates(args, &client).await?);
    bar.set_message("gets");
    let get = async |i| send(&client, "GET", &format!("{PODS}/pod-{i:06}"), Vec::new()).await;
    report.add("get", &measure(args.objects, args.concurrency, get).await?);
    bar.set_message("lists");
    let list = async |_| send(&client, "GET", PODS, Vec::new()).await;
    report.add("list all", &measure(args.lists, 1, list).await?);
    let loaded = server.memory() >> 20;
    bar.set_message("watches");
    report.add("watch (write to event)", &watches(args, &server, &client).await?);
    let watched = server.memory() >> 20;
    bar.set_message("idle and slow connections");
    let connections = Connections::open(&server, args.connections / 3, PATIENCE).await;
    let ask = async |_| Ok(server.client().await.apiserver_version().await.map(drop)?);
    report.add(
        "get on a new connection beside idle and slow ones",
        &measure(NEWCOMERS, args.concurrency, ask).await?,
    );
    drop(connections);
    bar.finish_and_clear();
    report.note(format!(
        "server memory: {idle} MiB idle, {loaded} MiB with {} pods, {watched} MiB with {} watchers besides",
        args.objects, args.watchers
    ));
    Ok(())
}

async fn send(client: &Client, method: &str, path: &str, body: Vec<u8>) -> anyhow::Result<()> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header("content-type", "application/json");
    client.request_text(request.body(body)?).await?;
    Ok(())
}

async fn creates(args: &Args, client: &Client) -> anyhow::Result<Measured> {
    let create = async |i| {
        send(client, "POST", PODS, serde_json::to_vec(&pod(&format!("pod-{i:06}")))?).await
    };
    measure(args.objects, args.concurrency, create).await
}

/// The time from sending a write to each watcher's reading of its event: `watchers` × `changes` times. Each watcher has a
/// connection of its own, and all are open before the first write.
async fn watches(args: &Args, server: &Server, client: &Client) -> anyhow::Result<Measured> {
    let open = Arc::new(Barrier::new(args.watchers + 1));
    let mut watchers = Vec::new();
    for _ in 0..args.watchers {
        watchers.push(tokio::spawn(watcher(
            server.client().await,
            Arc::clone(&open),
            args.changes,
        )));
    }
    open.wait().await;
    let mut sent = Vec::with_capacity(args.changes);
    let begin = Instant::now();
    for i in 0..args.changes {
        sent.push(Instant::now());
        let body =
            serde_json::to_vec(&json!({"metadata": {"annotations": {"change": i.to_string()}}}))?;
        patch(client, body).await?;
    }
    let mut times = Vec::with_capacity(args.watchers * args.changes);
    for received in try_join_all(watchers).await? {
        times.extend(
            received?.iter().zip(&sent).map(|(received, sent)| received.duration_since(*sent)),
        );
    }
    Ok(Measured::new(times, begin.elapsed()))
}

async fn patch(client: &Client, body: Vec<u8>) -> anyhow::Result<()> {
    let request = http::Request::patch(format!("{PODS}/pod-000000"))
        .header("content-type", "application/merge-patch+json");
    client.request_text(request.body(body)?).await?;
    Ok(())
}

/// When each of the changes arrived.
async fn watcher(
    client: Client,
    open: Arc<Barrier>,
    changes: usize,
) -> anyhow::Result<Vec<Instant>> {
    // With initial events and their closing bookmark, so that it is known to be open.
    let query = "watch=true&fieldSelector=metadata.name%3Dpod-000000&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    let request = http::Request::get(format!("{PODS}?{query}")).body(Vec::new())?;
    let mut lines = client.request_stream(request).await?.lines();
    loop {
        let line = lines.next().await.context("the watch ended")??;
        if line.contains("\"BOOKMARK\"") {
            break;
        }
    }
    open.wait().await;
    let mut received = Vec::with_capacity(changes);
    while received.len() < changes {
        let line = lines.next().await.context("the watch ended")??;
        if line.contains("\"MODIFIED\"") {
            received.push(Instant::now());
        }
    }
    Ok(received)
}
