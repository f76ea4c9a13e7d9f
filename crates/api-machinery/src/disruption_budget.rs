//! What the status of a PodDisruptionBudget says, for who works it out and for who uses it up
//! (Kubernetes: `k8s.io/component-helpers/apps/poddisruptionbudget`).

use api_types::{
    api::policy::v1::PodDisruptionBudgetStatus,
    jiff::Timestamp,
    meta::{Condition, Time},
};

/// The condition that says whether a pod may be evicted.
pub const DISRUPTION_ALLOWED: &str = "DisruptionAllowed";

/// Its reason if it could not be found out.
pub const SYNC_FAILED: &str = "SyncFailed";

/// Has the condition say what the number says.
pub fn tell_allowed(status: &mut PodDisruptionBudgetStatus, now: Timestamp) {
    let (value, reason) = match status.disruptions_allowed.unwrap_or(0) {
        1.. => ("True", "SufficientPods"),
        _ => ("False", "InsufficientPods"),
    };
    tell(status, value, reason, "", now);
}

/// Sets the condition. Its time is that of its last change.
pub fn tell(
    status: &mut PodDisruptionBudgetStatus,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let observed = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let known = conditions.iter().find(|it| it.type_ == DISRUPTION_ALLOWED);
    let since = known.filter(|it| it.status == value).map(|it| it.last_transition_time.clone());
    conditions.retain(|it| it.type_ != DISRUPTION_ALLOWED);
    conditions.push(Condition {
        type_: DISRUPTION_ALLOWED.to_owned(),
        status: value.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        last_transition_time: since.unwrap_or(Time(now)),
        observed_generation: observed,
    });
}
