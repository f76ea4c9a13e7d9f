//! The taints that follow from a node's condition.

use api_types::api::core::v1::{Node, Taint};
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use crate::nodes::{self, NOT_READY, UNREACHABLE, UNSCHEDULABLE};

/// The taints this controller writes and removes.
const OURS: [&str; 3] = [NOT_READY, UNREACHABLE, UNSCHEDULABLE];

/// The taints the node should have; `None` if it has them.
pub(super) fn due(node: &Node, now: Timestamp) -> Option<Vec<Taint>> {
    let present = nodes::taints(node);
    let wanted = wanted(node);
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let is_ours = |taint: &Taint| OURS.contains(&taint.key.as_str());
    let mut taints: Vec<Taint> =
        present.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(taint(key, effect, now));
        }
    }
    (taints != present).then_some(taints)
}

fn wanted(node: &Node) -> Vec<(&'static str, &'static str)> {
    let state = match nodes::ready_condition(node).map(|condition| condition.status.as_str()) {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        _ => Some(NOT_READY),
    };
    let state = state.into_iter().flat_map(|key| [(key, "NoSchedule"), (key, "NoExecute")]);
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
    state.chain(cordoned.then_some((UNSCHEDULABLE, "NoSchedule"))).collect()
}

/// The time counts the tolerationSeconds of pods, which only `NoExecute` has.
fn taint(key: &str, effect: &str, now: Timestamp) -> Taint {
    Taint {
        key: key.to_owned(),
        effect: effect.to_owned(),
        value: None,
        time_added: Some(Time(now)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// Taints as `key:effect`, ours without their prefix.
    fn check(ready: &str, unschedulable: bool, taints: Value, expected: Option<&[&str]>) {
        let node = serde_json::from_value(json!({
            "spec": {"unschedulable": unschedulable, "taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }));
        let due = due(&node.unwrap(), "2026-01-01T00:00:00Z".parse().unwrap());
        let due = due.map(|taints| {
            let text = |t: &Taint| {
                format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect)
            };
            taints.iter().map(text).collect::<Vec<_>>()
        });
        let expected = expected.map(|taints| taints.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(due, expected);
    }

    #[test]
    fn taints_follow_the_ready_condition() {
        check("True", false, json!([]), None);
        check("False", false, json!([]), Some(&["not-ready:NoSchedule", "not-ready:NoExecute"]));
        check(
            "Unknown",
            false,
            json!([]),
            Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]),
        );
        let not_ready = json!([{"key": NOT_READY, "effect": "NoSchedule"}, {"key": NOT_READY, "effect": "NoExecute"}]);
        check("False", false, not_ready.clone(), None);
        check("True", false, not_ready.clone(), Some(&[]));
        check(
            "Unknown",
            false,
            not_ready,
            Some(&["unreachable:NoSchedule", "unreachable:NoExecute"]),
        );
    }

    #[test]
    fn a_cordoned_node_is_tainted_and_other_peoples_taints_stay() {
        check("True", true, json!([]), Some(&["unschedulable:NoSchedule"]));
        let foreign = json!([{"key": "gpu", "effect": "NoSchedule"}]);
        check("True", false, foreign.clone(), None);
        check("True", true, foreign, Some(&["gpu:NoSchedule", "unschedulable:NoSchedule"]));
    }
}
