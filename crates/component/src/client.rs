//! The client of the API server.

use std::{env, path::PathBuf, time::Duration};

use anyhow::Context;
use futures::FutureExt;
use http::{HeaderValue, header};
use kube::{
    Client, Config,
    client::ClientBuilder,
    config::{KubeConfigOptions, Kubeconfig},
};

use crate::{
    RedisArgs,
    following::{self, Following},
    patience::PatienceLayer,
};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a request may take: a server behind a dead link must not hold up its clients until the
/// kernel gives the connection up, a quarter of an hour later.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How long between two questions for the API server.
const RETRY: Duration = Duration::from_millis(500);

/// The flags of a program that talks to the API server.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ClientArgs {
    /// Where the API server is and who this program is there
    #[arg(long, value_name = "FILE", env = "KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,
    /// What tells of changes sooner.
    #[command(flatten)]
    pub redis: RedisArgs,
}

/// A client from the kubeconfig of the flags, or else from the usual places (`~/.kube/config`, a service
/// account). It connects when it is used: the API server need not be there yet. Its requests end in bounded
/// time; only streams (watches, logs that are followed) go on, once they are answered.
///
/// A kubeconfig whose certificate is renewed is read anew: what is asked afterwards is asked with the new one.
pub async fn client(args: &ClientArgs) -> anyhow::Result<Client> {
    // Before it is read: what is written meanwhile is news.
    let written = args.kubeconfig.as_deref().and_then(following::written);
    let first = build(args).await?;
    let Some(path) = args.kubeconfig.clone() else { return Ok(first) };
    let namespace = first.default_namespace().to_owned();
    let args = args.clone();
    let remake = move || {
        let args = args.clone();
        async move { build(&args).await }.boxed()
    };
    Ok(Client::new(Following::new((first, written), path, remake), namespace))
}

async fn build(args: &ClientArgs) -> anyhow::Result<Client> {
    let builder = ClientBuilder::try_from(config(args).await?)?;
    Ok(builder.with_layer(&PatienceLayer::new(REQUEST_TIMEOUT)).build())
}

/// The configuration [`client`] is built from. A watch may be silent for long, so reading from a connection
/// has no timeout: requests have, and the watcher notices by itself when a watch lasts too long.
pub async fn config(args: &ClientArgs) -> anyhow::Result<Config> {
    let mut config = match &args.kubeconfig {
        Some(path) => from_file(path).await?,
        None => Config::infer().await.context("no --kubeconfig, and none in the usual places")?,
    };
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = None;
    config.headers.extend(agent().map(|agent| (header::USER_AGENT, agent)));
    Ok(config)
}

/// As objects tell of their managers: the name by which this program was called.
fn agent() -> Option<HeaderValue> {
    let called = PathBuf::from(env::args_os().next()?);
    let name = called.file_name()?.to_str()?;
    let version = env!("CARGO_PKG_VERSION");
    HeaderValue::from_str(&format!("{name}/v{version} (minik8s)")).ok()
}

async fn from_file(path: &PathBuf) -> anyhow::Result<Config> {
    let wrong = || format!("cannot use kubeconfig {}", path.display());
    let kubeconfig = Kubeconfig::read_from(path).with_context(wrong)?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options).await.with_context(wrong)
}

/// Returns when the API server answers, however long that takes.
pub async fn wait_for_apiserver(client: &Client) {
    let mut last = String::new();
    while let Err(error) = client.apiserver_version().await {
        let reason = error.to_string();
        if reason != last {
            tracing::info!(%reason, "waiting for the API server");
            last = reason;
        }
        tokio::time::sleep(RETRY).await;
    }
}
