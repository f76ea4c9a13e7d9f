//! `kubectl rollout status`: says how far it is, whenever that changes, until it is done.

use std::{pin::pin, time::Duration};

use clap::Args;
use futures::StreamExt;
use serde_json::Value;
use tokio::time::timeout;

use super::{
    daemon_set,
    progress::Progress,
    revisions, stateful_set,
    which::{Which, fetch},
};
use crate::{
    Failure,
    api::Call,
    commands::target::Target,
    failure::Failures,
    object::{self, number, text},
    session::Session,
};

#[derive(Args, Debug)]
pub(super) struct Status {
    #[command(flatten)]
    which: Which,
    /// Wait; otherwise say how far it is
    #[arg(short, long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    watch: bool,
    /// Give up after this time, such as 30s or 5m; 0s is never
    #[arg(long, default_value = "0s", value_parser = api_machinery::duration::parse)]
    timeout: Duration,
    /// Give up if this revision is not the newest any more; 0 takes the newest
    #[arg(long, default_value_t = 0)]
    revision: i64,
}

impl Status {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let mut failures = Failures::default();
        for (target, deployment) in self.which.objects(session, &mut failures).await? {
            let followed = self.follow(session, &target, deployment);
            let followed = match self.timeout {
                Duration::ZERO => followed.await,
                limit => timeout(limit, followed).await.unwrap_or_else(|_| {
                    Err(Failure::message("timed out waiting for the condition"))
                }),
            };
            failures.keep(followed)?;
        }
        failures.finish(&session.io)
    }

    async fn follow(
        &self,
        session: &Session,
        target: &Target,
        mut deployment: Value,
    ) -> Result<(), Failure> {
        let mut said = String::new();
        loop {
            if self.tell(session, &deployment, &mut said)? || !self.watch {
                return Ok(());
            }
            let call = Call::get(target.resource.path(target.namespace.as_deref()))
                .query("fieldSelector", format!("metadata.name={}", object::name(&deployment)))
                .query("resourceVersion", text(&deployment, "/metadata/resourceVersion"));
            let mut events = pin!(session.api().await?.watch(call).await?);
            while let Some(event) = events.next().await {
                let mut event = event?;
                match text(&event, "/type") {
                    "DELETED" => return Err(Failure::message("object has been deleted")),
                    "ADDED" | "MODIFIED" => {
                        if self.tell(session, &event["object"].take(), &mut said)? {
                            return Ok(());
                        }
                    }
                    _ => break,
                }
            }
            deployment = fetch(session, target).await?;
        }
    }

    /// Whether it is done.
    fn tell(
        &self,
        session: &Session,
        deployment: &Value,
        said: &mut String,
    ) -> Result<bool, Failure> {
        let progress = match object::kind(deployment) {
            "DaemonSet" => daemon_set::progress(deployment)?,
            "StatefulSet" => stateful_set::progress(deployment)?,
            _ => progress(deployment, self.revision)?,
        };
        let (text, is_done) = match progress {
            Progress::Going(text) => (text, false),
            Progress::Done(text) => (text, true),
        };
        if *said != text {
            session.io.line(&text)?;
            *said = text;
        }
        Ok(is_done)
    }
}

fn progress(deployment: &Value, revision: i64) -> Result<Progress, Failure> {
    let name = object::name(deployment);
    let newest = revisions::revision(deployment);
    if revision > 0 && newest != revision {
        return Err(Failure::message(format!(
            "desired revision ({revision}) is different from the running revision ({newest})"
        )));
    }
    if number(deployment, "/metadata/generation") > number(deployment, "/status/observedGeneration")
    {
        return Ok(Progress::Going(
            "Waiting for deployment spec update to be observed...".to_owned(),
        ));
    }
    let conditions = object::list(deployment, "/status/conditions");
    if conditions.iter().any(|it| text(it, "/reason") == "ProgressDeadlineExceeded") {
        return Err(Failure::message(format!(
            "deployment {name:?} exceeded its progress deadline: kubectl describe deployment {name} says more"
        )));
    }
    let of = |count: &str| number(deployment, count).unwrap_or(0);
    let (updated, all) = (of("/status/updatedReplicas"), of("/status/replicas"));
    let (wanted, available) = (of("/spec/replicas"), of("/status/availableReplicas"));
    let waiting = if updated < wanted {
        format!("{updated} out of {wanted} new replicas have been updated...")
    } else if all > updated {
        format!("{} old replicas are pending termination...", all - updated)
    } else if available < updated {
        format!("{available} of {updated} updated replicas are available...")
    } else {
        return Ok(Progress::Done(format!("deployment {name:?} successfully rolled out")));
    };
    Ok(Progress::Going(format!("Waiting for deployment {name:?} rollout to finish: {waiting}")))
}
