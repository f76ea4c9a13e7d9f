//! What controllers ask about Jobs.

use api_types::api::batch::v1::{Job, JobStatus};

/// Whether the status has the condition.
pub(crate) fn has(status: &JobStatus, condition: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|it| it.type_ == condition && it.status == "True")
}

/// Whether the Job has ended well.
pub(crate) fn is_complete(job: &Job) -> bool {
    job.status.as_ref().is_some_and(|status| has(status, "Complete"))
}

/// Whether the Job is over.
pub(crate) fn is_finished(job: &Job) -> bool {
    is_complete(job) || job.status.as_ref().is_some_and(|status| has(status, "Failed"))
}
