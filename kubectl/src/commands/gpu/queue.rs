//! `kubectl gpu queue`: how the Slurm cluster is doing, as the server of a job sees it.

use std::fmt::Write;

use api_types::minik8s::GpuJob;
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    super::pods,
    results::{job, pod_of, port, printable},
};
use crate::{
    Failure,
    api::Call,
    object::{self, text},
    output::table::{TableOptions, TablePrinter},
    session::Session,
};

#[derive(Args, Debug)]
pub(super) struct Queue {
    /// The job whose cluster is meant: NAME or NAMESPACE/NAME; else that of any job of the namespace
    name: Option<String>,
}

/// What the server says.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Slurm {
    partitions: Vec<Partition>,
    jobs: Vec<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Partition {
    name: String,
    default: bool,
    availability: String,
    time_limit: String,
    nodes: String,
    state: String,
    cpus: String,
    gres: String,
}

impl Queue {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let pod = self.pod(session).await?;
        let (namespace, name) = (text(&pod, "/metadata/namespace"), object::name(&pod));
        let port = port(&pod, GpuJob::SERVER_CONTAINER, GpuJob::SERVER_PORT);
        let path = format!("/api/v1/namespaces/{namespace}/pods/{name}:{port}/proxy/queue");
        let answer = session.api().await?.call(Call::get(path)).await;
        let answer = answer.map_err(|failure| {
            failure.about(&format!("the server of pod {name:?} cannot tell how Slurm is doing"))
        })?;
        let queue: Slurm = serde_json::from_value(answer)
            .map_err(|error| Failure::message(format!("the queue is none: {error}")))?;
        Ok(session.io.raw(shown(&queue).as_bytes())?)
    }

    async fn pod(&self, session: &Session) -> Result<Value, Failure> {
        if let Some(name) = &self.name {
            let job = job(session, name).await?.fetch(session).await?;
            return pod_of(session, &job).await;
        }
        let namespace = session.namespace().await?;
        let pods = pods::selected(session, namespace.clone(), GpuJob::LABEL).await?;
        let runs = |pod: &Value| text(pod, "/status/phase") == "Running";
        pods.into_iter().find(runs).ok_or_else(|| {
            Failure::message(format!(
                "no GPU job of the namespace {namespace:?} has a pod that runs, which could ask Slurm"
            ))
        })
    }
}

/// Two tables: the partitions, as sinfo has them, and the jobs, as squeue has them.
fn shown(queue: &Slurm) -> String {
    let rows = queue.partitions.iter().map(|it| {
        let name = if it.default { format!("{}*", it.name) } else { it.name.clone() };
        json!([name, it.availability, it.time_limit, it.nodes, it.state, it.cpus, it.gres])
    });
    let titles = ["Partition", "Avail", "Time Limit", "Nodes", "State", "CPUs (A/I/O/T)", "Gres"];
    let mut text = table(&titles, rows.collect());
    if queue.jobs.is_empty() {
        text += "\nNo jobs wait or run\n";
        return text;
    }
    let fields =
        ["id", "partition", "name", "user", "state", "time", "timeLimit", "nodes", "reason"];
    // Anybody gives jobs names.
    let cell =
        |value: &Value| value.as_str().map_or_else(|| value.clone(), |text| json!(printable(text)));
    let row = |job: &Value| fields.iter().map(|field| cell(&job[*field])).collect::<Value>();
    let titles = [
        "Job ID",
        "Partition",
        "Name",
        "User",
        "State",
        "Time",
        "Time Limit",
        "Nodes",
        "Nodelist (Reason)",
    ];
    let jobs = table(&titles, queue.jobs.iter().map(row).collect());
    // Writing to a string does not fail.
    let _ = write!(text, "\n{jobs}");
    text
}

fn table(titles: &[&str], rows: Vec<Value>) -> String {
    let table = json!({
        "columnDefinitions": titles.iter().map(|title| json!({"name": title})).collect::<Vec<_>>(),
        "rows": rows.into_iter().map(|cells| json!({"cells": cells})).collect::<Vec<_>>(),
    });
    TablePrinter::new(TableOptions::default()).print(&table)
}
