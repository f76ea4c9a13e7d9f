//! From the moment when a pod becomes busy, in a cluster (`scripts/up.sh`), until the pod that its autoscaler adds runs.

use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use api_types::api::{
    apps::v1::ReplicaSet,
    autoscaling::v2::HorizontalPodAutoscaler,
    core::v1::{ConfigMap, Pod, Service},
};
use clap::Parser;
use component::ClientArgs;
use futures::TryStreamExt;
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    runtime::{
        WatchStreamExt,
        wait::{await_condition, conditions},
        watcher,
    },
};
use serde::Deserialize;
use serde_json::{Value, json};
use tabled::{builder::Builder, settings::Style};

/// What it measures with: web servers that are busy when they are told to be.
const EXAMPLE: &str = include_str!("../../../../examples/autoscaling/load.yaml");
const NAME: &str = "load";
const LABELS: &str = "app=load";
/// How long each step may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// Makes a pod busy, and prints how long it takes until its autoscaler's first further pod runs.
#[derive(Debug, Parser)]
#[command(
    after_help = "Examples:\n  autoscaling --kubeconfig /etc/minik8s/admin.conf --periods 60,1 --count 10"
)]
struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// The periods of the autoscaler's policies, in seconds: it looks that often, but every 15 s at least, and of periods up to 15 s
    /// the pods' nodes are measured every second, else every 10 s
    #[arg(long, value_delimiter = ',', default_values_t = [60, 1])]
    periods: Vec<u32>,
    /// How often each
    #[arg(long, default_value_t = 5)]
    count: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    component::install_crypto_provider();
    let args = Args::parse();
    let load = Load::new(component::client(&args.client).await?)?;
    let mut table = Builder::default();
    table.push_record(["policy period s", "times", "median s", "max s"]);
    for period in &args.periods {
        let mut times = Vec::new();
        for _ in 0..args.count {
            load.make(*period).await?;
            let took = load.step().await;
            load.remove().await?;
            times.push(took?);
        }
        times.sort();
        let seconds = |time: Option<&Duration>| {
            time.map_or(String::new(), |time| format!("{:.1}", time.as_secs_f64()))
        };
        let (median, most) = (seconds(times.get(times.len() / 2)), seconds(times.last()));
        table.push_record([period.to_string(), times.len().to_string(), median, most]);
    }
    print(&table.build().with(Style::psql()).to_string());
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn print(table: &str) {
    println!("{table}");
}

/// The example's objects.
struct Load {
    objects: Vec<Value>,
    programs: Api<ConfigMap>,
    sets: Api<ReplicaSet>,
    services: Api<Service>,
    autoscalers: Api<HorizontalPodAutoscaler>,
    pods: Api<Pod>,
    http: reqwest::Client,
}

impl Load {
    fn new(client: Client) -> anyhow::Result<Self> {
        let documents = serde_yaml::Deserializer::from_str(EXAMPLE);
        let objects = documents.map(Value::deserialize).collect::<Result<_, _>>()?;
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(5)).build()?;
        Ok(Self {
            objects,
            programs: Api::default_namespaced(client.clone()),
            sets: Api::default_namespaced(client.clone()),
            services: Api::default_namespaced(client.clone()),
            autoscalers: Api::default_namespaced(client.clone()),
            pods: Api::default_namespaced(client),
            http,
        })
    }

    fn object<K: serde::de::DeserializeOwned>(&self, kind: &str) -> anyhow::Result<K> {
        let object = self.objects.iter().find(|object| object["kind"] == kind);
        Ok(serde_json::from_value(object.context("the example has none")?.clone())?)
    }

    /// Makes all, with one pod, and waits until the autoscaler knows what that uses.
    async fn make(&self, period: u32) -> anyhow::Result<()> {
        let params = PostParams::default();
        self.programs.create(&params, &self.object("ConfigMap")?).await?;
        self.services.create(&params, &self.object("Service")?).await?;
        self.sets.create(&params, &self.object("ReplicaSet")?).await?;
        let mut autoscaler: Value = self.object("HorizontalPodAutoscaler")?;
        for direction in ["scaleUp", "scaleDown"] {
            autoscaler["spec"]["behavior"][direction]["policies"][0]["periodSeconds"] =
                json!(period);
        }
        self.autoscalers.create(&params, &serde_json::from_value(autoscaler)?).await?;
        let knows = |autoscaler: Option<&HorizontalPodAutoscaler>| {
            let status = autoscaler.and_then(|autoscaler| autoscaler.status.as_ref());
            status.is_some_and(|status| status.current_metrics.iter().flatten().next().is_some())
        };
        let known = await_condition(self.autoscalers.clone(), NAME, knows);
        tokio::time::timeout(PATIENCE, known).await.context("the autoscaler has no figures")??;
        Ok(())
    }

    /// Tells the pod to be busy, and waits until a second one runs.
    async fn step(&self) -> anyhow::Result<Duration> {
        let service = self.services.get(NAME).await?;
        let address = service.spec.and_then(|spec| spec.cluster_ip).context("no address")?;
        let url = format!("http://{address}/busy");
        let begin = Instant::now();
        while let Err(error) = self.http.get(&url).send().await {
            if begin.elapsed() > PATIENCE {
                return Err(error.into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let begin = Instant::now();
        tokio::time::timeout(PATIENCE, self.another()).await.context("no pod is added")??;
        Ok(begin.elapsed())
    }

    async fn another(&self) -> anyhow::Result<()> {
        let config = watcher::Config::default().labels(LABELS);
        let mut pods =
            Box::pin(watcher(self.pods.clone(), config).default_backoff().applied_objects());
        let mut running = std::collections::BTreeSet::new();
        while let Some(pod) = pods.try_next().await? {
            let phase = pod.status.and_then(|status| status.phase);
            if phase.as_deref() == Some("Running") {
                running.insert(pod.metadata.uid);
            }
            if running.len() > 1 {
                return Ok(());
            }
        }
        bail!("the watch has ended")
    }

    /// Removes all that was made, and waits until the pods are gone.
    async fn remove(&self) -> anyhow::Result<()> {
        let params = DeleteParams::default();
        self.autoscalers.delete(NAME, &params).await?;
        self.services.delete(NAME, &params).await?;
        self.programs.delete(NAME, &params).await?;
        let uid = self.sets.get(NAME).await?.metadata.uid.unwrap_or_default();
        self.sets.delete(NAME, &DeleteParams::foreground()).await?;
        let gone = await_condition(self.sets.clone(), NAME, conditions::is_deleted(&uid));
        tokio::time::timeout(PATIENCE, gone).await.context("the pods do not end")??;
        Ok(())
    }
}
