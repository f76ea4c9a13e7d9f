//! A Deployment in a cluster (`scripts/up.sh`) that is called through its Service while another template takes over.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use api_types::api::{apps::v1::Deployment, core::v1::Service};
use clap::Parser;
use component::ClientArgs;
use futures::{TryStreamExt, future::join_all};
use hdrhistogram::Histogram;
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt, conditions, wait::await_condition, watcher},
};
use reqwest::Client;
use serde_json::json;
use tabled::{builder::Builder, settings::Style};

const NAME: &str = "bench-rollout";
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// Replaces all pods of a Deployment under calls, and prints how long that took and how the calls went.
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  rollout --kubeconfig /etc/minik8s/admin.conf --pods 50")]
struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// How many pods
    #[arg(long, default_value_t = 50)]
    pods: i32,
    /// What they run: an HTTP server on port 80
    #[arg(long, default_value = "minik8s/nginx:0.1")]
    image: String,
    /// How many call at a time, each with a connection per call
    #[arg(long, default_value_t = 8)]
    callers: usize,
    /// maxSurge, with a maxUnavailable of 0
    #[arg(long, default_value = "25%")]
    max_surge: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    component::install_crypto_provider();
    let args = Args::parse();
    let client = component::client(&args.client).await?;
    let deployments = Api::<Deployment>::default_namespaced(client.clone());
    let services = Api::<Service>::default_namespaced(client);
    let measured = measure(&args, &deployments, &services).await;
    remove(deployments, &services).await?;
    measured
}

/// Removes all that was made, and waits until the pods are gone.
async fn remove(deployments: Api<Deployment>, services: &Api<Service>) -> anyhow::Result<()> {
    services.delete(NAME, &DeleteParams::default()).await?;
    let uid = deployments.get(NAME).await?.metadata.uid.unwrap_or_default();
    deployments.delete(NAME, &DeleteParams::foreground()).await?;
    let gone = await_condition(deployments, NAME, conditions::is_deleted(&uid));
    tokio::time::timeout(PATIENCE, gone).await.context("the pods do not end")??;
    Ok(())
}

async fn measure(
    args: &Args,
    deployments: &Api<Deployment>,
    services: &Api<Service>,
) -> anyhow::Result<()> {
    let begin = Instant::now();
    let params = PostParams::default();
    deployments.create(&params, &serde_json::from_value(deployment(args))?).await?;
    let service = json!({"metadata": {"name": NAME},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80}]}});
    let service = services.create(&params, &serde_json::from_value(service)?).await?;
    rolled_out(deployments, args.pods).await?;
    let started = begin.elapsed();
    let address = service.spec.and_then(|spec| spec.cluster_ip).context("no address")?;
    let url = format!("http://{address}/");
    first_answer(&url).await?;

    let is_over = AtomicBool::new(false);
    let callers = join_all((0..args.callers).map(|_| call(&url, &is_over)));
    let update = async {
        let begin = Instant::now();
        let env = json!([{"name": "nginx", "env": [{"name": "EDITION", "value": "2"}]}]);
        let patch = json!({"spec": {"template": {"spec": {"containers": env}}}});
        deployments.patch(NAME, &PatchParams::default(), &Patch::Strategic(patch)).await?;
        let least = rolled_out(deployments, args.pods).await;
        is_over.store(true, Ordering::Relaxed);
        anyhow::Ok((begin.elapsed(), least?))
    };
    let (calls, update) = tokio::join!(callers, update);
    let (updated, least) = update?;
    let (mut times, mut failures) = (histogram(), Vec::new());
    for (each, failed) in calls {
        times.add(each)?;
        failures.extend(failed);
    }
    print(args, (started, updated), least, &times, &failures)
}

fn deployment(args: &Args) -> serde_json::Value {
    let container = json!({
        "name": "nginx",
        "image": args.image,
        "readinessProbe": {"httpGet": {"port": 80}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 3}}},
    });
    json!({
        "metadata": {"name": NAME},
        "spec": {
            "replicas": args.pods,
            "strategy": {"rollingUpdate": {"maxSurge": args.max_surge, "maxUnavailable": 0}},
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"containers": [container]},
            },
        },
    })
}

/// Waits until all pods are of the newest template and available. Returns the fewest that were available meanwhile.
async fn rolled_out(deployments: &Api<Deployment>, pods: i32) -> anyhow::Result<i32> {
    let config = watcher::Config::default().fields(&format!("metadata.name={NAME}"));
    let mut states =
        Box::pin(watcher(deployments.clone(), config).default_backoff().applied_objects());
    let mut least = i32::MAX;
    let wait = async {
        while let Some(deployment) = states.try_next().await? {
            let status = deployment.status.clone().unwrap_or_default();
            let available = status.available_replicas.unwrap_or(0);
            least = least.min(available);
            let is_seen = status.observed_generation == deployment.metadata.generation;
            let counts = [status.replicas, status.updated_replicas, Some(available)];
            if is_seen && counts == [Some(pods); 3] {
                return Ok(least);
            }
        }
        bail!("the watch has ended")
    };
    tokio::time::timeout(PATIENCE, wait).await.context("the pods are not available")?
}

fn http() -> anyhow::Result<Client> {
    Ok(Client::builder().no_proxy().pool_max_idle_per_host(0).build()?)
}

/// kube-proxies take a moment to send what comes to a new Service.
async fn first_answer(url: &str) -> anyhow::Result<()> {
    let (http, begin) = (http()?, Instant::now());
    while let Err(error) = http.get(url).send().await {
        if begin.elapsed() > PATIENCE {
            return Err(error.into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// One call after the other, the times of those that were answered in microseconds, and why the others were not.
async fn call(url: &str, is_over: &AtomicBool) -> (Histogram<u64>, Vec<String>) {
    let (mut times, mut failures) = (histogram(), Vec::new());
    let http = http().expect("a client without certificates");
    while !is_over.load(Ordering::Relaxed) {
        let begin = Instant::now();
        let answer = async { http.get(url).send().await?.error_for_status()?.bytes().await };
        match answer.await {
            Ok(_) => {
                times.saturating_record(begin.elapsed().as_micros().try_into().unwrap_or(u64::MAX))
            }
            Err(error) => failures.push(format!("{error:?}")),
        }
    }
    (times, failures)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, PATIENCE.as_micros() as u64, 3).expect("valid bounds")
}

/// Calls that failed fail the program.
#[expect(clippy::print_stdout, reason = "the program's output")]
fn print(
    args: &Args,
    (started, updated): (Duration, Duration),
    least: i32,
    times: &Histogram<u64>,
    failures: &[String],
) -> anyhow::Result<()> {
    let seconds = |time: Duration| format!("{:.1}", time.as_secs_f64());
    let ms = |quantile| format!("{:.1}", times.value_at_quantile(quantile) as f64 / 1000.0);
    let header = [
        "pods",
        "s to start",
        "s to update",
        "least available",
        "answered",
        "failed",
        "p50 ms",
        "p99 ms",
    ];
    let counts = [args.pods.to_string(), seconds(started), seconds(updated), least.to_string()];
    let calls = [times.len().to_string(), failures.len().to_string(), ms(0.5), ms(0.99)];
    let mut table = Builder::default();
    table.push_record(header);
    table.push_record(counts.into_iter().chain(calls));
    println!("{}", table.build().with(Style::psql()));
    failures.iter().take(5).for_each(|failure| println!("{failure}"));
    anyhow::ensure!(failures.is_empty(), "{} calls failed", failures.len());
    Ok(())
}
