//! `kubectl scale`: through the `scale` subresource where there is one.

use api_machinery::selector::LabelSelector;
use clap::Args;
use http::Method;
use serde_json::json;

use super::{choice, target::Target};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    flags::{DryRun, Files},
    object,
    session::Session,
};

/// Set how many replicas a ReplicaSet, Deployment or StatefulSet has
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl scale rs/web --replicas=5\n  kubectl scale rs web --current-replicas=5 --replicas=3"
)]
pub struct Scale {
    /// TYPE NAME… or TYPE/NAME…
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// How many there shall be
    #[arg(long)]
    replicas: u32,
    /// Only if there are so many now
    #[arg(long)]
    current_replicas: Option<i64>,
    #[command(flatten)]
    dry_run: DryRun,
}

impl Scale {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut failures = Failures::default();
        let targets = choice::named(
            session,
            &self.files,
            &self.words,
            false,
            &LabelSelector::default(),
            &mut failures,
        )
        .await?;
        for target in targets {
            let scaled = self.scale(session, &target).await;
            if failures.keep(scaled)?.is_some() {
                let name = target.resource.object_name(target.name.as_deref().unwrap_or_default());
                session.io.line(format_args!("{name} scaled{}", self.dry_run.suffix()))?;
            }
        }
        failures.finish(&session.io)
    }

    async fn scale(&self, session: &Session, target: &Target) -> Result<(), Failure> {
        if target.name.is_none() {
            return Err(Failure::message("resource(s) were provided, but no name was specified"));
        }
        let current = target.fetch(session).await?;
        let now = object::number(&current, "/spec/replicas");
        let Some(now) = now else {
            return Err(Failure::message(format!(
                "{} cannot be scaled: it has no spec.replicas",
                target.resource.qualified()
            )));
        };
        if let Some(expected) = self.current_replicas.filter(|e| *e != now) {
            return Err(Failure::message(format!("Expected replicas to be {expected}, was {now}")));
        }
        if self.dry_run.is_local() {
            return Ok(());
        }
        let has_scale = target.resource.subresources.iter().any(|s| s == "scale");
        let path = if has_scale { target.path() + "/scale" } else { target.path() };
        let call = Call::new(Method::PATCH, path)
            .query("dryRun", self.dry_run.query())
            .query("fieldManager", "kubectl-scale")
            .patch("application/merge-patch+json", &json!({"spec": {"replicas": self.replicas}}));
        session.api().await?.call(call).await.map(drop)
    }
}
