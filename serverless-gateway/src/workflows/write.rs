//! Writes of a run's status.

use std::time::Duration;

use api_types::minik8s::{WorkflowRun, WorkflowRunStatus};
use kube::{Api, ResourceExt, api::PostParams};
use tracing::warn;

/// What became of a write.
pub(super) enum Written {
    /// It is stored; the run as it is now.
    Stored(Box<WorkflowRun>),
    /// Somebody else has written the status, or the run is gone: it is no longer ours.
    Lost,
}

/// How long to wait before a write that got no answer is repeated.
const PAUSE: Duration = Duration::from_millis(200);

/// Writes `status` on condition that the stored one is still `run`'s. What else of the run has changed meanwhile does
/// not matter. A write that gets no answer is repeated until it does: it may have been stored.
pub(super) async fn write(
    runs: &Api<WorkflowRun>,
    mut run: WorkflowRun,
    status: WorkflowRunStatus,
) -> Written {
    let name = run.name_any();
    let expected = run.status.take();
    run.status = Some(status);
    loop {
        match runs.replace_status(&name, &PostParams::default(), &run).await {
            Ok(stored) => return Written::Stored(Box::new(stored)),
            Err(kube::Error::Api(status)) if status.code == 404 => return Written::Lost,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                match look(runs, &run, expected.as_ref()).await {
                    Look::Stored(stored) => return Written::Stored(stored),
                    Look::Unwritten(version) => run.metadata.resource_version = version,
                    Look::Lost => return Written::Lost,
                    Look::NoAnswer => tokio::time::sleep(PAUSE).await,
                }
            }
            Err(kube::Error::Api(status)) if matches!(status.code, 400..=403 | 413 | 422) => {
                warn!(run = name, %status, "a run's status is refused");
                return Written::Lost;
            }
            Err(error) => {
                warn!(run = name, %error, "writing a run's status");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

enum Look {
    /// Our own write is what is there.
    Stored(Box<WorkflowRun>),
    /// The status is as it was; the version to write at.
    Unwritten(Option<String>),
    Lost,
    NoAnswer,
}

async fn look(
    runs: &Api<WorkflowRun>,
    ours: &WorkflowRun,
    expected: Option<&WorkflowRunStatus>,
) -> Look {
    match runs.get(&ours.name_any()).await {
        Ok(there) if there.metadata.uid != ours.metadata.uid => Look::Lost,
        Ok(there) if there.status == ours.status => Look::Stored(Box::new(there)),
        Ok(there) if there.status.as_ref() == expected => {
            Look::Unwritten(there.metadata.resource_version)
        }
        Ok(_) | Err(kube::Error::Api(_)) => Look::Lost,
        Err(_) => Look::NoAnswer,
    }
}
