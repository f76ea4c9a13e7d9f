//! `kubectl wf`: workflows and their runs.

use std::{fs, pin::pin};

use api_machinery::encode;
use api_types::minik8s::{RunPhase, WorkflowRun};
use clap::{Args, Subcommand};
use futures::StreamExt;
use http::Method;
use serde_json::{Value, json};

use super::{apply::Apply, get::Get, target::Target};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    history::{self, Width},
    manifest, object,
    output::pretty_json,
    session::Session,
};

const WORKFLOWS: &str = "workflows.minik8s.io";
const RUNS: &str = "workflowruns.minik8s.io";

/// Define workflows, run them, and see what their runs did
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl wf apply -f hello.json          # define it, and run it once\n  kubectl wf run hello -d '{\"x\": 5}' --wait\n  kubectl wf get\n  kubectl wf runs hello\n  kubectl wf history hello-x7k2p\n  kubectl wf cancel hello-x7k2p\n  kubectl wf rm hello"
)]
pub struct Wf {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Create or update workflows, and run each once
    ///
    /// A file is a manifest, the seed's JSON (startAt, nodes), or a definition in the Amazon States Language (StartAt,
    /// States), which is named like its file.
    #[command(
        after_help = "Examples:\n  kubectl wf apply -f examples/workflows/hello.json\n  kubectl wf apply -f order.asl.json   # a definition of AWS Step Functions: the workflow \"order\"\n  kubectl wf apply -f hello.json --no-run"
    )]
    Apply(ApplyAndRun),
    /// Run a workflow
    #[command(
        after_help = "Examples:\n  kubectl wf run hello                      # with the workflow's own params\n  kubectl wf run hello -d '{\"x\": 5}' --wait   # and print what it returns\n  kubectl wf run hello -d @input.json"
    )]
    Run(Run),
    /// Show workflows and their last runs
    #[command(
        after_help = "Examples:\n  kubectl wf get\n  kubectl wf get hello -o yaml\n  kubectl wf get -w"
    )]
    Get(Box<Get>),
    /// Show the runs of workflows
    #[command(after_help = "Examples:\n  kubectl wf runs hello\n  kubectl wf runs -A -o wide")]
    Runs(Box<Get>),
    /// Show what a run did, a line for each step that has ended, and one for each attempt that failed where there were several
    ///
    /// A run keeps its last 500 steps, or as many as 256 KiB hold, and of each value that is longer than 4 KiB the beginning.
    #[command(
        after_help = "Examples:\n  kubectl wf history hello-x7k2p\n  kubectl wf history hello-x7k2p -o wide   # values and errors as they are kept\n  kubectl wf history hello-x7k2p -o json"
    )]
    History(History),
    /// End runs before they have ended by themselves
    #[command(after_help = "Examples:\n  kubectl wf cancel hello-x7k2p")]
    Cancel(Names),
    /// Delete workflows and their runs
    #[command(after_help = "Examples:\n  kubectl wf rm hello")]
    Rm(Names),
}

#[derive(Args, Debug)]
struct ApplyAndRun {
    #[command(flatten)]
    apply: Apply,
    /// Do not run them
    #[arg(long)]
    no_run: bool,
}

#[derive(Args, Debug)]
struct Run {
    /// The workflow: NAME or NAMESPACE/NAME
    name: String,
    /// The input, as JSON; @FILE takes it from a file, @- from standard input. The workflow's params if absent
    #[arg(short, long)]
    data: Option<String>,
    // As of other commands, where it takes a value too.
    /// Wait until the run has ended, and print its output
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
}

#[derive(Args, Debug)]
struct History {
    /// The run: NAME or NAMESPACE/NAME
    name: String,
    /// wide, json or yaml
    #[arg(short, long, value_enum)]
    output: Option<Form>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Form {
    Wide,
    Json,
    Yaml,
}

#[derive(Args, Debug)]
struct Names {
    /// NAME… or NAMESPACE/NAME…
    #[arg(required = true)]
    names: Vec<String>,
}

impl Wf {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self.action {
            Action::Apply(apply) => apply.run(session).await,
            Action::Run(run) => run.run(session).await,
            Action::Get(mut get) => {
                get.words.insert(0, WORKFLOWS.to_owned());
                get.run(session).await
            }
            Action::Runs(get) => runs(*get, session).await,
            Action::History(history) => history.run(session).await,
            Action::Cancel(names) => {
                let wish = json!({"spec": {"cancel": true}});
                let cancel = |path| {
                    Call::new(Method::PATCH, path).patch("application/merge-patch+json", &wish)
                };
                names.each(session, RUNS, cancel, "cancelled").await
            }
            Action::Rm(names) => {
                let delete = |path| Call::new(Method::DELETE, path);
                names.each(session, WORKFLOWS, delete, "deleted").await
            }
        }
    }
}

/// The object that a word means: `name` or `namespace/name`.
async fn target(session: &Session, resource: &str, word: &str) -> Result<Target, Failure> {
    let resource = session.resource(resource).await?;
    let (namespace, name) = match word.split_once('/') {
        Some((namespace, name)) => (namespace.to_owned(), name.to_owned()),
        None => (session.namespace().await?, word.to_owned()),
    };
    Ok(Target { resource, namespace: Some(namespace), name: Some(name) })
}

/// All runs, or those of one workflow.
async fn runs(mut get: Get, session: &Session) -> Result<(), Failure> {
    match get.words.as_slice() {
        [] => {}
        [workflow] => get.choice.field_selector = format!("spec.workflow={workflow}"),
        _ => return Err(Failure::message("the name of one workflow is needed")),
    }
    get.words = vec![RUNS.to_owned()];
    get.run(session).await
}

fn decoded(run: Value) -> Result<WorkflowRun, Failure> {
    serde_json::from_value(run)
        .map_err(|error| Failure::message(format!("the server's run is none: {error}")))
}

impl History {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let run = target(session, RUNS, &self.name).await?.fetch(session).await?;
        let run = decoded(run)?;
        let text = match self.output {
            None => history::text(&run, Width::Short),
            Some(Form::Wide) => history::text(&run, Width::Wide),
            Some(Form::Json) => pretty_json(&history::document(&run)),
            Some(Form::Yaml) => encode::yaml(&history::document(&run)),
        };
        Ok(session.io.raw(text.as_bytes())?)
    }
}

impl Names {
    async fn each(
        &self,
        session: &Session,
        resource: &str,
        call: impl Fn(String) -> Call,
        done: &str,
    ) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for word in &self.names {
            let target = target(session, resource, word).await?;
            let answer = session.api().await?.call(call(target.path())).await;
            if failures.keep(answer)?.is_some() {
                let name = target.resource.object_name(target.name.as_deref().unwrap_or_default());
                session.io.line(format_args!("{name} {done}"))?;
            }
        }
        failures.finish(&session.io)
    }
}

impl ApplyAndRun {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for document in manifest::read(&self.apply.files, &session.io)? {
            let Some(document) = failures.keep(document)? else { continue };
            let applied = self.apply.apply(session, &document).await;
            let Some((target, (workflow, done))) = failures.keep(applied)? else { continue };
            let name = target.resource.object_name(object::name(&workflow));
            session.io.line(format_args!("{name} {done}"))?;
            if object::kind(&workflow) == "Workflow" && !self.no_run {
                failures.keep(start(session, &workflow, None).await)?;
            }
        }
        failures.finish(&session.io)
    }
}

impl Run {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let workflow = target(session, WORKFLOWS, &self.name).await?.fetch(session).await?;
        let input = self.input(session)?;
        let run = start(session, &workflow, input).await?;
        if !self.wait {
            return Ok(());
        }
        let status = ended(session, &run).await?.status.unwrap_or_default();
        let message = status.message.unwrap_or_default();
        match status.phase {
            RunPhase::Succeeded => Ok(session.io.line(status.output.unwrap_or_default())?),
            RunPhase::Cancelled => Err(Failure::message("the run was cancelled")),
            _ => Err(Failure::message(format!("{}: {message}", status.error.unwrap_or_default()))),
        }
    }

    fn input(&self, session: &Session) -> Result<Option<Value>, Failure> {
        let Some(data) = &self.data else { return Ok(None) };
        let text = match data.strip_prefix('@') {
            None => data.clone(),
            Some("-") => session.io.read_all()?,
            Some(file) => fs::read_to_string(file)
                .map_err(|error| Failure::message(format!("error reading {file}: {error}")))?,
        };
        let input = serde_json::from_str(&text);
        input.map(Some).map_err(|error| Failure::message(format!("the input is no JSON: {error}")))
    }
}

/// Creates a run, which goes with its workflow, and says its name, on standard error if something else is the output.
async fn start(
    session: &Session,
    workflow: &Value,
    input: Option<Value>,
) -> Result<Target, Failure> {
    let resource = session.resource(RUNS).await?;
    let namespace = object::namespace(workflow);
    let name = object::name(workflow);
    let mut run = json!({
        "apiVersion": "minik8s.io/v1",
        "kind": "WorkflowRun",
        "metadata": {
            "generateName": format!("{name}-"),
            "ownerReferences": [{
                "apiVersion": "minik8s.io/v1", "kind": "Workflow", "name": name, "uid": workflow["metadata"]["uid"],
            }],
        },
        "spec": {"workflow": name},
    });
    if let Some(input) = input {
        run["spec"]["input"] = input;
    }
    let call = Call::new(Method::POST, resource.path(namespace)).body(&run);
    let created = session.api().await?.call(call).await?;
    let created_name = object::name(&created).to_owned();
    session.io.note(format_args!("{} created", resource.object_name(&created_name)));
    let namespace = namespace.map(str::to_owned);
    Ok(Target { resource, namespace, name: Some(created_name) })
}

/// Waits for the run's end. What happens between a look and the watch is told by the watch.
async fn ended(session: &Session, run: &Target) -> Result<WorkflowRun, Failure> {
    let name = run.name.as_deref().unwrap_or_default();
    loop {
        let seen = decoded(run.fetch(session).await?)?;
        if has_ended(&seen) {
            return Ok(seen);
        }
        let call = Call::get(run.resource.path(run.namespace.as_deref()))
            .query("fieldSelector", format!("metadata.name={name}"))
            .query("resourceVersion", seen.metadata.resource_version.unwrap_or_default());
        let mut events = pin!(session.api().await?.watch(call).await?);
        while let Some(event) = events.next().await {
            let mut event = event?;
            match object::text(&event, "/type") {
                "DELETED" => return Err(Failure::message(format!("run {name:?} was deleted"))),
                "ADDED" | "MODIFIED" => {
                    let run = decoded(event["object"].take())?;
                    if has_ended(&run) {
                        return Ok(run);
                    }
                }
                _ => break,
            }
        }
    }
}

fn has_ended(run: &WorkflowRun) -> bool {
    run.status.as_ref().is_some_and(|status| status.phase.has_ended())
}
