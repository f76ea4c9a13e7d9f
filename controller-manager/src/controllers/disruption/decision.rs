//! What the status of a PodDisruptionBudget is to be, worked out from its pods (Kubernetes: `pkg/controller/disruption`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api_machinery::{disruption_budget::tell_allowed, percentage};
use api_types::IntOrString;
use api_types::api::core::v1::Pod;
use api_types::api::policy::v1::{
    PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus,
};
use api_types::jiff::{SignedDuration, Timestamp};
use api_types::meta::Time;

use crate::pods;

/// A pod that is evicted, and still there after this time, stays.
const PATIENCE: SignedDuration = SignedDuration::from_secs(120);

/// Whether the number of pods that there ought to be counts, and not that of those that there are.
pub(super) fn needs_scale(spec: &PodDisruptionBudgetSpec) -> bool {
    let is_part = matches!(spec.min_available, Some(IntOrString::String(_)));
    spec.max_unavailable.is_some() || is_part
}

/// The status, and when to look again because a pod that was to go then counts again. `expected` is the number of pods
/// that there ought to be.
pub(super) fn status(
    budget: &PodDisruptionBudget,
    selected: &[Arc<Pod>],
    expected: i32,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let (disrupted, next) = disrupted(budget, selected, now);
    let is_healthy = |pod: &&Arc<Pod>| {
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        !pods::is_terminating(pod) && !disrupted.contains_key(name) && pods::is_ready(pod)
    };
    let healthy = number(selected.iter().filter(is_healthy).count());
    let spec = budget.spec.clone().unwrap_or_default();
    let desired = desired(&spec, expected);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let known = budget.status.as_ref().and_then(|status| status.conditions.clone());
    let mut status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(disrupted).filter(|all| !all.is_empty()),
        observed_generation: budget.metadata.generation,
        conditions: known,
    };
    tell_allowed(&mut status, now);
    (status, next)
}

pub(super) fn number(count: usize) -> i32 {
    count.try_into().unwrap_or(i32::MAX)
}

/// How many pods are to be healthy.
fn desired(spec: &PodDisruptionBudgetSpec, expected: i32) -> i32 {
    let part = |value: &IntOrString| {
        let value = percentage::of(value, expected).unwrap_or(0.0).ceil();
        #[expect(clippy::cast_possible_truncation, reason = "a part of a number of pods")]
        {
            value as i32
        }
    };
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (expected - part(most)).max(0),
        (None, Some(least)) => part(least),
        (None, None) => 0,
    }
}

/// The pods that are evicted and still there.
fn disrupted(
    budget: &PodDisruptionBudget,
    selected: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Option<Duration>) {
    let known = budget.status.as_ref().and_then(|status| status.disrupted_pods.as_ref());
    let staying = selected.iter().filter(|pod| !pods::is_terminating(pod));
    let names = staying.filter_map(|pod| pod.metadata.name.as_ref());
    let left = |since: &Time| PATIENCE - now.duration_since(since.0);
    let going: BTreeMap<_, _> = names
        .filter_map(|name| Some((name.clone(), known?.get(name)?.clone())))
        .filter(|(_, since)| left(since) >= SignedDuration::ZERO)
        .collect();
    let next = going.values().map(left).min();
    (going, next.and_then(|next| Duration::try_from(next).ok()))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn budget(spec: Value, status: Value) -> PodDisruptionBudget {
        let metadata = json!({"name": "b", "generation": 3});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status}))
            .unwrap()
    }

    fn pods(ready: usize, unready: usize) -> Vec<Arc<Pod>> {
        let statuses = (0..ready).map(|_| "True").chain((0..unready).map(|_| "False"));
        let pods = statuses.enumerate().map(|(number, status)| {
            let conditions = json!([{"type": "Ready", "status": status}]);
            let pod = json!({"metadata": {"name": format!("p{number}")}, "status": {"conditions": conditions}});
            Arc::new(serde_json::from_value(pod).unwrap())
        });
        pods.collect()
    }

    fn now() -> Timestamp {
        "2026-01-01T00:02:00Z".parse().unwrap()
    }

    /// Allowed, healthy, desired.
    fn check(spec: Value, pods: &[Arc<Pod>], expected_pods: i32, expected: (i32, i32, i32)) {
        let (status, _) = status(&budget(spec.clone(), json!({})), pods, expected_pods, now());
        let got = (status.disruptions_allowed, status.current_healthy, status.desired_healthy);
        assert_eq!(got, (Some(expected.0), Some(expected.1), Some(expected.2)), "{spec}");
        let told = &status.conditions.unwrap()[0];
        assert_eq!(told.status == "True", expected.0 > 0);
        assert_eq!(told.observed_generation, Some(3));
    }

    #[test]
    fn what_may_be_disrupted_is_what_is_healthy_beyond_what_is_desired() {
        check(json!({"minAvailable": 2}), &pods(3, 1), 4, (1, 3, 2));
        check(json!({"minAvailable": 3}), &pods(2, 1), 3, (0, 2, 3));
        check(json!({"minAvailable": "50%"}), &pods(3, 0), 3, (1, 3, 2));
        check(json!({"maxUnavailable": 1}), &pods(3, 0), 3, (1, 3, 2));
        check(json!({"maxUnavailable": "30%"}), &pods(10, 0), 10, (3, 10, 7));
        check(json!({"maxUnavailable": 5}), &pods(2, 0), 3, (2, 2, 0));
        check(json!({"maxUnavailable": 1}), &pods(0, 0), 0, (0, 0, 0));
        check(json!({}), &pods(1, 0), 1, (1, 1, 0));
    }

    #[test]
    fn an_evicted_pod_does_not_count_until_it_has_stayed_for_two_minutes() {
        let disrupted = |at: &str| json!({"disruptedPods": {"p0": at, "gone": at}});
        let budget = |at: &str| budget(json!({"minAvailable": 1}), disrupted(at));
        let (soon, next) = status(&budget("2026-01-01T00:01:30Z"), &pods(2, 0), 2, now());
        assert_eq!((soon.current_healthy, next), (Some(1), Some(Duration::from_secs(90))));
        assert_eq!(soon.disrupted_pods.unwrap().len(), 1);
        let (late, next) = status(&budget("2025-12-31T23:59:59Z"), &pods(2, 0), 2, now());
        assert_eq!((late.current_healthy, late.disrupted_pods, next), (Some(2), None, None));
    }

    #[test]
    fn a_status_that_says_the_same_is_the_same() {
        let (first, _) =
            status(&budget(json!({"minAvailable": 1}), json!({})), &pods(2, 0), 2, now());
        let known = budget(json!({"minAvailable": 1}), serde_json::to_value(&first).unwrap());
        let (second, _) = status(&known, &pods(2, 0), 2, now() + Duration::from_secs(9));
        assert_eq!(first, second);
    }
}
