//! `kubectl rollout`: how the pods of one template take over from those of another, and which templates there were.

mod daemon_set;
mod progress;
mod revisions;
mod stateful_set;
mod status;
mod which;

use api_machinery::patch::apply_merge;
use api_types::jiff::Timestamp;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use self::{revisions::Revisions, which::Which};
use super::target::Target;
use crate::{
    Failure, api::Call, failure::Failures, flags::DryRun, object, output::Format, session::Session,
};

const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
const MERGE: &str = "application/merge-patch+json";

/// Follow, pause, restart and undo the rollout of a Deployment, StatefulSet or DaemonSet
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl rollout status deployment/web\n  kubectl rollout history deploy web --revision=2\n  kubectl rollout undo sts/db\n  kubectl rollout restart ds/logs\n  kubectl rollout restart deploy -l app=web"
)]
pub struct Rollout {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Wait until the rollout is done
    #[command(
        after_help = "Examples:\n  kubectl rollout status deploy/web\n  kubectl rollout status deploy/web --watch=false\n  kubectl rollout status deploy/web --timeout=30s"
    )]
    Status(status::Status),
    /// Show the revisions, or the pods of one
    #[command(
        after_help = "Examples:\n  kubectl rollout history deploy/web\n  kubectl rollout history deploy/web --revision=2"
    )]
    History {
        #[command(flatten)]
        which: Which,
        /// Show the pods of this revision
        #[arg(long, default_value_t = 0)]
        revision: i64,
    },
    /// Go back to the revision before, or to another one
    #[command(
        after_help = "Examples:\n  kubectl rollout undo deploy/web\n  kubectl rollout undo deploy/web --to-revision=3"
    )]
    Undo {
        #[command(flatten)]
        which: Which,
        /// The revision; 0 is the one before
        #[arg(long, default_value_t = 0)]
        to_revision: i64,
        #[command(flatten)]
        dry_run: DryRun,
    },
    /// Change nothing more until `resume`
    #[command(after_help = "Examples:\n  kubectl rollout pause deploy/web")]
    Pause(Change),
    /// Go on after `pause`
    #[command(after_help = "Examples:\n  kubectl rollout resume deploy/web")]
    Resume(Change),
    /// Replace all pods by new ones of the same template
    #[command(
        after_help = "Examples:\n  kubectl rollout restart deploy/web\n  kubectl rollout restart deploy -l app=web -o name"
    )]
    Restart(Change),
}

/// A patch of what has rollouts.
#[derive(Args, Debug)]
struct Change {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    dry_run: DryRun,
    /// json, yaml, name, jsonpath=…
    #[arg(short, long)]
    output: Option<String>,
}

impl Rollout {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let pause = |object: &Value| match (object::kind(object), is_paused(object)) {
            ("Deployment", false) => Ok(json!({"spec": {"paused": true}})),
            ("Deployment", true) => Err("is already paused"),
            _ => Err("pausing is not supported"),
        };
        let resume = |object: &Value| match (object::kind(object), is_paused(object)) {
            ("Deployment", true) => Ok(json!({"spec": {"paused": null}})),
            ("Deployment", false) => Err("is not paused"),
            _ => Err("resuming is not supported"),
        };
        match self.action {
            Action::Status(status) => status.run(session).await,
            Action::History { which, revision } => which.history(session, revision).await,
            Action::Undo { which, to_revision, dry_run } => {
                which.undo(session, to_revision, dry_run).await
            }
            Action::Pause(change) => change.run(session, "paused", pause).await,
            Action::Resume(change) => change.run(session, "resumed", resume).await,
            Action::Restart(change) => change.run(session, "restarted", restart).await,
        }
    }
}

fn is_paused(object: &Value) -> bool {
    object["spec"]["paused"] == true
}

fn restart(deployment: &Value) -> Result<Value, &'static str> {
    if is_paused(deployment) {
        return Err("can't restart paused deployment (run rollout resume first)");
    }
    let second = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let annotations = json!({RESTARTED_AT: second.to_string()});
    Ok(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}}))
}

impl Change {
    async fn run(
        &self,
        session: &Session,
        done: &str,
        patch: impl Fn(&Value) -> Result<Value, &'static str>,
    ) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_deref())?;
        let mut failures = Failures::default();
        for (target, deployment) in self.which.objects(session, &mut failures).await? {
            let patch = patch(&deployment).map_err(|why| {
                let name = object::name(&deployment);
                Failure::message(format!("{} {name:?} {why}", target.resource.qualified()))
            });
            let Some(patch) = failures.keep(patch)? else { continue };
            let patched = self.patch(session, &target, &deployment, &patch).await;
            if let Some(object) = failures.keep(patched)? {
                target.report(session, &format, done, self.dry_run, object)?;
            }
        }
        failures.finish(&session.io)
    }

    async fn patch(
        &self,
        session: &Session,
        target: &Target,
        deployment: &Value,
        patch: &Value,
    ) -> Result<Value, Failure> {
        if self.dry_run.is_local() {
            return apply_merge(deployment, patch)
                .map_err(|error| Failure::message(error.to_string()));
        }
        let call = Call::new(Method::PATCH, target.path())
            .query("dryRun", self.dry_run.query())
            .query("fieldManager", "kubectl-rollout")
            .patch(MERGE, patch);
        session.api().await?.call(call).await
    }
}

impl Which {
    async fn history(&self, session: &Session, revision: i64) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for (target, deployment) in self.objects(session, &mut failures).await? {
            let revisions = Revisions::fetch(session, &deployment).await;
            let Some(revisions) = failures.keep(revisions)? else { continue };
            let text = match revision {
                0 => Ok(format!("{} \n{}\n", name(&target), revisions.table())),
                revision => revisions.find(revision).map(|found| {
                    let page = crate::describe::template(&found.whole_template);
                    format!("{} with revision #{revision}\n{page}\n", name(&target))
                }),
            };
            if let Some(text) = failures.keep(text)? {
                session.io.raw(text.as_bytes())?;
            }
        }
        failures.finish(&session.io)
    }

    async fn undo(&self, session: &Session, to: i64, dry_run: DryRun) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for (target, deployment) in self.objects(session, &mut failures).await? {
            let done = undo(session, &target, &deployment, to, dry_run).await;
            if let Some(done) = failures.keep(done)? {
                session.io.line(format_args!("{} {done}", name(&target)))?;
            }
        }
        failures.finish(&session.io)
    }
}

fn name(target: &Target) -> String {
    target.resource.object_name(target.name.as_deref().unwrap_or_default())
}

async fn undo(
    session: &Session,
    target: &Target,
    deployment: &Value,
    to: i64,
    dry_run: DryRun,
) -> Result<String, Failure> {
    if is_paused(deployment) {
        return Err(Failure::message(format!(
            "you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume {}' and try again",
            name(target)
        )));
    }
    let revisions = Revisions::fetch(session, deployment).await?;
    let found = if to == 0 { revisions.before()? } else { revisions.find(to)? };
    let template = found.template();
    if template == revisions::canonical(&deployment["spec"]["template"]) {
        let revision = found.number;
        return Ok(format!(
            "skipped rollback (current template already matches revision {revision})"
        ));
    }
    if !dry_run.is_local() {
        // What somebody else has changed since is not undone with it.
        let patch = json!([
            {"op": "test", "path": "/metadata/uid", "value": deployment["metadata"]["uid"]},
            {"op": "test", "path": "/metadata/generation", "value": deployment["metadata"]["generation"]},
            {"op": "replace", "path": "/spec/template", "value": template},
            {"op": "add", "path": "/metadata/annotations", "value": found.annotations(deployment)},
        ]);
        let call = Call::new(Method::PATCH, target.path())
            .query("dryRun", dry_run.query())
            .query("fieldManager", "kubectl-rollout")
            .patch("application/json-patch+json", &patch);
        session.api().await?.call(call).await?;
    }
    Ok(format!("rolled back{}", dry_run.suffix()))
}
