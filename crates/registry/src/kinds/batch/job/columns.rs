//! What a table tells of a Job.

use api_machinery::table::human_duration;
use api_types::{
    api::batch::v1::{Job, JobStatus},
    jiff::Timestamp,
};

use super::state::has;

/// How it is going, in one word.
pub(super) fn status(job: &Job) -> &'static str {
    let none = JobStatus::default();
    let status = job.status.as_ref().unwrap_or(&none);
    let told = |conditions: &[(&'static str, &'static str)]| {
        conditions.iter().find(|(type_, _)| has(status, type_)).map(|(_, word)| *word)
    };
    let ended = told(&[("Complete", "Complete"), ("Failed", "Failed")]);
    let leaving = job.metadata.deletion_timestamp.as_ref().map(|_| "Terminating");
    let on_the_way = [
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ];
    ended.or(leaving).or_else(|| told(&on_the_way)).unwrap_or("Running")
}

/// How many pods have succeeded, of how many.
pub(super) fn completions(job: &Job) -> String {
    let succeeded = job.status.as_ref().and_then(|status| status.succeeded).unwrap_or(0);
    let spec = job.spec.as_ref();
    let parallelism = spec.and_then(|spec| spec.parallelism).unwrap_or(0);
    match spec.and_then(|spec| spec.completions) {
        Some(completions) => format!("{succeeded}/{completions}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

/// For how long it has run.
pub(super) fn duration(job: &Job, now: Timestamp) -> String {
    let status = job.status.as_ref();
    let Some(start) = status.and_then(|status| status.start_time.as_ref()) else {
        return String::new();
    };
    let end = status.and_then(|status| status.completion_time.as_ref()).map_or(now, |end| end.0);
    human_duration(end.duration_since(start.0).as_secs())
}
