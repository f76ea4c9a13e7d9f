//! A function in a cluster: made, called and removed.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use api_types::{api::core::v1::Pod, minik8s::Function};
use component::ClientArgs;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use kubelet::runtime::{
    ContainerSpec, LogLimits, PodIdentity, Runtime, SandboxNetwork, SandboxSpec, docker::Docker,
};
use reqwest::Client;
use serde_json::json;

use crate::load::{self, Outcome};

const NAME: &str = "bench-sleep";
const CODE: &str = "import time\n\ndef main(params):\n    time.sleep(0.1)\n    return \"\"\n";
const PAUSE: &str = "minik8s/pause:0.1";
const LOGS: LogLimits = LogLimits { max_size: 10 << 20, max_files: 2 };
const CALL_SECONDS: u32 = 60;
/// Functions whose calls may take so long have instances of their own.
const TOO_LONG_FOR_POOLS: u32 = 1000;
/// How long the first build, with its base image, and idle instances may take.
const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClusterArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Where the gateway is
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8081")]
    gateway: String,
    /// The most instances
    #[arg(long, default_value_t = 20)]
    max_scale: i32,
    /// How long the function keeps an instance without calls
    #[arg(long, default_value_t = 30)]
    idle_seconds: i32,
}

/// The function while it is measured.
struct Subject {
    functions: Api<Function>,
    pods: Api<Pod>,
    url: String,
    http: Client,
}

pub(crate) async fn steps(args: &ClusterArgs, rates: &[u32], seconds: u32) -> anyhow::Result<()> {
    let subject = Subject::make(args, CALL_SECONDS).await?;
    let measured = subject.steps(rates, Duration::from_secs(seconds.into())).await;
    subject.remove().await?;
    let (rows, failures) = measured?;
    let header = [
        "calls per second",
        "answered",
        "errors",
        "per second",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "max ms",
        "instances at its end",
    ];
    load::print(&header, &rows, &failures)
}

pub(crate) async fn cold(args: &ClusterArgs, count: usize, warm_pool: bool) -> anyhow::Result<()> {
    let call_seconds = if warm_pool { CALL_SECONDS } else { TOO_LONG_FOR_POOLS };
    let subject = Subject::make(args, call_seconds).await?;
    let measured = subject.cold(count).await;
    subject.remove().await?;
    load::print(&["what", "times", "p50 ms", "p99 ms"], &measured?, &BTreeMap::new())
}

impl Subject {
    /// Makes the function, and waits until it can be called.
    async fn make(args: &ClusterArgs, call_seconds: u32) -> anyhow::Result<Self> {
        let client = component::client(&args.client).await?;
        let (functions, pods) =
            (Api::default_namespaced(client.clone()), Api::default_namespaced(client));
        let function = json!({
            "apiVersion": "minik8s.io/v1",
            "kind": "Function",
            "metadata": {"name": NAME},
            "spec": {
                "source": {"files": {"main.py": CODE}},
                "maxScale": args.max_scale,
                "idleSeconds": args.idle_seconds,
                "timeoutSeconds": call_seconds,
            },
        });
        functions.create(&PostParams::default(), &serde_json::from_value(function)?).await?;
        let url = format!("{}/{NAME}", args.gateway);
        let http = Client::builder().no_proxy().tcp_nodelay(true).build()?;
        let subject = Subject { functions, pods, url, http };
        subject
            .until("the function is built", async || Ok(subject.image().await?.is_some()))
            .await?;
        Ok(subject)
    }

    async fn remove(&self) -> anyhow::Result<()> {
        self.functions.delete(NAME, &DeleteParams::default()).await?;
        self.until("its pods are gone", async || Ok(self.pods(false).await? == 0)).await
    }

    async fn steps(
        &self,
        rates: &[u32],
        length: Duration,
    ) -> anyhow::Result<(Vec<Vec<String>>, BTreeMap<String, u64>)> {
        self.until("it has no instance", async || Ok(self.pods(false).await? == 0)).await?;
        let (mut rows, mut failures) = (Vec::new(), BTreeMap::new());
        for &rate in rates {
            let outcome = load::at_rate(&self.http, &self.url, rate, length).await;
            let instances = self.pods(true).await?.to_string();
            let cells = outcome.cells(&[0.5, 0.95, 0.99]);
            rows.push([vec![rate.to_string()], cells, vec![instances]].concat());
            failures.extend(outcome.failures);
        }
        Ok((rows, failures))
    }

    async fn cold(&self, count: usize) -> anyhow::Result<Vec<Vec<String>>> {
        let image = self.image().await?.context("the function has no image")?;
        let docker =
            Docker::new(docker::Docker::new(&docker::default_host())?, "bench", PAUSE, LOGS);
        let mut parts = BTreeMap::<String, Outcome>::new();
        let mut note = |what: &str, took| {
            parts.entry(what.to_owned()).or_insert_with(Outcome::new).note(took, None);
        };
        for index in 0..count {
            self.until("it has no instance", async || Ok(self.pods(false).await? == 0)).await?;
            note("a Docker alone", made(&docker, &image, index).await?);
            let begin = Instant::now();
            let call = self.http.post(&self.url).header("x-minik8s-trace", "cold-start");
            let answer = call.body("{}").send().await?.error_for_status()?;
            let timing = answer.headers().get("server-timing").cloned();
            answer.bytes().await?;
            let took = begin.elapsed();
            let timing = timing.context("no Server-Timing")?;
            let timing = timing.to_str()?;
            let from_pool = timing.starts_with("pool;");
            let what = if from_pool { "b cold call, from a warm pool" } else { "b cold call" };
            // The function itself sleeps.
            note(what, took.saturating_sub(Duration::from_millis(100)));
            for (number, part) in timing.split(", ").enumerate() {
                let (phase, took) = part.split_once(";dur=").context("a wrong Server-Timing")?;
                let took = Duration::from_secs_f64(took.parse::<f64>()? / 1000.0);
                note(&format!("c{number} {phase}"), took);
            }
        }
        let row = |(what, outcome): (&String, &Outcome)| {
            let cells = outcome.cells(&[0.5, 0.99]);
            let name = what.split_once(' ').map_or(what.as_str(), |(_, name)| name).to_owned();
            vec![name, cells[0].clone(), cells[3].clone(), cells[4].clone()]
        };
        Ok(parts.iter().map(row).collect())
    }

    /// The image of the version that serves.
    async fn image(&self) -> anyhow::Result<Option<String>> {
        let Some(status) = self.functions.get(NAME).await?.status else { return Ok(None) };
        let serves = status.versions.into_iter().find(|v| Some(v.version) == status.version);
        Ok(serves.and_then(|version| version.image))
    }

    /// How many pods it has, or only the ready ones.
    async fn pods(&self, ready: bool) -> anyhow::Result<usize> {
        let its = ListParams::default().labels(&format!("{}={NAME}", Function::LABEL));
        let pods = self.pods.list(&its).await?.items;
        let is_ready = |pod: &&Pod| {
            let mut conditions = pod.status.iter().flat_map(|s| s.conditions.iter().flatten());
            !ready || conditions.any(|c| c.type_ == "Ready" && c.status == "True")
        };
        Ok(pods.iter().filter(is_ready).count())
    }

    async fn until(
        &self,
        what: &str,
        holds: impl AsyncFn() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let begin = Instant::now();
        while !holds().await? {
            if begin.elapsed() > PATIENCE {
                bail!("waited in vain until {what}");
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        Ok(())
    }
}

/// How long Docker takes to make and start what a kubelet has made for an instance.
async fn made(docker: &Docker, image: &str, index: usize) -> anyhow::Result<Duration> {
    let name = format!("bench-{index}");
    let pod = PodIdentity { uid: name.clone(), namespace: "bench".to_owned(), name };
    let sandbox = SandboxSpec {
        pod: pod.clone(),
        attempt: 0,
        hostname: pod.name.clone(),
        network: SandboxNetwork::Private(None),
        host_ipc: false,
        host_pid: false,
        sysctls: [].into(),
    };
    let begin = Instant::now();
    let sandbox_id = docker.create_sandbox(&sandbox).await?;
    docker.start(&sandbox_id).await?;
    let container = ContainerSpec {
        pod,
        name: Function::CONTAINER.to_owned(),
        sandbox_id: sandbox_id.clone(),
        image: image.to_owned(),
        ..ContainerSpec::default()
    };
    let id = docker.create(&container).await?;
    docker.start(&id).await?;
    let took = begin.elapsed();
    for id in [&id, &sandbox_id] {
        docker.signal(id, "KILL").await?;
        docker.remove(id).await?;
    }
    Ok(took)
}
