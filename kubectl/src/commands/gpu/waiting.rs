//! `--wait`: what becomes of a job, told as it goes, until it has ended.

use std::pin::pin;

use api_types::minik8s::{GpuJob, GpuJobStatus};
use clap::Args;
use futures::TryStreamExt;
use serde_json::Value;

use super::super::target::Target;
use crate::{Failure, api::Call, object::text, session::Session};

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
        let collection = Target { name: None, ..target.clone() };
        let name = target.name.as_deref().unwrap_or_default();
        let mut told = String::new();
        loop {
            // It begins with the job as it is.
            let call = Call::get(collection.path())
                .query("fieldSelector", format!("metadata.name={name}"));
            let mut events = pin!(session.api().await?.watch(call).await?);
            while let Some(mut event) = events.try_next().await? {
                match text(&event, "/type") {
                    "DELETED" => return Err(Failure::message("the job was deleted")),
                    "ADDED" | "MODIFIED" => {}
                    _ => break,
                }
                let job = read(event["object"].take())?;
                let news = progress(job.status.as_ref());
                if news != told && !news.is_empty() {
                    session.io.note(&news);
                    told = news;
                }
                match job.ended() {
                    Some(end) if end.type_ == GpuJob::COMPLETE => return Ok(()),
                    Some(end) => {
                        return Err(Failure::message(format!("job {name:?}: {}", end.message)));
                    }
                    None => {}
                }
            }
        }
    }
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
