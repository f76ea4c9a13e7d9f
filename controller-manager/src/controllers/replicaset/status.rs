//! The status of a set, worked out from its pods.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use serde_json::{Value, json};

use crate::frame::{Error, Next};
use crate::pods;

const FAILURE: &str = "ReplicaFailure";

/// Pods could not be created or deleted.
pub(super) struct Failure {
    /// Which of the two, in the word of the condition `ReplicaFailure`.
    pub(super) reason: &'static str,
    pub(super) error: Error,
}

/// The status, and when to look again because a pod then counts as available.
pub(super) fn of(
    set: &ReplicaSet,
    owned: &[Arc<Pod>],
    failure: Option<&Failure>,
    now: Timestamp,
) -> (ReplicaSetStatus, Next) {
    let active: Vec<&Arc<Pod>> = owned.iter().filter(|pod| pods::is_active(pod)).collect();
    let min_ready = set.spec.as_ref().and_then(|spec| spec.min_ready_seconds).unwrap_or_default();
    let waits: Vec<i64> =
        active.iter().filter_map(|pod| pods::until_available(pod, min_ready, now)).collect();
    let status = ReplicaSetStatus {
        replicas: count(&active, |_| true),
        fully_labeled_replicas: Some(count(&active, |pod| has_template_labels(set, pod))),
        ready_replicas: Some(count(&active, pods::is_ready)),
        available_replicas: Some(
            waits.iter().filter(|wait| **wait <= 0).count().try_into().unwrap_or(i32::MAX),
        ),
        observed_generation: set.metadata.generation,
        conditions: conditions(set, failure, now),
        terminating_replicas: None,
    };
    let soonest = waits.into_iter().filter(|wait| *wait > 0).min();
    let next = soonest.and_then(|wait| u64::try_from(wait).ok()).map(Duration::from_secs);
    (status, next.map_or(Next::Change, Next::After))
}

fn count(pods: &[&Arc<Pod>], is: impl Fn(&Pod) -> bool) -> i32 {
    pods.iter().filter(|pod| is(pod)).count().try_into().unwrap_or(i32::MAX)
}

fn has_template_labels(set: &ReplicaSet, pod: &Pod) -> bool {
    let template = set.spec.as_ref().and_then(|spec| spec.template.as_ref());
    let wanted = template.and_then(|template| template.metadata.as_ref()?.labels.as_ref());
    let labels = pod.metadata.labels.as_ref();
    wanted
        .into_iter()
        .flatten()
        .all(|(key, value)| labels.and_then(|all| all.get(key)) == Some(value))
}

/// The failure condition comes and goes with the failure; others are left as they are.
fn conditions(
    set: &ReplicaSet,
    failure: Option<&Failure>,
    now: Timestamp,
) -> Option<Vec<ReplicaSetCondition>> {
    let known =
        set.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let (old, mut conditions): (Vec<_>, Vec<_>) =
        known.into_iter().partition(|c| c.type_ == FAILURE);
    if let Some(failure) = failure {
        let since = old.into_iter().find_map(|condition| condition.last_transition_time);
        conditions.push(ReplicaSetCondition {
            type_: FAILURE.to_owned(),
            status: "True".to_owned(),
            reason: Some(failure.reason.to_owned()),
            message: Some(failure.error.reason()),
            last_transition_time: Some(since.unwrap_or(Time(now))),
        });
    }
    (!conditions.is_empty()).then_some(conditions)
}

/// What makes the set's status this one; `None` if it is. Conditions are only sent when they change: they
/// are replaced as a whole.
pub(super) fn patch(set: &ReplicaSet, status: &ReplicaSetStatus) -> Option<Value> {
    if set.status.as_ref() == Some(status) {
        return None;
    }
    let counts = ReplicaSetStatus { conditions: None, ..status.clone() };
    let mut patch = json!(counts);
    let known = set.status.as_ref().and_then(|status| status.conditions.as_ref());
    if known != status.conditions.as_ref() {
        patch["conditions"] = json!(status.conditions);
    }
    Some(patch)
}

#[cfg(test)]
mod tests {
    use kube::core::Status;

    use super::*;

    fn set(min_ready: i32) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "generation": 4},
            "spec": {"minReadySeconds": min_ready, "selector": {},
                     "template": {"metadata": {"labels": {"app": "web", "tier": "front"}}}},
        }))
        .unwrap()
    }

    fn pod(labels: Value, ready_since: Option<&str>, phase: &str) -> Arc<Pod> {
        let status = if ready_since.is_some() { "True" } else { "False" };
        let pod = json!({"metadata": {"labels": labels}, "status": {"phase": phase, "conditions": [
            {"type": "Ready", "status": status, "lastTransitionTime": ready_since}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn active_pods_are_counted_by_label_readiness_and_availability() {
        let full = json!({"app": "web", "tier": "front"});
        let pods = [
            pod(full.clone(), Some("2026-01-01T00:00:00Z"), "Running"),
            pod(full.clone(), Some("2026-01-01T00:00:55Z"), "Running"),
            pod(json!({"app": "web"}), None, "Pending"),
            pod(full, None, "Failed"),
        ];
        let now = "2026-01-01T00:01:00Z".parse().unwrap();
        let (status, next) = of(&set(10), &pods, None, now);
        let got = serde_json::to_value(&status).unwrap();
        let expected = json!({"replicas": 3, "fullyLabeledReplicas": 2, "readyReplicas": 2,
                              "availableReplicas": 1, "observedGeneration": 4});
        assert_eq!(got, expected);
        assert_eq!(next, Next::After(Duration::from_secs(5)));
    }

    #[test]
    fn without_min_ready_seconds_ready_is_available() {
        let pods = [pod(json!({}), Some("2026-01-01T00:00:00Z"), "Running")];
        let (status, next) = of(&set(0), &pods, None, "2026-01-01T00:00:00Z".parse().unwrap());
        assert_eq!((status.available_replicas, next), (Some(1), Next::Change));
    }

    #[test]
    fn a_failure_is_told_by_its_kind_and_taken_back() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let failure = |reason| {
            let source = kube::Error::Api(Status::failure("quota", "Forbidden").boxed());
            Failure { reason, error: Error::Call { step: "a step", source } }
        };
        let mut set = set(0);
        let mut after = |failure: Option<Failure>| {
            let (status, _) = of(&set, &[], failure.as_ref(), now);
            let patch = patch(&set, &status);
            set.status = Some(status);
            patch.map(|patch| patch.get("conditions").cloned())
        };
        let told = after(Some(failure("FailedDelete"))).unwrap().unwrap();
        assert_eq!(
            (&told[0]["type"], &told[0]["reason"]),
            (&json!(FAILURE), &json!("FailedDelete"))
        );
        let told = after(Some(failure("FailedCreate"))).unwrap().unwrap();
        assert_eq!(
            (&told[0]["reason"], &told[0]["message"]),
            (&json!("FailedCreate"), &json!("quota"))
        );
        assert_eq!(after(Some(failure("FailedCreate"))), None, "nothing new");
        assert_eq!(after(None), Some(Some(Value::Null)), "a merge patch takes it away");
        assert_eq!(after(None), None);
    }
}
