//! What stands in for etcd: it is healthy, and says where the API server's store is to be.

use std::{env, fs, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::Context;
use axum::{Json, Router, routing::get};
use clap::{CommandFactory, Parser};
use component::Runtime;
use http::Uri;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use super::line::{Meaning, translate};
use crate::kubebuilder_assets::ETCD;

/// How long a server at this host's own address may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Stands in for etcd where controller-runtime's envtest starts it. It keeps nothing itself.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// Where to answer
    #[arg(long, value_delimiter = ',', default_value = "http://127.0.0.1:2379")]
    listen_client_urls: Vec<Uri>,
    /// Where the API server's store is to be
    #[arg(long, default_value = "default.etcd")]
    data_dir: PathBuf,
}

/// As etcd answers, with the directory.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Health {
    health: String,
    reason: String,
    minik8s_directory: PathBuf,
}

/// What envtest says to etcd, and is of no use here, is nothing to be told of.
const SAID: [&str; 2] = ["listen-peer-urls", "advertise-client-urls"];

pub(super) fn main() -> ExitCode {
    let line = translate(env::args_os(), &Flags::command(), |name, _| {
        if SAID.contains(&name) { Meaning::Other(Vec::new()) } else { Meaning::Own }
    });
    line.warn(ETCD);
    component::main_from(ETCD, line.words, run)
}

async fn run(flags: Flags, runtime: Runtime) -> anyhow::Result<()> {
    let cannot = || format!("cannot make {}", flags.data_dir.display());
    fs::create_dir_all(&flags.data_dir).with_context(cannot)?;
    let directory = flags.data_dir.canonicalize().with_context(cannot)?;
    let url = flags.listen_client_urls.first().context("--listen-client-urls is empty")?;
    let authority = url.authority().with_context(|| format!("{url} names no address"))?;
    let listener = TcpListener::bind(authority.as_str()).await;
    let listener = listener.with_context(|| format!("cannot listen on {authority}"))?;
    let router = Router::new().route("/health", get(async move || Json(Health::at(directory))));
    runtime.started();
    let stopped = runtime.shutdown.cancelled_owned();
    Ok(axum::serve(listener, router).with_graceful_shutdown(stopped).await?)
}

impl Health {
    fn at(directory: PathBuf) -> Self {
        Self { health: "true".to_owned(), reason: String::new(), minik8s_directory: directory }
    }
}

/// Where the store is to be, if what answers there is this stand-in.
pub(super) async fn data_directory(server: &str) -> Option<PathBuf> {
    let client = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().ok()?;
    let answer =
        client.get(format!("{}/health", server.trim_end_matches('/'))).send().await.ok()?;
    let health: Health = serde_json::from_slice(&answer.bytes().await.ok()?).ok()?;
    Some(health.minik8s_directory)
}
