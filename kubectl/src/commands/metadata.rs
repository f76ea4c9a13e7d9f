//! What `label` and `annotate` have in common: setting and removing entries of a map in the metadata.

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::{choice::ChangeChoice, target::Target};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    flags::{self, DryRun},
    object,
    output::Format,
    session::Session,
};

/// The arguments of both commands.
#[derive(Args, Debug)]
pub(super) struct Change {
    /// TYPE NAME… or TYPE/NAME…, then KEY=VALUE to set, KEY- to remove
    words: Vec<String>,
    #[command(flatten)]
    choice: ChangeChoice,
    /// Change entries that have another value
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    dry_run: DryRun,
    /// json, yaml, name, jsonpath=…; -o alone is --overwrite
    #[arg(short, long, num_args = 0..=1)]
    output: Option<Option<String>>,
}

/// Which map is changed, and what the change is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    pub(super) field: &'static str,
    pub(super) set: &'static str,
    pub(super) removed: &'static str,
    pub(super) field_manager: &'static str,
}

impl Change {
    fn overwrites(&self) -> bool {
        self.overwrite || self.output == Some(None)
    }

    pub(super) async fn run(&self, session: &Session, which: Which) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_ref().and_then(Option::as_deref))?;
        let (words, changes): (Vec<_>, Vec<_>) =
            self.words.iter().cloned().partition(|w| !w.contains('=') && !w.ends_with('-'));
        let changes = flags::pairs(&changes)?;
        if changes.is_empty() {
            return Err(Failure::message(format!(
                "at least one {} update is required: KEY=VALUE or KEY-",
                which.field.trim_end_matches('s')
            )));
        }
        let mut failures = Failures::default();
        for target in self.choice.objects(session, &words, &mut failures).await? {
            let changed = self.change(session, &target, which, &changes).await;
            if let Some((object, done)) = failures.keep(changed)? {
                target.report(session, &format, done, self.dry_run, object)?;
            }
        }
        failures.finish(&session.io)
    }

    async fn change(
        &self,
        session: &Session,
        target: &Target,
        which: Which,
        changes: &[(String, Option<String>)],
    ) -> Result<(Value, &'static str), Failure> {
        let current = target.fetch(session).await?;
        let now = object::map(&current, &format!("/metadata/{}", which.field));
        let mut patch = Map::new();
        for (key, value) in changes {
            match (now.get(key), value) {
                (Some(old), Some(new)) if old == new => {}
                (Some(old), Some(_)) if !self.overwrites() => {
                    return Err(Failure::message(format!(
                        "'{key}' already has a value ({old}), and --overwrite is false"
                    )));
                }
                (None, None) => session.io.line(format_args!(
                    "{} {key:?} not found.",
                    which.field.trim_end_matches('s')
                ))?,
                _ => drop(patch.insert(key.clone(), json!(value))),
            }
        }
        if patch.is_empty() {
            return Ok((current, if which.field == "labels" { "not labeled" } else { which.set }));
        }
        let done = if patch.values().all(Value::is_null) { which.removed } else { which.set };
        if self.dry_run.is_local() {
            return Ok((current, done));
        }
        let patch = json!({"metadata": {which.field: patch}});
        let call = Call::new(Method::PATCH, target.path())
            .query("dryRun", self.dry_run.query())
            .query("fieldManager", which.field_manager)
            .patch("application/merge-patch+json", &patch);
        Ok((session.api().await?.call(call).await?, done))
    }
}
