//! How long a pod may stay on a node with `NoExecute` taints. Pure.

use std::time::Duration;

use api_machinery::toleration::{USUAL_SECONDS, toleration_of};
use api_types::api::core::v1::{Pod, Taint, Toleration};

use crate::nodes::{NOT_READY, UNREACHABLE};

const USUAL: Duration = Duration::from_secs(USUAL_SECONDS.unsigned_abs());

/// How long a pod may stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stay {
    Forever,
    For(Duration),
    Not,
}

/// The shortest stay over all taints, which are given with their ages. With `at_once`, a pod that says
/// nothing about a silent node does not stay on it.
pub(crate) fn stay(pod: &Pod, taints: &[(Taint, Duration)], at_once: bool) -> Stay {
    let tolerations = pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
    let tolerations = tolerations.unwrap_or_default();
    let rests = taints.iter().filter_map(|(taint, age)| {
        tolerated(tolerations, taint, at_once).map(|time| time.saturating_sub(*age))
    });
    match rests.min() {
        None => Stay::Forever,
        Some(Duration::ZERO) => Stay::Not,
        Some(rest) => Stay::For(rest),
    }
}

/// For how long the pod tolerates the taint; `None` is for ever. What the pod says itself counts; what it
/// says of less than nothing is nothing.
fn tolerated(tolerations: &[Toleration], taint: &Taint, at_once: bool) -> Option<Duration> {
    if let Some(toleration) = toleration_of(tolerations, taint).filter(|it| !is_admissions(it)) {
        let seconds = toleration.toleration_seconds?;
        return Some(Duration::from_secs(seconds.try_into().unwrap_or_default()));
    }
    let key = taint.key.as_str();
    let usual = key == NOT_READY || (key == UNREACHABLE && !at_once);
    Some(if usual { USUAL } else { Duration::ZERO })
}

/// Whether it is as admission gives it to pods that say nothing (`DefaultTolerationSeconds`).
fn is_admissions(toleration: &Toleration) -> bool {
    let key = toleration.key.as_deref();
    toleration.toleration_seconds == Some(USUAL_SECONDS)
        && (key == Some(NOT_READY) || key == Some(UNREACHABLE))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The stay of a pod on a node that was tainted 100 s ago.
    fn check(tolerations: Value, taint: &str, at_once: bool, expected: Stay) {
        let pod =
            serde_json::from_value(json!({"spec": {"containers": [], "tolerations": tolerations}}));
        let taint = serde_json::from_value(json!({"key": taint, "effect": "NoExecute"}));
        let taints = [(taint.unwrap(), Duration::from_secs(100))];
        assert_eq!(stay(&pod.unwrap(), &taints, at_once), expected, "{tolerations}");
    }

    fn tolerates(key: &str, seconds: Value) -> Value {
        json!([{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": seconds}])
    }

    const REST: Stay = Stay::For(Duration::from_secs(200));

    #[test]
    fn pods_that_say_nothing_stay_five_minutes_on_a_lost_node() {
        check(json!([]), UNREACHABLE, false, REST);
        check(json!([]), NOT_READY, false, REST);
        check(json!([]), NOT_READY, true, REST);
    }

    #[test]
    fn when_the_host_is_gone_they_do_not_stay() {
        check(json!([]), UNREACHABLE, true, Stay::Not);
        check(tolerates("maintenance", json!(null)), UNREACHABLE, true, Stay::Not);
    }

    #[test]
    fn what_pods_say_themselves_is_kept_in_any_case() {
        for at_once in [false, true] {
            check(tolerates(UNREACHABLE, json!(null)), UNREACHABLE, at_once, Stay::Forever);
            check(json!([{"operator": "Exists"}]), UNREACHABLE, at_once, Stay::Forever);
            let minute = Stay::For(Duration::from_secs(60));
            check(tolerates(UNREACHABLE, json!(160)), UNREACHABLE, at_once, minute);
            check(tolerates(UNREACHABLE, json!(50)), UNREACHABLE, at_once, Stay::Not);
            check(tolerates(UNREACHABLE, json!(-1)), UNREACHABLE, at_once, Stay::Not);
        }
    }

    #[test]
    fn what_admission_gave_a_pod_is_as_if_the_pod_said_nothing() {
        for (key, at_once, expected) in
            [(UNREACHABLE, false, REST), (UNREACHABLE, true, Stay::Not), (NOT_READY, true, REST)]
        {
            check(tolerates(key, json!(300)), key, at_once, expected);
        }
        check(tolerates("maintenance", json!(300)), "maintenance", true, REST);
    }

    #[test]
    fn other_taints_are_not_tolerated_without_saying_so() {
        check(json!([]), "maintenance", false, Stay::Not);
        check(tolerates("maintenance", json!(null)), "maintenance", false, Stay::Forever);
    }

    #[test]
    fn without_taints_pods_stay() {
        let pod: Pod = serde_json::from_value(json!({})).unwrap();
        assert_eq!(stay(&pod, &[], true), Stay::Forever);
    }
}
