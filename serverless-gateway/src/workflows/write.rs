//! Writes of a run's status.

use std::time::Duration;

use api_types::{
    jiff::Timestamp,
    minik8s::{WorkflowRun, WorkflowRunStatus},
};
use kube::{Api, Client, Resource, ResourceExt, api::PostParams, core::Request};
use tracing::warn;

use super::{news::News, status};

/// What became of a write.
pub(super) enum Written {
    /// It is stored, or in its place that it is refused; the run as it is now.
    Stored(Box<WorkflowRun>),
    /// Somebody else has written the status: it is no longer ours. The run as it is now.
    Lost(Box<News>),
    /// There is no such run any more.
    Gone,
}

/// How long to wait before a write that got no answer is repeated: at first, and at most. Longer pauses would let the
/// lease end.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LAST_PAUSE: Duration = Duration::from_secs(2);

/// Writes `status` on condition that the stored one is still `run`'s. What else of the run has changed meanwhile does
/// not matter. A write that gets no answer is repeated until it does: it may have been stored. One that is refused for
/// what it says ends the run: what was called could not be remembered, and would be called again. That it ended so is
/// written until it is taken.
pub(super) async fn write(
    client: &Client,
    mut run: WorkflowRun,
    status: WorkflowRunStatus,
) -> Written {
    let name = run.name_any();
    let expected = run.status.take();
    run.status = Some(status);
    let (mut refused, mut pause) = (false, FIRST_PAUSE);
    loop {
        match put(client, &run).await {
            Ok(News { metadata, spec, .. }) => {
                return Written::Stored(Box::new(WorkflowRun { metadata, spec, ..run }));
            }
            Err(kube::Error::Api(status)) if status.code == 404 => return Written::Gone,
            Err(kube::Error::Api(status)) if status.code == 409 => {
                match look(client, &run, expected.as_ref()).await {
                    Look::Stored(stored) => return Written::Stored(stored),
                    Look::Unwritten(version) => run.metadata.resource_version = version,
                    Look::Lost(there) => return Written::Lost(there),
                    Look::Gone => return Written::Gone,
                    Look::NoAnswer => wait(&mut pause).await,
                }
            }
            Err(kube::Error::Api(why)) if matches!(why.code, 400 | 413 | 422) => {
                warn!(run = name, %why, "a run's status is refused");
                if std::mem::replace(&mut refused, true) {
                    wait(&mut pause).await;
                    continue;
                }
                let long = run.status.take().unwrap_or_default();
                run.status = Some(status::refused(&long, &why.message, Timestamp::now()));
            }
            Err(error) => {
                warn!(run = name, %error, "writing a run's status");
                wait(&mut pause).await;
            }
        }
    }
}

async fn put(client: &Client, run: &WorkflowRun) -> kube::Result<News> {
    let url = WorkflowRun::url_path(&(), run.metadata.namespace.as_deref());
    let run_name = run.name_any();
    let body = serde_json::to_vec(run).map_err(kube::Error::SerdeError)?;
    let request =
        Request::new(url).replace_subresource("status", &run_name, &PostParams::default(), body);
    client.request(request.map_err(kube::Error::BuildRequest)?).await
}

/// Longer each time, and not as long as others do: a server that comes back is not asked by all at once.
async fn wait(pause: &mut Duration) {
    tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.0))).await;
    *pause = (*pause * 2).min(LAST_PAUSE);
}

enum Look {
    /// Our own write is what is there.
    Stored(Box<WorkflowRun>),
    /// The status is as it was; the version to write at.
    Unwritten(Option<String>),
    Lost(Box<News>),
    Gone,
    NoAnswer,
}

async fn look(client: &Client, ours: &WorkflowRun, expected: Option<&WorkflowRunStatus>) -> Look {
    let runs: Api<WorkflowRun> =
        Api::namespaced(client.clone(), &ours.namespace().unwrap_or_default());
    match runs.get(&ours.name_any()).await {
        Ok(there) if there.metadata.uid != ours.metadata.uid => Look::Gone,
        Ok(there) if there.status == as_read(ours.status.as_ref()) => Look::Stored(Box::new(there)),
        Ok(there) if there.status == as_read(expected) => {
            Look::Unwritten(there.metadata.resource_version)
        }
        Ok(there) => Look::Lost(Box::new(there.into())),
        Err(kube::Error::Api(status)) if status.code == 404 => Look::Gone,
        Err(_) => Look::NoAnswer,
    }
}

/// What is read where this was stored: its times are less exact.
fn as_read(status: Option<&WorkflowRunStatus>) -> Option<WorkflowRunStatus> {
    serde_json::from_slice(&serde_json::to_vec(status?).ok()?).ok()
}
