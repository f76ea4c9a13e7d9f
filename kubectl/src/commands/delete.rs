//! `kubectl delete`, and waiting until what was deleted is gone.

use std::time::Duration;

use api_machinery::duration;
use clap::{Args, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::{choice::ChangeChoice, following, target::Target};
use crate::{
    Failure,
    api::{Api, Call},
    failure::Failures,
    flags::DryRun,
    object,
    session::Session,
};

/// Delete resources by name, file, label or all of a kind
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  kubectl delete pod web\n  kubectl delete pod/web rs/web\n  kubectl delete -f web.yaml\n  kubectl delete pods -l app=web\n  kubectl delete pods --all\n  kubectl delete pod web --now            # one second of grace\n  kubectl delete pod web --force          # don't wait for the node"
)]
pub struct Delete {
    /// TYPE NAME…, TYPE/NAME… or TYPE with -l or --all
    words: Vec<String>,
    #[command(flatten)]
    choice: ChangeChoice,
    /// Seconds the containers have to stop; -1: as the pod says
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    grace_period: i64,
    /// Remove the object at once, without knowing that it stopped
    #[arg(long)]
    force: bool,
    /// Stop within a second
    #[arg(long)]
    now: bool,
    /// Wait until the objects are gone
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
    /// How long to wait; 0 is for ever
    #[arg(long, default_value = "0", value_parser = duration::parse)]
    timeout: Duration,
    /// Objects that don't exist are no error
    #[arg(long)]
    ignore_not_found: bool,
    /// What becomes of the objects it owns
    #[arg(long, value_enum, default_value_t = Cascade::Background, num_args = 0..=1, default_missing_value = "background", require_equals = true)]
    cascade: Cascade,
    #[command(flatten)]
    dry_run: DryRun,
    /// name: print only pod/x
    #[arg(short, long, value_parser = ["name"])]
    output: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Cascade {
    Background,
    Foreground,
    Orphan,
}

impl Delete {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        self.check()?;
        let mut failures = Failures::default();
        if self.grace_period() == Some(0) {
            session.io.note("Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.");
        }
        let targets = self.choice.objects(session, &self.words, &mut failures).await?;
        if targets.is_empty() && failures.is_empty() {
            session.io.note("No resources found");
        }
        let mut deleted = Vec::new();
        for target in targets {
            let done = self.delete(session, &target).await;
            if let Some(Some(uid)) = failures.keep(done)? {
                deleted.push((target, uid));
            }
        }
        if self.wait && self.dry_run.is_off() {
            failures.keep(self.until_gone(session, &deleted).await)?;
        }
        failures.finish(&session.io)
    }

    fn check(&self) -> Result<(), Failure> {
        let contradiction = |text: &str| Err(Failure::message(text));
        if self.now && (self.force || self.grace_period >= 0) {
            return contradiction("--now and --force, --grace-period cannot be specified together");
        }
        if self.grace_period == 0 && !self.force {
            return contradiction(
                "--grace-period=0 needs --force: the pod may go on running unseen",
            );
        }
        if self.force && self.grace_period > 0 {
            return contradiction(
                "--force and --grace-period greater than 0 cannot be specified together",
            );
        }
        if self.choice.is_empty(&self.words) {
            return contradiction(
                "You must provide one or more resources by argument or filename, e.g. kubectl delete pod web, kubectl delete -f web.yaml",
            );
        }
        Ok(())
    }

    fn grace_period(&self) -> Option<i64> {
        match self.grace_period {
            _ if self.now => Some(1),
            _ if self.force => Some(0),
            -1 => None,
            seconds => Some(seconds),
        }
    }

    /// Deletes one object and says so; gives its uid.
    async fn delete(&self, session: &Session, target: &Target) -> Result<Option<String>, Failure> {
        let call = Call::new(Method::DELETE, target.path()).body(&self.options());
        let answer = match self.dry_run.is_local() {
            true => target.fetch(session).await,
            false => session.api().await?.call(call).await,
        };
        let answer = match answer {
            Err(failure) if failure.is_not_found() && self.ignore_not_found => return Ok(None),
            other => other?,
        };
        self.say(session, target)?;
        let uid = [object::text(&answer, "/details/uid"), object::text(&answer, "/metadata/uid")];
        Ok(Some(uid.into_iter().find(|u| !u.is_empty()).unwrap_or_default().to_owned()))
    }

    fn options(&self) -> Value {
        let policy = match self.cascade {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        };
        let mut options =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        if let Some(seconds) = self.grace_period() {
            options["gracePeriodSeconds"] = json!(seconds);
        }
        if !self.dry_run.query().is_empty() {
            options["dryRun"] = json!([self.dry_run.query()]);
        }
        options
    }

    fn say(&self, session: &Session, target: &Target) -> Result<(), Failure> {
        let name = target.name.as_deref().unwrap_or_default();
        if self.output.is_some() {
            return Ok(session.io.line(target.resource.object_name(name))?);
        }
        let done = if self.grace_period() == Some(0) { "force deleted" } else { "deleted" };
        let suffix = self.dry_run.suffix();
        Ok(session
            .io
            .line(format_args!("{} {name:?} {done}{suffix}", target.resource.object_prefix()))?)
    }

    async fn until_gone(
        &self,
        session: &Session,
        deleted: &[(Target, String)],
    ) -> Result<(), Failure> {
        let api = session.api().await?;
        let all = async {
            for (target, uid) in deleted {
                until_gone(api, target, uid).await?;
            }
            Ok(())
        };
        if self.timeout.is_zero() {
            return all.await;
        }
        tokio::time::timeout(self.timeout, all).await.unwrap_or_else(|_| {
            let left: Vec<_> = deleted.iter().filter_map(|(t, _)| t.name.clone()).collect();
            Err(Failure::message(format!(
                "timed out waiting for the condition on {}",
                left.join(", ")
            )))
        })
    }
}

/// Waits until the object is gone, or another of its name is there.
pub(super) async fn until_gone(api: &Api, target: &Target, uid: &str) -> Result<(), Failure> {
    let is_another =
        |object: &Value| !uid.is_empty() && object::text(object, "/metadata/uid") != uid;
    following::until(api, target, |object| Ok(object.is_none_or(is_another))).await
}
