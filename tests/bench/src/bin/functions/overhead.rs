//! Calls through the gateway beside the same calls to the instance, all in this process.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use axum::{Router, body::Bytes, routing::post, serve::ListenerExt};
use kube::runtime::watcher::Event;
use reqwest::Client;
use serde_json::json;
use serverless_gateway::{Access, Calls, Functions, Gateway, Limits};
use tokio::net::TcpListener;

use crate::load;

const QUANTILES: [f64; 3] = [0.5, 0.95, 0.99];
const HEADER: [&str; 8] =
    ["what", "calls", "errors", "per second", "p50 ms", "p95 ms", "p99 ms", "max ms"];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OverheadArgs {
    /// Callers at once
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16])]
    callers: Vec<usize>,
    /// Calls of all of them together
    #[arg(long, default_value_t = 20_000)]
    calls: usize,
}

pub(crate) async fn measure(args: &OverheadArgs) -> anyhow::Result<()> {
    let instance = serve(Router::new().route("/", post(async |body: Bytes| body))).await?;
    let gateway = serve(gateway(instance.port())?).await?;
    let client = Client::builder().no_proxy().tcp_nodelay(true).build()?;
    let paths =
        [("direct", format!("http://{instance}/")), ("gateway", format!("http://{gateway}/f"))];
    let (mut rows, mut failures) = (Vec::new(), BTreeMap::new());
    for &callers in &args.callers {
        for (what, url) in &paths {
            // Opens the connections.
            load::in_turn(&client, url, callers, callers * 50).await;
            let outcome = load::in_turn(&client, url, callers, args.calls).await;
            let what = format!("{what}, {callers} at once");
            rows.push([vec![what], outcome.cells(&QUANTILES)].concat());
            failures.extend(outcome.failures);
        }
    }
    load::print(&HEADER, &rows, &failures)
}

/// A gateway that knows the function `f`, whose one instance serves on this port.
fn gateway(port: u16) -> anyhow::Result<Router> {
    let functions = Functions::new(port, 10_000, &component::Metrics::default());
    let metadata = json!({"namespace": "default", "name": "f", "uid": "f", "labels": {
        "minik8s.io/function": "f", "minik8s.io/function-version": "1"}});
    let function = json!({"apiVersion": "minik8s.io/v1", "kind": "Function", "metadata": metadata,
        "spec": {}, "status": {"version": 1}});
    let ready = json!([{"type": "Ready", "status": "True"}]);
    let pod = json!({"metadata": metadata, "status": {"podIP": "127.0.0.1", "conditions": ready}});
    functions.function(Event::Init);
    functions.function(Event::InitApply(serde_json::from_value(function)?));
    functions.function(Event::InitDone);
    functions.pod(Event::Init);
    functions.pod(Event::InitApply(serde_json::from_value(pod)?));
    functions.pod(Event::InitDone);
    let limits = Limits { request_bytes: 1 << 20, queue_time: Duration::from_secs(60) };
    let calls = Calls::new(functions, limits);
    Ok(Gateway::new(calls, Access::Networks(Vec::new()), "default").router())
}

async fn serve(routes: Router) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let listener = listener.tap_io(|stream| drop(stream.set_nodelay(true)));
    tokio::spawn(async { axum::serve(listener, routes).await });
    Ok(address)
}
