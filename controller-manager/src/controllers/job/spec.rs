//! What a Job wants, read from its spec as the API server has completed it.

use api_types::api::batch::v1::JobSpec;

/// Who looks after Jobs that don't say who does.
const OURS: &str = "kubernetes.io/job-controller";

/// Whether each pod has an index, and each index succeeds by itself.
pub(super) fn is_indexed(spec: &JobSpec) -> bool {
    spec.completion_mode.as_deref() == Some("Indexed")
}

pub(super) fn is_suspended(spec: &JobSpec) -> bool {
    spec.suspend == Some(true)
}

/// Whether a pod is replaced only once it has ended, and not as soon as it is being deleted.
pub(super) fn replaces_ended_pods(spec: &JobSpec) -> bool {
    spec.pod_failure_policy.is_some() || spec.pod_replacement_policy.as_deref() == Some("Failed")
}

/// How many indexes there are.
pub(super) fn indexes(spec: &JobSpec) -> u32 {
    spec.completions.and_then(|number| number.try_into().ok()).unwrap_or(0)
}

/// Whether somebody else looks after the Job.
pub(super) fn is_foreign(spec: &JobSpec) -> bool {
    spec.managed_by.as_deref().is_some_and(|manager| manager != OURS)
}
