//! What becomes of a job's status when something has happened.

use api_types::{
    jiff::Timestamp,
    meta::Time,
    minik8s::{GpuJob, GpuJobStatus, GpuJobTask},
};

use super::{
    conditions::{FAILURE_TARGET, RESULTS_INCOMPLETE, Told, condition, is_true, set},
    tasks::{Attempt, CANCELLED, DELETED, has_completed, is_final},
};

/// Something that has happened to a job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum News {
    /// Slurm has the task, under this number.
    Submitted(Attempt, String),
    /// Slurm has refused it, in these words, and will do so again.
    Refused(Attempt, String),
    /// It never was in Slurm, and will not be.
    Withdrawn(Attempt),
    /// This is how it is. Of the fields, those that say which task it is are not looked at.
    Observed(Attempt, Box<Observation>),
    /// Its files are here, except for what the text says.
    Fetched(Attempt, Option<String>),
    /// Something that the job cannot do without cannot be done, for this reason, in these words.
    GivenUp(&'static str, String),
    /// Nothing of the job is on the Slurm cluster any more.
    Removed,
}

/// What Slurm says about a task.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Observation {
    pub(crate) task: GpuJobTask,
    pub(crate) partition: Option<String>,
    pub(crate) queue_position: Option<i32>,
    /// Whether the task was to end: the job is deleted.
    pub(crate) is_unwanted: bool,
}

/// The status with the news in it. News of an attempt that is not the last one of its task, or that has ended, change
/// nothing.
pub(crate) fn tell(status: &mut GpuJobStatus, news: News, now: Timestamp) {
    match news {
        News::Submitted(attempt, id) => submitted(status, attempt, id, now),
        News::Refused(attempt, words) => refused(status, attempt, &words, now),
        News::Withdrawn(attempt) => {
            let never = GpuJobTask { state: Some(CANCELLED.to_owned()), ..GpuJobTask::default() };
            let task = GpuJobTask { fetched: true, ..never };
            observed(status, attempt, Observation { task, ..Observation::default() }, now);
        }
        News::Observed(attempt, observation) => observed(status, attempt, *observation, now),
        News::Fetched(attempt, missing) => fetched(status, attempt, missing.as_deref(), now),
        News::GivenUp(reason, words) => give_up(status, reason, &words, now),
        News::Removed => {
            status.conditions.retain(|condition| condition.type_ != GpuJob::UPLOADED);
            status.cluster = None;
        }
    }
}

fn submitted(status: &mut GpuJobStatus, attempt: Attempt, id: String, now: Timestamp) {
    let Some(task) = attempt.in_status(status).filter(|task| !is_final(task)) else { return };
    task.job_id = Some(id.clone());
    task.submit_time.get_or_insert(Time(now));
    status.job_id = Some(id);
    status.state = task_state(status, attempt);
}

/// Nothing of the task is left to do, and the others go with it.
fn refused(status: &mut GpuJobStatus, attempt: Attempt, words: &str, now: Timestamp) {
    status.tasks.retain(|task| Attempt::of(task) != attempt);
    give_up(status, "InvalidSubmission", words, now);
}

fn observed(status: &mut GpuJobStatus, attempt: Attempt, seen: Observation, now: Timestamp) {
    let suspended = is_true(status, GpuJob::SUSPENDED);
    let stopping = suspended || seen.is_unwanted || is_true(status, FAILURE_TARGET);
    let Some(task) = attempt.in_status(status).filter(|task| !is_final(task)) else { return };
    let same = task.state == seen.task.state && task.reason == seen.task.reason;
    *task = GpuJobTask {
        index: task.index,
        attempt: task.attempt,
        job_id: seen.task.job_id.or(task.job_id.take()),
        submit_time: seen.task.submit_time.or(task.submit_time.take()),
        ..seen.task
    };
    if is_final(task) {
        task.end_time.get_or_insert(Time(now));
    }
    let cancelled = task.state.as_deref() == Some(CANCELLED);
    if cancelled && seen.is_unwanted {
        task.reason = Some(DELETED.to_owned());
    } else if cancelled && suspended {
        task.reason = Some(GpuJob::SUSPENDED.to_owned());
    }
    // What we have cancelled ourselves is none.
    let failed = is_final(task) && !has_completed(task) && !(cancelled && stopping);
    let task = task.clone();
    status.failed += i32::from(failed);
    // Of several, the one that something has happened to; it is also told of what goes on counting.
    if !same || status.job_id == task.job_id {
        status.exit_code = task.exit_code;
        status.message = task.reason;
        status.state = task.state;
        status.job_id = task.job_id;
        status.partition = seen.partition.or(status.partition.take());
        status.queue_position = seen.queue_position;
    }
}

fn fetched(status: &mut GpuJobStatus, attempt: Attempt, missing: Option<&str>, now: Timestamp) {
    if let Some(task) = attempt.in_status(status) {
        task.fetched = true;
    }
    if let Some(message) = missing {
        let told = Told { type_: RESULTS_INCOMPLETE, holds: true, reason: "NotFetched", message };
        set(status, told, now);
    }
}

fn task_state(status: &GpuJobStatus, attempt: Attempt) -> Option<String> {
    attempt.of_status(status)?.state.clone()
}

/// The job is going to fail; the first reason is the one that counts.
pub(super) fn give_up(status: &mut GpuJobStatus, reason: &str, message: &str, now: Timestamp) {
    if condition(status, FAILURE_TARGET).is_none() {
        set(status, Told { type_: FAILURE_TARGET, holds: true, reason, message }, now);
    }
}

/// Whether something of the job may be on the Slurm cluster.
pub(crate) fn is_on_cluster(status: &GpuJobStatus) -> bool {
    condition(status, GpuJob::UPLOADED).is_some()
}
