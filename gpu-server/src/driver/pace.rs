//! How often Slurm is asked, and how soon something that failed is tried again.

use std::time::Duration;

use api_types::{
    jiff::Timestamp,
    meta::Time,
    minik8s::{GpuJob, GpuJobStatus, GpuJobTask},
};

use super::{
    next::deadline,
    tasks::{has_completed, in_slurm},
    time_limit::time_limit,
};

/// Between two questions while something is about to happen.
const SHORTEST: Duration = Duration::from_secs(2);
/// Between two questions at most.
const LONGEST: Duration = Duration::from_secs(60);
/// The part of the time since the last event, or until the next one that is expected, after which is asked again.
const PART: u32 = 10;

/// Between two looks at output that comes.
const STREAMING: Duration = Duration::from_secs(1);
/// Between two looks at output of which nothing has come for some time.
const QUIET: Duration = Duration::from_secs(8);

/// How long to wait until Slurm is asked again. Every 2 s near what has happened to a task, or is expected to; up to a
/// minute in between. A task is expected to end at its time limit, and about when other tasks did.
pub(crate) fn pace(job: &GpuJob, status: &GpuJobStatus, now: Timestamp) -> Duration {
    let (limit, usual) = (time_limit(job), median(status));
    let next = in_slurm(status).map(|task| {
        if task.state.as_deref() == Some("COMPLETING") {
            return SHORTEST;
        }
        let expected = [limit, usual].into_iter().flatten();
        let distances = expected.filter_map(|length| Some(distance(end(task, length)?, now)));
        let nearest = distances.chain([since_last(task, now)]).min().unwrap_or_default();
        (nearest / PART).clamp(SHORTEST, LONGEST)
    });
    let wait = next.min().unwrap_or(LONGEST);
    match deadline(&job.spec, status) {
        Some(deadline) if deadline > now => wait.min(distance(deadline, now)),
        _ => wait,
    }
}

/// How long to wait until the output of tasks is looked at again, after so long and with or without something new.
pub(crate) fn streaming(before: Duration, some: bool) -> Duration {
    if some { STREAMING } else { (before * 2).clamp(STREAMING, QUIET) }
}

/// How long to wait before the login node is tried again after `failures` in a row.
pub(crate) fn back_off(failures: u32) -> Duration {
    (Duration::from_secs(1) * 2_u32.saturating_pow(failures.saturating_sub(1))).min(LONGEST / 2)
}

fn since_last(task: &GpuJobTask, now: Timestamp) -> Duration {
    let last = task.start_time.as_ref().or(task.submit_time.as_ref());
    last.map(|Time(at)| distance(*at, now)).unwrap_or_default()
}

fn end(task: &GpuJobTask, length: Duration) -> Option<Timestamp> {
    let Time(start) = task.start_time.as_ref()?;
    start.checked_add(length).ok()
}

/// How long those ran that have completed.
fn median(status: &GpuJobStatus) -> Option<Duration> {
    let completed = status.tasks.iter().filter(|task| has_completed(task));
    let seconds = completed.filter_map(|task| u64::try_from(task.elapsed_seconds?).ok());
    let mut seconds: Vec<u64> = seconds.collect();
    seconds.sort_unstable();
    seconds.get(seconds.len() / 2).copied().map(Duration::from_secs)
}

fn distance(one: Timestamp, other: Timestamp) -> Duration {
    one.duration_since(other).unsigned_abs()
}
