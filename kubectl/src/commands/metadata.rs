//! What `label` and `annotate` have in common: setting and removing entries of a map in the metadata.

use clap::Args;
use http::Method;
use serde_json::{Map, Value, json};

use super::target::{self, Target};
use crate::{
    Failure,
    api::Call,
    failure::Failures,
    flags::{self, DryRun, Files},
    object,
    output::{self, Format},
    session::Session,
};

/// The arguments of both commands.
#[derive(Args, Debug)]
pub(super) struct Change {
    /// TYPE NAME… or TYPE/NAME…, then KEY=VALUE to set, KEY- to remove
    words: Vec<String>,
    #[command(flatten)]
    files: Files,
    /// Change entries that have another value
    #[arg(long)]
    overwrite: bool,
    /// All objects of the kind
    #[arg(long)]
    all: bool,
    /// Of all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only objects with these labels
    #[arg(short = 'l', long, default_value = "")]
    selector: String,
    /// Only try it out
    #[arg(long, value_enum, default_value_t, num_args = 0..=1, default_missing_value = "client", require_equals = true)]
    dry_run: DryRun,
    /// json, yaml, name, jsonpath=…
    #[arg(short, long)]
    output: Option<String>,
}

/// Which map is changed, and what the change is called.
#[derive(Clone, Copy, Debug)]
pub(super) struct Which {
    pub(super) field: &'static str,
    pub(super) set: &'static str,
    pub(super) removed: &'static str,
}

impl Change {
    pub(super) async fn run(&self, session: &Session, which: Which) -> Result<(), Failure> {
        let format = Format::parse(self.output.as_deref())?;
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
        for target in self.targets(session, &words, &mut failures).await? {
            let changed = self.change(session, &target, which, &changes).await;
            if let Some((object, done)) = failures.keep(changed)? {
                self.show(session, &format, &target, &object, done)?;
            }
        }
        failures.finish(&session.io)
    }

    async fn targets(
        &self,
        session: &Session,
        words: &[String],
        failures: &mut Failures,
    ) -> Result<Vec<Target>, Failure> {
        let mut targets = Vec::new();
        if !self.files.filename.is_empty() {
            for target in target::of_files(session, &self.files).await? {
                targets.extend(failures.keep(target)?);
            }
        }
        if words.is_empty() {
            return Ok(targets);
        }
        for target in target::of_words(session, words, self.all_namespaces).await? {
            if target.name.is_some() {
                targets.push(target);
            } else if self.all || !self.selector.is_empty() {
                let call = Call::get(target.path()).query("labelSelector", &self.selector);
                let found = session.api().await?.call(call).await?;
                targets.extend(object::list(&found, "/items").iter().map(|o| target.of(o)));
            } else {
                return Err(Failure::message(
                    "resource(s) were provided, but no name was specified: name them, or use -l or --all",
                ));
            }
        }
        Ok(targets)
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
                (Some(old), Some(_)) if !self.overwrite => {
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
        if self.dry_run == DryRun::Client {
            return Ok((current, done));
        }
        let patch = json!({"metadata": {which.field: patch}});
        let call = Call::new(Method::PATCH, target.path())
            .query("dryRun", self.dry_run.query())
            .query("fieldManager", "kubectl-label")
            .patch("application/merge-patch+json", &patch);
        Ok((session.api().await?.call(call).await?, done))
    }

    fn show(
        &self,
        session: &Session,
        format: &Format,
        target: &Target,
        object: &Value,
        done: &str,
    ) -> Result<(), Failure> {
        if format.is_table() {
            let name = target.resource.object_name(object::name(object));
            return Ok(session.io.line(format_args!("{name} {done}{}", self.dry_run.suffix()))?);
        }
        Ok(session.io.raw(output::render(format, Some(&target.resource), object).as_bytes())?)
    }
}
