//! What a Job's spec and status say in a word.

use api_types::api::batch::v1::{JobSpec, JobStatus};

/// Whether each pod has an index.
pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

/// Whether the status has the condition.
pub(super) fn has(status: &JobStatus, condition: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|it| it.type_ == condition && it.status == "True")
}
