//! Runs of workflows beside writes of the same objects, all in this process: a run of `n` calls one after another takes
//! `n + 2` writes, so at best as many runs end per second as the API server takes writes, divided by that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context;
use api_types::minik8s::{Workflow, WorkflowRun, WorkflowRunStatus};
use axum::{body::Body, http::Response};
use component::Metrics;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use kube::{
    Api, ResourceExt,
    api::{PostParams, WatchEvent, WatchParams},
    core::PartialObjectMeta,
    runtime::watcher::Event,
};
use listwatch::Scope;
use serde_json::{Value, json};
use serverless_gateway::workflows::{CallFunction, FunctionCall, NoAnswer, Runs};
use testkit::{ControlPlane, Etcd};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::load;

const HEADER: [&str; 7] = [
    "calls of a run",
    "writes of a run",
    "runs per second",
    "steps per second",
    "writes per second",
    "writes alone",
    "part",
];

#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WorkflowArgs {
    /// Runs of each workflow
    #[arg(long, default_value_t = 1_000)]
    runs: usize,
    /// Runs at a time
    #[arg(long, default_value_t = 64)]
    active: usize,
    /// Calls of a run, one workflow for each
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5, 20])]
    steps: Vec<usize>,
    /// Keep the objects in etcd instead of the embedded store
    #[arg(long)]
    etcd: bool,
}

/// Functions that answer at once.
struct AtOnce;

#[async_trait::async_trait]
impl CallFunction for AtOnce {
    async fn call(&self, call: FunctionCall) -> Result<Response<Body>, NoAnswer> {
        Ok(Response::new(Body::from(call.body)))
    }

    fn expect(&self, _: &str, _: &str) {}
}

pub(crate) async fn measure(args: &WorkflowArgs) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for &steps in &args.steps {
        let writes = steps + 2;
        let alone = writes_alone(steps, args).await?;
        let plane = Plane::start(args).await;
        let took = drive(&plane.plane, Arc::new(AtOnce), steps, args).await?;
        let runs = args.runs as f64 / took.as_secs_f64();
        let row = [steps as f64, writes as f64, runs, runs * steps as f64, runs * writes as f64];
        let mut row: Vec<_> = row.into_iter().chain([alone]).map(|n| format!("{n:.0}")).collect();
        row.push(format!("{:.0} %", 100.0 * runs * writes as f64 / alone));
        rows.push(row);
    }
    load::print(&HEADER, &rows, &Default::default())
}

/// A control plane that has nothing to do but this.
struct Plane {
    plane: ControlPlane,
    _etcd: Option<Etcd>,
}

impl Plane {
    async fn start(args: &WorkflowArgs) -> Self {
        let etcd = if args.etcd { Some(Etcd::spawn().await) } else { None };
        let plane = match &etcd {
            Some(etcd) => ControlPlane::builder().etcd(etcd).start().await,
            None => ControlPlane::start().await,
        };
        Self { plane, _etcd: etcd }
    }
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "minik8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn run(name: &str, workflow: &str) -> serde_json::Result<WorkflowRun> {
    let spec = json!({"workflow": workflow, "input": {"x": 1}});
    serde_json::from_value(object("WorkflowRun", name, &spec))
}

/// Writes per second: objects as large as runs in their middle, each created and then written as often as a run is.
async fn writes_alone(steps: usize, args: &WorkflowArgs) -> anyhow::Result<f64> {
    let status = &middle(steps, args).await?;
    let plane = Plane::start(args).await;
    let api: &Api<WorkflowRun> = &Api::default_namespaced(plane.plane.client());
    let one = async |number: usize| -> anyhow::Result<()> {
        let written = run(&format!("alone-{number}"), "none")?;
        let mut written = api.create(&PostParams::default(), &written).await?;
        let name = written.name_any();
        for count in 0..=steps {
            let message = Some(count.to_string());
            written.status = Some(WorkflowRunStatus { message, ..status.clone() });
            written = api.replace_status(&name, &PostParams::default(), &written).await?;
        }
        Ok(())
    };
    let begin = Instant::now();
    let mut all = stream::iter(0..args.runs).map(one).buffer_unordered(args.active);
    while let Some(done) = all.next().await {
        done?;
    }
    Ok((args.runs * (steps + 2)) as f64 / begin.elapsed().as_secs_f64())
}

/// What a run's status is after half of its steps.
async fn middle(steps: usize, args: &WorkflowArgs) -> anyhow::Result<WorkflowRunStatus> {
    let args = WorkflowArgs { runs: 1, active: 1, ..args.clone() };
    let plane = Plane::start(&args).await;
    let listwatch = plane.plane.listwatch();
    let mut events = std::pin::pin!(listwatch.watch::<WorkflowRun>(Scope::All));
    while !matches!(events.next().await, Some(Ok(Event::InitDone))) {}
    drive(&plane.plane, Arc::new(AtOnce), steps, &args).await?;
    let mut statuses = Vec::new();
    while let Some(event) = events.next().await {
        let Event::Apply(run) = event? else { continue };
        let status = run.status.unwrap_or_default();
        let has_ended = status.phase.has_ended();
        statuses.push(status);
        if has_ended {
            break;
        }
    }
    anyhow::ensure!(statuses.len() == steps + 2, "there were other writes than there must be");
    Ok(statuses.swap_remove(statuses.len() / 2))
}

/// How long no run may end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a workflow so often; how long that took. What ends is all that is heard of: the gateway alone follows the runs.
async fn drive(
    plane: &ControlPlane,
    functions: Arc<dyn CallFunction>,
    steps: usize,
    args: &WorkflowArgs,
) -> anyhow::Result<Duration> {
    let workflow = object("Workflow", "line", &line(steps));
    let workflows: Api<Workflow> = Api::default_namespaced(plane.client());
    workflows.create(&PostParams::default(), &serde_json::from_value(workflow)?).await?;
    let (shutdown, metrics) = (CancellationToken::new(), Metrics::default());
    let runs = Runs::new(plane.client(), functions, "bench", (&metrics, shutdown.clone()));
    let (listwatch, alive) = (plane.listwatch(), CancellationToken::new());
    alive.cancel();
    let driving = tokio::spawn(async move { runs.drive(&listwatch, &alive).await });
    let api: Api<WorkflowRun> = Api::default_namespaced(plane.client());
    let phase = |phase: &str| WatchParams::default().fields(&format!("status.phase={phase}"));
    let mut succeeded = std::pin::pin!(api.watch_metadata(&phase("Succeeded"), "0").await?);
    let mut failed = std::pin::pin!(api.watch_metadata(&phase("Failed"), "0").await?);
    let begin = Instant::now();
    let permits = Arc::new(Semaphore::new(args.active));
    let creating = tokio::spawn(create(api.clone(), args.runs, permits.clone()));
    let ending = async {
        for _ in 0..args.runs {
            let ended = tokio::time::timeout(PATIENCE, next(&mut succeeded)).await;
            ended.with_context(|| format!("no run has ended for {PATIENCE:?}"))??;
            permits.add_permits(1);
        }
        Ok(())
    };
    tokio::select! {
        done = async { tokio::try_join!(async { creating.await? }, ending) } => done.map(drop)?,
        run = next(&mut failed) => {
            let run = api.get(&run?).await?;
            let status = run.status.clone().unwrap_or_default();
            let why = [status.error, status.message].into_iter().flatten();
            anyhow::bail!("{} failed: {}", run.name_any(), why.collect::<Vec<_>>().join(": "));
        }
    }
    let took = begin.elapsed();
    shutdown.cancel();
    driving.await?;
    Ok(took)
}

/// The next run that a watch tells of.
async fn next(
    events: &mut (impl Stream<Item = kube::Result<WatchEvent<PartialObjectMeta<WorkflowRun>>>> + Unpin),
) -> anyhow::Result<String> {
    loop {
        let event = events.try_next().await?.context("the watch has ended")?;
        if let WatchEvent::Added(run) = event {
            return Ok(run.name_any());
        }
    }
}

/// Creates runs, each as soon as there is a permit for it.
async fn create(
    api: Api<WorkflowRun>,
    count: usize,
    permits: Arc<Semaphore>,
) -> anyhow::Result<()> {
    let one = async |number: usize| -> anyhow::Result<()> {
        permits.acquire().await?.forget();
        let run = run(&format!("run-{number}"), "line")?;
        api.create(&PostParams::default(), &run).await?;
        Ok(())
    };
    stream::iter(0..count).map(one).buffer_unordered(usize::MAX).try_collect().await
}

/// Calls one after another.
fn line(steps: usize) -> Value {
    let mut nodes = json!({});
    for step in 0..steps {
        nodes[format!("n{step}")] = json!({"type": "Task", "function": "f"});
        if step + 1 < steps {
            nodes[format!("n{step}")]["next"] = json!(format!("n{}", step + 1));
        }
    }
    json!({"startAt": "n0", "nodes": nodes})
}

#[cfg(test)]
mod tests {
    use api_types::minik8s::RunPhase;

    use super::*;

    struct Fails;

    #[async_trait::async_trait]
    impl CallFunction for Fails {
        async fn call(&self, _: FunctionCall) -> Result<Response<Body>, NoAnswer> {
            let (code, why) = (http::StatusCode::BAD_GATEWAY, "it is broken".to_owned());
            Err(NoAnswer { code, why, not_taken: false })
        }

        fn expect(&self, _: &str, _: &str) {}
    }

    const ARGS: WorkflowArgs = WorkflowArgs { runs: 3, active: 2, steps: Vec::new(), etcd: false };

    #[tokio::test]
    async fn a_run_that_fails_ends_the_measurement() {
        let plane = Plane::start(&ARGS).await.plane;
        let error = drive(&plane, Arc::new(Fails), 1, &ARGS).await.unwrap_err().to_string();
        assert!(error.ends_with("failed: Function.Broken: it is broken"), "{error}");
    }

    #[tokio::test]
    async fn a_run_that_is_not_created_ends_the_measurement() {
        let plane = Plane::start(&ARGS).await.plane;
        let api: Api<WorkflowRun> = Api::default_namespaced(plane.client());
        let mut there = run("run-1", "other").unwrap();
        there = api.create(&PostParams::default(), &there).await.unwrap();
        there.status = Some(WorkflowRunStatus { phase: RunPhase::Cancelled, ..Default::default() });
        api.replace_status("run-1", &PostParams::default(), &there).await.unwrap();
        let error = drive(&plane, Arc::new(AtOnce), 1, &ARGS).await.unwrap_err();
        assert!(error.to_string().contains("already exists"), "{error}");
    }
}
