//! `kubectl wait`: until objects are as they are waited for.

use std::time::Duration;

use api_machinery::duration::{self, DurationError};
use clap::Args;
use serde_json::Value;

use super::{choice::ChangeChoice, following, target::Target};
use crate::{
    Failure,
    failure::Failures,
    object::{self, text},
    output::jsonpath::Path,
    session::Session,
};

/// What a negative timeout stands for.
const A_WEEK: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Wait until objects are there, are gone, have a condition or a value
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl wait --for=condition=Ready pod/web\n  kubectl wait --for=condition=Ready=false pods -l app=web --timeout=60s\n  kubectl wait --for=jsonpath='{.status.phase}'=Running pod/web\n  kubectl wait --for=create secret/password\n  kubectl wait --for=delete pod/web"
)]
pub struct Wait {
    /// TYPE NAME…, TYPE/NAME… or TYPE with -l or --all
    words: Vec<String>,
    #[command(flatten)]
    choice: ChangeChoice,
    /// create, delete, condition=NAME[=VALUE] or jsonpath='{EXPRESSION}'[=VALUE]
    #[arg(long = "for", value_parser = Wanted::parse)]
    wanted: Wanted,
    /// How long to wait for each; 0 looks once, a negative time is a week
    #[arg(long, default_value = "30s", value_parser = timeout, allow_hyphen_values = true)]
    timeout: Duration,
    /// name: print only pod/x
    #[arg(short, long, value_parser = ["name"])]
    output: Option<String>,
}

fn timeout(text: &str) -> Result<Duration, DurationError> {
    match text.strip_prefix('-') {
        Some(time) => duration::parse(time).map(|_| A_WEEK),
        None => duration::parse(text),
    }
}

/// What is waited for.
#[derive(Clone, Debug)]
enum Wanted {
    Create,
    Delete,
    Condition { name: String, value: String },
    Value { path: String, value: Option<String> },
}

impl Wanted {
    fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_lowercase();
        match text.split_once('=') {
            None if lower == "create" => Ok(Self::Create),
            None if lower == "delete" => Ok(Self::Delete),
            Some((_, condition)) if lower.starts_with("condition=") => {
                let (name, value) = condition.split_once('=').unwrap_or((condition, "true"));
                Ok(Self::Condition { name: name.to_owned(), value: value.to_owned() })
            }
            Some((_, given)) if lower.starts_with("jsonpath=") => value(given),
            _ => Err(format!("unrecognized condition: {text:?}")),
        }
    }

    /// Whether the object, or that there is none, is what is waited for.
    fn is_met(&self, object: Option<&Value>) -> Result<bool, Failure> {
        let Some(object) = object else {
            return Ok(matches!(self, Self::Delete));
        };
        match self {
            Self::Create => Ok(true),
            Self::Delete => Ok(false),
            Self::Condition { name, value } => Ok(has_condition(object, name, value)),
            Self::Value { path, value } => has_value(object, path, value.as_deref()),
        }
    }
}

/// The path, which has equals signs of its own within brackets, and the value.
fn value(given: &str) -> Result<Wanted, String> {
    let given = given.trim_matches(['\'', '"']);
    let (path, value) = match given.rfind('}') {
        Some(end) => {
            let rest = given[end + 1..].trim_start_matches(['\'', '"']);
            (&given[..=end], rest.strip_prefix('='))
        }
        None => given.split_once('=').map_or((given, None), |(path, value)| (path, Some(value))),
    };
    if value.is_some_and(str::is_empty) {
        return Err("jsonpath wait has to have a value after equal sign".to_owned());
    }
    Path::parse(path).map_err(|why| why.to_string())?;
    let value = value.map(|value| value.trim_matches(['\'', '"']).to_owned());
    Ok(Wanted::Value { path: path.to_owned(), value })
}

/// A condition of before the latest change says nothing.
fn has_condition(object: &Value, name: &str, value: &str) -> bool {
    let generation = object::number(object, "/metadata/generation");
    let status = object::number(object, "/status/observedGeneration");
    let same = |one: &str, other: &str| one.to_lowercase() == other.to_lowercase();
    object::list(object, "/status/conditions").iter().any(|condition| {
        let observed = object::number(condition, "/observedGeneration").or(status);
        let is_old = observed.is_some_and(|observed| generation.is_some_and(|now| observed < now));
        same(text(condition, "/type"), name) && same(text(condition, "/status"), value) && !is_old
    })
}

fn has_value(object: &Value, path: &str, value: Option<&str>) -> Result<bool, Failure> {
    let path = Path::parse(path)?;
    let found: Vec<_> = path.find(object).into_iter().filter(|found| !found.is_null()).collect();
    match (&found[..], value) {
        ([], _) => Ok(false),
        (_, None) => Ok(true),
        ([Value::Object(_) | Value::Array(_)], Some(_)) => Err(Failure::message(
            "jsonpath leads to a nested object or list which is not supported",
        )),
        ([found], Some(value)) => Ok(object::scalar(found) == value.trim()),
        _ => Err(Failure::message("given jsonpath expression matches more than one value")),
    }
}

impl Wait {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut failures = Failures::default();
        let targets = self.choice.objects(session, &self.words, &mut failures).await?;
        if targets.is_empty() && failures.is_empty() {
            return Err(Failure::message("no matching resources found"));
        }
        let mut waiting = Vec::with_capacity(targets.len());
        for target in targets {
            let uid = self.uid(session, &target).await;
            waiting.extend(failures.keep(uid)?.map(|uid| (target, uid)));
        }
        for (target, uid) in waiting {
            let met = self.until_met(session, &target, uid.as_deref()).await;
            if failures.keep(met)?.is_some() {
                let name = target.resource.object_name(target.name.as_deref().unwrap_or_default());
                let met = if self.output.is_some() { "" } else { " condition met" };
                session.io.line(format_args!("{name}{met}"))?;
            }
        }
        failures.finish(&session.io)
    }

    /// That of an object that is to go: another of its name is not waited for. Empty if it is gone.
    async fn uid(&self, session: &Session, target: &Target) -> Result<Option<String>, Failure> {
        if !matches!(self.wanted, Wanted::Delete) {
            return Ok(None);
        }
        match target.fetch(session).await {
            Err(failure) if failure.is_not_found() => Ok(Some(String::new())),
            now => Ok(Some(text(&now?, "/metadata/uid").to_owned())),
        }
    }

    /// An object with another uid counts as none.
    async fn until_met(
        &self,
        session: &Session,
        target: &Target,
        uid: Option<&str>,
    ) -> Result<(), Failure> {
        let may_be_none = matches!(self.wanted, Wanted::Create | Wanted::Delete);
        let now = match target.fetch(session).await {
            Err(failure) if failure.is_not_found() && may_be_none => None,
            now => Some(now?),
        };
        let is_it = |object: &&Value| uid.is_none_or(|uid| text(object, "/metadata/uid") == uid);
        let is_met = |object: Option<&Value>| self.wanted.is_met(object.filter(is_it));
        if is_met(now.as_ref())? {
            return Ok(());
        }
        let met = following::until(session.api().await?, target, is_met);
        tokio::time::timeout(self.timeout, met)
            .await
            .unwrap_or_else(|_| Err(Self::too_late(target)))
    }

    fn too_late(target: &Target) -> Failure {
        let (plural, name) = (&target.resource.plural, target.name.as_deref().unwrap_or_default());
        Failure::message(format!("timed out waiting for the condition on {plural}/{name}"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(wanted: &str, expected: Result<bool, &str>) {
        let object = json!({
            "metadata": {"generation": 2},
            "status": {
                "phase": "Running", "ready": true, "list": [1],
                "conditions": [
                    {"type": "Ready", "status": "True"}, {"type": "Old", "status": "True", "observedGeneration": 1},
                ],
            },
        });
        let met = Wanted::parse(wanted);
        let met = met.and_then(|it| it.is_met(Some(&object)).map_err(|why| why.to_string()));
        assert_eq!(met.as_ref().map_err(String::as_str), expected.as_ref().map_err(|why| *why));
    }

    #[test]
    fn what_is_waited_for_is_seen() {
        check("create", Ok(true));
        check("delete", Ok(false));
        check("condition=ready", Ok(true));
        check("condition=Ready=False", Ok(false));
        check("condition=Old", Ok(false));
        check("jsonpath={.status.phase}=Running", Ok(true));
        check("jsonpath='{.status.phase}'=Pending", Ok(false));
        check("jsonpath=.status.ready=true", Ok(true));
        check("jsonpath={.status.conditions[?(@.type==\"Ready\")].status}=True", Ok(true));
        check("jsonpath={.status.none}", Ok(false));
        check("jsonpath={.status.list}", Ok(true));
        let nested = "error: jsonpath leads to a nested object or list which is not supported";
        check("jsonpath={.status.list}=1", Err(nested));
        check(
            "jsonpath={.status.phase}=",
            Err("jsonpath wait has to have a value after equal sign"),
        );
        check("ready", Err("unrecognized condition: \"ready\""));
    }
}
