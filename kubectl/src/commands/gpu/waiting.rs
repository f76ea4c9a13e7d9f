//! `--wait`: what becomes of a job, told as it goes, until it has ended.

use std::{pin::pin, time::Duration};

use api_types::minik8s::{GpuJob, GpuJobStatus};
use clap::Args;
use futures::TryStreamExt;
use serde_json::Value;

use super::super::target::Target;
use crate::{
    Failure,
    api::Call,
    object::text,
    patience::{Patience, within},
    session::Session,
};

#[derive(Args, Debug)]
pub(super) struct Wait {
    // As of other commands, where it takes a value too.
    /// Wait until it has ended, and fail if it has failed
    #[arg(long, num_args = 0..=1, default_value_t = false, default_missing_value = "true", require_equals = true, action = clap::ArgAction::Set)]
    wait: bool,
}

impl Wait {
    /// Waits if it is asked for.
    pub(super) async fn until_ended(
        &self,
        session: &Session,
        target: &Target,
    ) -> Result<(), Failure> {
        if !self.wait {
            return Ok(());
        }
        let mut follower = Follower { session, target, uid: None, told: String::new() };
        let mut patience = Patience::new(&session.io);
        loop {
            match within(WATCH * 2, follower.follow()).await {
                Ok(Some(end)) => return end,
                Ok(None) => {
                    patience.renew();
                    tokio::time::sleep(PAUSE).await;
                }
                // Servers are started anew, and lines break.
                Err(failure) => patience.bear(failure).await.inspect_err(|failure| {
                    if failure.may_pass() {
                        session
                            .io
                            .note("The job goes on: \"kubectl get gpujobs\" shows how far it is.");
                    }
                })?,
            }
        }
    }
}

/// Before the server is asked again.
const PAUSE: Duration = Duration::from_secs(1);
/// For so long the server tells what happens, and is then asked anew: it may be gone without a word.
const WATCH: Duration = Duration::from_secs(60);

/// How it ended.
type End = Result<(), Failure>;

struct Follower<'a> {
    session: &'a Session,
    target: &'a Target,
    /// Of the job that is waited for: another one may have its name later.
    uid: Option<String>,
    told: String,
}

impl Follower<'_> {
    /// Looks at the job, and listens to what happens to it, until it has ended or no more comes.
    async fn follow(&mut self) -> Result<Option<End>, Failure> {
        let job = match self.target.fetch(self.session).await {
            Err(failure) if failure.is_not_found() => return Ok(Some(gone())),
            job => read(job?)?,
        };
        let version = job.metadata.resource_version.clone().unwrap_or_default();
        if let Some(end) = self.see(&job) {
            return Ok(Some(end));
        }
        let collection = Target { name: None, ..self.target.clone() };
        let name = self.target.name.as_deref().unwrap_or_default();
        let call = Call::get(collection.path())
            .query("fieldSelector", format!("metadata.name={name}"))
            .query("resourceVersion", version)
            .query("timeoutSeconds", WATCH.as_secs().to_string());
        let mut events = pin!(self.session.api().await?.watch(call).await?);
        while let Some(mut event) = events.try_next().await? {
            let is_deleted = match text(&event, "/type") {
                "ADDED" | "MODIFIED" => false,
                "DELETED" => true,
                _ => break,
            };
            let end = self.see(&read(event["object"].take())?);
            if let Some(end) = end.or_else(|| is_deleted.then(gone)) {
                return Ok(Some(end));
            }
        }
        Ok(None)
    }

    /// Tells what is new of the job, and how it has ended if it has.
    fn see(&mut self, job: &GpuJob) -> Option<End> {
        let uid = job.metadata.uid.clone();
        if self.uid.is_some() && self.uid != uid {
            return Some(gone());
        }
        self.uid = uid;
        let news = progress(job.status.as_ref());
        if news != self.told && !news.is_empty() {
            self.session.io.note(&news);
            self.told = news;
        }
        let end = job.ended()?;
        if end.type_ == GpuJob::COMPLETE {
            return Some(Ok(()));
        }
        let name = job.metadata.name.as_deref().unwrap_or_default();
        Some(Err(Failure::message(format!("job {name:?}: {}", end.message))))
    }
}

fn gone() -> End {
    Err(Failure::message("the job was deleted"))
}

fn read(job: Value) -> Result<GpuJob, Failure> {
    serde_json::from_value(job)
        .map_err(|error| Failure::message(format!("the server's job is none: {error}")))
}

/// How far it is, in one line.
fn progress(status: Option<&GpuJobStatus>) -> String {
    let Some(status) = status else { return String::new() };
    let state = status.state.clone().unwrap_or_else(|| "not submitted yet".to_owned());
    let number = status.job_id.as_ref().map(|id| format!(" (Slurm job {id})"));
    let why = status.message.as_ref().filter(|it| !it.is_empty()).map(|it| format!(": {it}"));
    let position = status.queue_position.filter(|_| status.state.as_deref() == Some("PENDING"));
    let position = position.map(|jobs| format!(", {jobs} jobs in front"));
    let done = match status.tasks.len() {
        0 | 1 => String::new(),
        _ => format!(", {} completed, {} failed", status.succeeded, status.failed),
    };
    let parts = [number, why, position].map(Option::unwrap_or_default).concat();
    format!("{state}{parts}{done}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_told_of_a_job_is_its_state_and_why() {
        let check = |status: Value, expected: &str| {
            let status: GpuJobStatus = serde_json::from_value(status).unwrap();
            assert_eq!(progress(Some(&status)), expected);
        };
        check(json!({}), "not submitted yet");
        check(json!({"message": "connecting"}), "not submitted yet: connecting");
        let pending =
            json!({"state": "PENDING", "jobId": "7", "message": "Priority", "queuePosition": 3});
        check(pending, "PENDING (Slurm job 7): Priority, 3 jobs in front");
        let tasks = json!([{"index": 0}, {"index": 1}]);
        let running = json!({"state": "RUNNING", "jobId": "8", "succeeded": 1, "tasks": tasks});
        check(running, "RUNNING (Slurm job 8), 1 completed, 0 failed");
    }
}
