//! What is told of a job's pod, in the job's condition `ServerReady`, and since when the job's time counts: pure. All else in the
//! status, the message for people as soon as it has one, is the server's to tell.

use api_types::api::core::v1::{ContainerState, Pod};
use api_types::jiff::Timestamp;
use api_types::meta::{Condition, Time};
use api_types::minik8s::GpuJob;
use serde_json::{Value, json};

use super::plan::{is_going, is_suspended};
use crate::pods;

const READY: &str = "PodReady";
const STARTING: &str = "PodStarting";
const ENDING: &str = "PodEnding";

/// Whether the server is at work, and if not, why.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Readiness {
    is_ready: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl Readiness {
    /// Something is in the way.
    pub(super) fn hindered(reason: &str, message: impl Into<String>) -> Self {
        Self { is_ready: false, reason: reason.to_owned(), message: message.into() }
    }

    /// It was just made.
    pub(super) fn made() -> Self {
        Self::hindered(STARTING, "its pod was created")
    }

    /// Of a pod, or while the last one goes.
    pub(super) fn of(pod: Option<&Pod>) -> Self {
        let Some(pod) = pod else { return Self::hindered(ENDING, "its last pod is ending") };
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        if pods::is_ready(pod) {
            let message = format!("pod {name} is ready");
            return Self { is_ready: true, ..Self::hindered(READY, message) };
        }
        let (reason, message) = unschedulable(pod).or_else(|| waiting(pod)).unwrap_or_else(|| {
            (STARTING.to_owned(), "its containers are not ready yet".to_owned())
        });
        Self::hindered(&reason, format!("pod {name}: {message}"))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.is_ready
    }

    /// Whether somebody should look at it.
    pub(super) fn is_trouble(&self) -> bool {
        ![READY, STARTING, ENDING].contains(&self.reason.as_str())
    }

    /// What follows from it for who waits until the job is gone.
    pub(super) fn for_job(mut self, job: &GpuJob) -> Self {
        if is_going(job) && self.is_trouble() {
            let finalizer = GpuJob::FINALIZER;
            self.message += &format!(
                "; the job stays until its server has cleared up in Slurm: without the finalizer {finalizer} it would go \
                 and leave there what it has"
            );
        }
        self
    }
}

fn unschedulable(pod: &Pod) -> Option<(String, String)> {
    let mut conditions = pod.status.as_ref()?.conditions.as_ref()?.iter();
    let scheduled = conditions.find(|c| c.type_ == "PodScheduled" && c.status == "False")?;
    Some((scheduled.reason.clone()?, scheduled.message.clone().unwrap_or_default()))
}

/// Why the first container that can't go on can't.
fn waiting(pod: &Pod) -> Option<(String, String)> {
    let mut statuses = pod.status.as_ref()?.container_statuses.as_ref()?.iter();
    statuses.find_map(|container| {
        let ContainerState { waiting, .. } = container.state.as_ref()?;
        let waiting = waiting.as_ref()?;
        let reason = waiting.reason.clone().filter(|reason| reason != "ContainerCreating")?;
        let message = waiting.message.as_deref().unwrap_or(&reason);
        Some((reason.clone(), format!("container {}: {message}", container.name)))
    })
}

/// Whether it is news for people.
pub(super) fn is_news(job: &GpuJob, readiness: &Readiness) -> bool {
    let told =
        job.condition(GpuJob::SERVER_READY).is_some_and(|before| before.reason == readiness.reason);
    readiness.is_trouble() && !told
}

/// What changes in the status by that, if anything does, on condition that nobody else has changed the job.
pub(super) fn patch(
    job: &GpuJob,
    readiness: &Readiness,
    pod: Option<&Pod>,
    now: Timestamp,
) -> Option<Value> {
    let status = job.status.clone().unwrap_or_default();
    let mut wanted = status.clone();
    wanted.pod_name = pod.and_then(|pod| pod.metadata.name.clone());
    // While nobody else says why nothing happens.
    let told = job.condition(GpuJob::SERVER_READY).map(|before| &before.message);
    if status.message.is_none() || status.message.as_ref() == told {
        wanted.message = Some(readiness.message.clone()).filter(|_| !readiness.is_ready);
    }
    wanted.start_time = start_time(job, now);
    let condition = condition(job, readiness, now);
    match wanted.conditions.iter_mut().find(|it| it.type_ == condition.type_) {
        Some(there) => *there = condition,
        None => wanted.conditions.push(condition),
    }
    if wanted == status {
        return None;
    }
    let (uid, version) = (&job.metadata.uid, &job.metadata.resource_version);
    let mut changes = json!({"podName": wanted.pod_name, "conditions": wanted.conditions});
    if wanted.message != status.message {
        changes["message"] = json!(wanted.message);
    }
    if wanted.start_time != status.start_time {
        changes["startTime"] = json!(wanted.start_time);
    }
    Some(json!({"metadata": {"uid": uid, "resourceVersion": version}, "status": changes}))
}

/// As a Job has it: since when it is not suspended, whether or not a server has it in hand.
fn start_time(job: &GpuJob, now: Timestamp) -> Option<Time> {
    let told = job.status.as_ref().and_then(|status| status.start_time.clone());
    if is_going(job) || job.ended().is_some() {
        return told;
    }
    (!is_suspended(job)).then(|| told.unwrap_or(Time(now)))
}

pub(super) const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";

/// Why a job has failed of which no server had time for anything.
pub(super) fn overdue(job: &GpuJob) -> String {
    let waits = job.condition(GpuJob::SERVER_READY).map(|condition| condition.message.as_str());
    let waits = waits.unwrap_or("it has no pod yet");
    format!("Job was active longer than specified deadline: {waits}")
}

/// That it has, on condition that nobody else has changed the job: a server may just have begun.
pub(super) fn failed(job: &GpuJob, now: Timestamp) -> Value {
    let message = overdue(job);
    let failed = Condition {
        type_: GpuJob::FAILED.to_owned(),
        status: "True".to_owned(),
        reason: DEADLINE_EXCEEDED.to_owned(),
        message: message.clone(),
        observed_generation: job.metadata.generation,
        last_transition_time: Time(now),
    };
    let mut conditions = job.status.clone().unwrap_or_default().conditions;
    conditions.retain(|condition| condition.type_ != failed.type_);
    conditions.push(failed);
    let (uid, version) = (&job.metadata.uid, &job.metadata.resource_version);
    json!({
        "metadata": {"uid": uid, "resourceVersion": version},
        "status": {"conditions": conditions, "message": message, "completionTime": Time(now)},
    })
}

fn condition(job: &GpuJob, readiness: &Readiness, now: Timestamp) -> Condition {
    let status = if readiness.is_ready { "True" } else { "False" };
    let since = job.condition(GpuJob::SERVER_READY).filter(|before| before.status == status);
    Condition {
        type_: GpuJob::SERVER_READY.to_owned(),
        status: status.to_owned(),
        reason: readiness.reason.clone(),
        message: readiness.message.clone(),
        observed_generation: job.metadata.generation,
        last_transition_time: since.map_or(Time(now), |it| it.last_transition_time.clone()),
    }
}
