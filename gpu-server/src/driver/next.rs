//! What is to be done.

use std::time::Duration;

use api_types::{
    jiff::{SignedDuration, Timestamp},
    meta::Time,
    minik8s::{GpuJob, GpuJobSpec, GpuJobStatus, GpuJobTask},
};

use super::{
    conditions::{FAILURE_TARGET, Told, condition, is_true, set},
    news::{give_up, is_on_cluster},
    tasks::{Attempt, count, has_completed, in_slurm, is_final},
};

/// How far the job's directory on the Slurm cluster is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// Not known yet, or not done.
    NotYet,
    /// The compile scripts may be at work, or have been: another server began them, or this one has left them alone.
    Begun,
    /// Tasks can be submitted.
    Yes,
    /// The compile scripts have failed; the end of what they said.
    CompileFailed(String),
}

/// Something to do. All of it may be done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Action {
    /// Upload the sources and compile them.
    Prepare,
    /// End the compile scripts, if they are at work.
    StopCompiling,
    /// See to it that the task is in Slurm, once.
    Submit(Attempt),
    /// Cancel it there.
    Cancel(Attempt),
    /// Fetch what the compile scripts said.
    FetchLog,
    /// Fetch its files.
    Fetch(Attempt),
    /// Cancel all tasks, and remove the job's directory.
    CleanUp,
    /// Nothing holds the job any more.
    Release,
}

/// The next status, which is to be written first, and what is to be done then. Without actions, there is to be waited
/// for news, and for the time.
pub(crate) fn next(
    job: &GpuJob,
    status: &GpuJobStatus,
    prepared: &Prepared,
    now: Timestamp,
) -> (GpuJobStatus, Vec<Action>) {
    let (spec, mut status) = (&job.spec, status.clone());
    if job.metadata.deletion_timestamp.is_some() {
        let last = if is_on_cluster(&status) { Action::CleanUp } else { Action::Release };
        tally(&mut status);
        return (status, vec![last]);
    }
    if has_ended(&status) {
        // Where they were fetched to may be gone.
        let log = (*prepared == Prepared::Begun).then_some(Action::FetchLog);
        let actions = log.into_iter().chain(to_fetch(&status)).collect();
        return (status, actions);
    }
    suspend(spec, &mut status, now);
    if !is_suspended(&status) {
        status.start_time.get_or_insert(Time(now));
    }
    see_failure(spec, &mut status, prepared, now);
    if may_submit(spec, &status) && *prepared == Prepared::Yes {
        plan(spec, &mut status);
    }
    let actions = actions(spec, &status, prepared);
    tally(&mut status);
    if actions.is_empty() && in_slurm(&status).next().is_none() {
        end(spec, &mut status, now);
    }
    (status, actions)
}

/// Whether the job has come to its end, whichever it is.
pub(crate) fn has_ended(status: &GpuJobStatus) -> bool {
    is_true(status, GpuJob::COMPLETE) || is_true(status, GpuJob::FAILED)
}

fn is_suspended(status: &GpuJobStatus) -> bool {
    is_true(status, GpuJob::SUSPENDED)
}

/// A job that is resumed stays suspended until what was cancelled has ended, so that this counts as no failure.
fn suspend(spec: &GpuJobSpec, status: &mut GpuJobStatus, now: Timestamp) {
    let told = match spec.suspend == Some(true) {
        true => Told {
            type_: GpuJob::SUSPENDED,
            holds: true,
            reason: "JobSuspended",
            message: "Job suspended",
        },
        false if is_suspended(status) && in_slurm(status).next().is_none() => Told {
            type_: GpuJob::SUSPENDED,
            holds: false,
            reason: "JobResumed",
            message: "Job resumed",
        },
        false => return,
    };
    set(status, told, now);
    if told.holds {
        status.start_time = None;
    }
}

/// Whether the job is going to fail, and why.
fn see_failure(spec: &GpuJobSpec, status: &mut GpuJobStatus, prepared: &Prepared, now: Timestamp) {
    if let Prepared::CompileFailed(tail) = prepared {
        give_up(status, "CompileFailed", tail, now);
    }
    if status.failed > spec.backoff_limit.unwrap_or_default() {
        let message = "Job has reached the specified backoff limit";
        give_up(status, "BackoffLimitExceeded", message, now);
    }
    if deadline(spec, status).is_some_and(|deadline| deadline <= now)
        && !all_have_completed(spec, status)
    {
        let message = "Job was active longer than specified deadline";
        give_up(status, "DeadlineExceeded", message, now);
    }
}

/// When the job has taken as long as it may.
pub(super) fn deadline(spec: &GpuJobSpec, status: &GpuJobStatus) -> Option<Timestamp> {
    let Time(start) = status.start_time.as_ref()?;
    let seconds = SignedDuration::from_secs(spec.active_deadline_seconds?);
    start.checked_add(seconds).ok()
}

/// How long the job may go on, if there is an end to it that has not come.
pub(crate) fn until_deadline(
    spec: &GpuJobSpec,
    status: &GpuJobStatus,
    now: Timestamp,
) -> Option<Duration> {
    let deadline = deadline(spec, status).filter(|deadline| *deadline > now)?;
    Some(deadline.duration_since(now).unsigned_abs())
}

fn completions(spec: &GpuJobSpec) -> i32 {
    spec.completions.unwrap_or(1)
}

fn completed(status: &GpuJobStatus) -> i32 {
    count(status.tasks.iter().filter(|task| has_completed(task)).count())
}

fn all_have_completed(spec: &GpuJobSpec, status: &GpuJobStatus) -> bool {
    completed(status) >= completions(spec)
}

fn may_submit(spec: &GpuJobSpec, status: &GpuJobStatus) -> bool {
    !is_suspended(status)
        && condition(status, FAILURE_TARGET).is_none()
        && !all_have_completed(spec, status)
}

/// Puts as many tasks into the status as may be in Slurm: the lowest indexes of which none is there, or whose last
/// attempt has failed and was fetched.
fn plan(spec: &GpuJobSpec, status: &mut GpuJobStatus) {
    for (index, attempt) in wanted(spec, status) {
        status.tasks.retain(|task| task.index != index);
        status.tasks.push(GpuJobTask { index, attempt, ..GpuJobTask::default() });
    }
    status.tasks.sort_by_key(|task| task.index);
}

/// The indexes and attempts for which there is room.
fn wanted(spec: &GpuJobSpec, status: &GpuJobStatus) -> Vec<(i32, i32)> {
    let room = spec.parallelism.unwrap_or(1) - count(in_slurm(status).count());
    let attempt = |index| match status.tasks.iter().find(|task| task.index == index) {
        None => Some(0),
        Some(task) if is_final(task) && !has_completed(task) && task.fetched => {
            Some(task.attempt + 1)
        }
        Some(_) => None,
    };
    let wanted = (0..completions(spec)).filter_map(|index| Some((index, attempt(index)?)));
    wanted.take(usize::try_from(room).unwrap_or_default()).collect()
}

/// Whether anything is to be submitted: only then the job's directory is of use.
fn is_to_submit(spec: &GpuJobSpec, status: &GpuJobStatus) -> bool {
    let planned = in_slurm(status).any(|task| task.job_id.is_none());
    may_submit(spec, status) && (planned || !wanted(spec, status).is_empty())
}

/// What frees the cluster comes first, what may take long last.
fn actions(spec: &GpuJobSpec, status: &GpuJobStatus, prepared: &Prepared) -> Vec<Action> {
    let mut actions = Vec::new();
    let stopping = is_suspended(status) || condition(status, FAILURE_TARGET).is_some();
    match prepared {
        Prepared::Begun if stopping => actions.push(Action::StopCompiling),
        Prepared::NotYet | Prepared::Begun if is_to_submit(spec, status) => {
            actions.push(Action::Prepare);
        }
        _ => {}
    }
    for task in in_slurm(status) {
        let attempt = Attempt::of(task);
        match task.job_id {
            _ if stopping => actions.push(Action::Cancel(attempt)),
            None if *prepared == Prepared::Yes => actions.push(Action::Submit(attempt)),
            _ => {}
        }
    }
    actions.extend(to_fetch(status));
    actions
}

fn to_fetch(status: &GpuJobStatus) -> impl Iterator<Item = Action> {
    let tasks = status.tasks.iter().filter(|task| is_final(task) && !task.fetched);
    tasks.map(|task| Action::Fetch(Attempt::of(task)))
}

fn tally(status: &mut GpuJobStatus) {
    status.active = count(in_slurm(status).count());
    status.succeeded = completed(status);
}

/// Says how the job has ended, if it has.
fn end(spec: &GpuJobSpec, status: &mut GpuJobStatus, now: Timestamp) {
    if let Some(target) = condition(status, FAILURE_TARGET).cloned() {
        let (reason, message) = (target.reason.as_str(), target.message.as_str());
        set(status, Told { type_: GpuJob::FAILED, holds: true, reason, message }, now);
        status.message = Some(target.message);
        status.completion_time = Some(Time(now));
    } else if all_have_completed(spec, status) {
        let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods");
        set(status, Told { type_: GpuJob::COMPLETE, holds: true, reason, message }, now);
        status.completion_time = Some(Time(now));
    }
}
