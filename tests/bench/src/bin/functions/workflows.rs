//! Runs of workflows beside writes of the same objects, all in this process: a run of `n` calls one after another takes
//! `n + 2` writes, so at best as many runs end per second as the API server takes writes, divided by that.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use api_types::minik8s::{Workflow, WorkflowRun, WorkflowRunStatus};
use axum::{body::Body, http::Response};
use component::Metrics;
use futures::{StreamExt, stream};
use kube::{Api, ResourceExt, api::PostParams, runtime::watcher::Event};
use listwatch::Scope;
use serde_json::{Value, json};
use serverless_gateway::workflows::{CallFunction, FunctionCall, NoAnswer, Runs};
use testkit::{ControlPlane, Etcd};
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
    let etcd = if args.etcd { Some(Etcd::spawn().await) } else { None };
    let plane = match &etcd {
        Some(etcd) => ControlPlane::builder().etcd(etcd).start().await,
        None => ControlPlane::start().await,
    };
    let mut rows = Vec::new();
    for &steps in &args.steps {
        let writes = steps + 2;
        let alone = writes_alone(&plane, steps, args).await?;
        let took = runs(&plane, steps, args).await?;
        let runs = args.runs as f64 / took.as_secs_f64();
        let row = [steps as f64, writes as f64, runs, runs * steps as f64, runs * writes as f64];
        let mut row: Vec<_> = row.into_iter().chain([alone]).map(|n| format!("{n:.0}")).collect();
        row.push(format!("{:.0} %", 100.0 * runs * writes as f64 / alone));
        rows.push(row);
    }
    load::print(&HEADER, &rows, &Default::default());
    Ok(())
}

fn object(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "minik8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn run(name: &str, workflow: &str) -> serde_json::Result<WorkflowRun> {
    let spec = json!({"workflow": workflow, "input": {"x": 1}});
    serde_json::from_value(object("WorkflowRun", name, &spec))
}

/// Writes per second: objects as large as runs in their middle, each created and then written as often as a run is.
async fn writes_alone(
    plane: &ControlPlane,
    steps: usize,
    args: &WorkflowArgs,
) -> anyhow::Result<f64> {
    let api: &Api<WorkflowRun> = &Api::default_namespaced(plane.client());
    let status = &middle(plane, steps).await?;
    let one = async |number: usize| -> anyhow::Result<()> {
        let written = run(&format!("alone-{steps}-{number}"), "none")?;
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
async fn middle(plane: &ControlPlane, steps: usize) -> anyhow::Result<WorkflowRunStatus> {
    let args = WorkflowArgs { runs: 1, active: 1, steps: Vec::new(), etcd: false };
    let mut statuses = drive(plane, steps, "middle", &args).await?.1;
    anyhow::ensure!(statuses.len() > steps, "a write was not seen");
    Ok(statuses.swap_remove(statuses.len() / 2))
}

async fn runs(plane: &ControlPlane, steps: usize, args: &WorkflowArgs) -> anyhow::Result<Duration> {
    Ok(drive(plane, steps, "run", args).await?.0)
}

/// Runs a workflow; how long that took, and the statuses that were seen on the way.
async fn drive(
    plane: &ControlPlane,
    steps: usize,
    prefix: &str,
    args: &WorkflowArgs,
) -> anyhow::Result<(Duration, Vec<WorkflowRunStatus>)> {
    let workflow = format!("{prefix}-{steps}");
    let workflows: Api<Workflow> = Api::default_namespaced(plane.client());
    let definition: Workflow = serde_json::from_value(object("Workflow", &workflow, &line(steps)))?;
    workflows.create(&PostParams::default(), &definition).await?;
    let (shutdown, metrics) = (CancellationToken::new(), Metrics::default());
    let ending = (&metrics, shutdown.clone());
    let runs = Runs::new(plane.client(), Arc::new(AtOnce), "bench", ending);
    let listwatch = plane.listwatch();
    let alive = CancellationToken::new();
    alive.cancel();
    let driving = tokio::spawn(async move { runs.drive(&listwatch, &alive).await });
    let listwatch = plane.listwatch();
    let mut events = std::pin::pin!(listwatch.watch::<WorkflowRun>(Scope::All));
    let api: Api<WorkflowRun> = Api::default_namespaced(plane.client());
    let create = async |number: usize| {
        api.create(&PostParams::default(), &run(&format!("{workflow}-{number}"), &workflow)?)
            .await?;
        anyhow::Ok(())
    };
    let begin = Instant::now();
    let (mut created, mut ended, mut statuses) = (0, 0, Vec::new());
    while created < args.active.min(args.runs) {
        create(created).await?;
        created += 1;
    }
    while ended < args.runs {
        let Some(Ok(Event::Apply(run) | Event::InitApply(run))) = events.next().await else {
            continue;
        };
        let Some(status) = run.status.filter(|_| run.spec.workflow == workflow) else { continue };
        if status.phase.has_ended() {
            ended += 1;
            if created < args.runs {
                create(created).await?;
                created += 1;
            }
        }
        if args.runs == 1 {
            statuses.push(status);
        }
    }
    let took = begin.elapsed();
    shutdown.cancel();
    driving.await?;
    Ok((took, statuses))
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
