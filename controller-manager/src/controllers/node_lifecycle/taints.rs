//! The taints that follow from a node's condition.

use api_types::api::core::v1::{Node, Taint};
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use crate::nodes::{self, NOT_READY, UNREACHABLE, UNSCHEDULABLE};

/// The conditions that keep new pods away while they hold, and the taints that say so.
const CONDITIONS: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// What is to become of the taint that drives pods from a node that is silent or not ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoExecute {
    /// The node's turn has come.
    Set,
    /// It is not its turn: the taint is not set, but stays if it is.
    Keep,
    /// Nobody is to be evicted.
    Remove,
}

/// The taints the node should have; `None` if it has them.
pub(super) fn due(node: &Node, no_execute: NoExecute, now: Timestamp) -> Option<Vec<Taint>> {
    let present = nodes::taints(node);
    let wanted = wanted(node, no_execute);
    let is_wanted = |taint: &Taint| wanted.contains(&(taint.key.as_str(), taint.effect.as_str()));
    let mut taints: Vec<Taint> =
        present.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in wanted {
        if !taints.iter().any(|taint| taint.key == key && taint.effect == effect) {
            taints.push(taint(key, effect, now));
        }
    }
    (taints != present).then_some(taints)
}

/// Whether pods are being driven from the node because it is silent or not ready.
pub(super) fn drives_away(node: &Node) -> bool {
    nodes::taints(node)
        .iter()
        .any(|t| t.effect == "NoExecute" && [NOT_READY, UNREACHABLE].contains(&t.key.as_str()))
}

fn is_ours(taint: &Taint) -> bool {
    let key = taint.key.as_str();
    [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&key)
        || CONDITIONS.iter().any(|(_, ours)| *ours == key && taint.effect == "NoSchedule")
}

fn wanted(node: &Node, no_execute: NoExecute) -> Vec<(&'static str, &'static str)> {
    let state = match nodes::ready_condition(node).map(|condition| condition.status.as_str()) {
        Some("True") => None,
        Some("Unknown") => Some(UNREACHABLE),
        _ => Some(NOT_READY),
    };
    let drives = match no_execute {
        NoExecute::Set => true,
        NoExecute::Keep => drives_away(node),
        NoExecute::Remove => false,
    };
    let cordoned = node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default();
    let holds = |kind: &str| nodes::condition(node, kind).is_some_and(|c| c.status == "True");
    let pressed =
        CONDITIONS.iter().filter(|(kind, _)| holds(kind)).map(|(_, key)| (*key, "NoSchedule"));
    let closed = state.map(|key| (key, "NoSchedule")).into_iter();
    let closed = closed.chain(state.filter(|_| drives).map(|key| (key, "NoExecute")));
    closed.chain(cordoned.then_some((UNSCHEDULABLE, "NoSchedule"))).chain(pressed).collect()
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
    fn check(node: Value, no_execute: NoExecute, expected: Option<&[&str]>) {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let due = due(&serde_json::from_value(node).unwrap(), no_execute, now);
        let due = due.map(|taints| {
            let text = |t: &Taint| {
                format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect)
            };
            taints.iter().map(text).collect::<Vec<_>>()
        });
        let expected = expected.map(|taints| taints.iter().map(|t| (*t).to_owned()).collect());
        assert_eq!(due, expected);
    }

    fn node(ready: &str, taints: Value) -> Value {
        json!({"spec": {"taints": taints}, "status": {"conditions": [{"type": "Ready", "status": ready}]}})
    }

    fn both(key: &str) -> Value {
        json!([{"key": key, "effect": "NoSchedule"}, {"key": key, "effect": "NoExecute"}])
    }

    const UNREACHABLE_BOTH: &[&str] = &["unreachable:NoSchedule", "unreachable:NoExecute"];

    #[test]
    fn taints_follow_the_ready_condition() {
        let set = NoExecute::Set;
        let not_ready = &["not-ready:NoSchedule", "not-ready:NoExecute"];
        check(node("True", json!([])), NoExecute::Keep, None);
        check(node("False", json!([])), set, Some(not_ready));
        check(node("Unknown", json!([])), set, Some(UNREACHABLE_BOTH));
        check(node("False", both(NOT_READY)), set, None);
        check(node("True", both(NOT_READY)), NoExecute::Keep, Some(&[]));
        check(node("Unknown", both(NOT_READY)), set, Some(UNREACHABLE_BOTH));
    }

    #[test]
    fn pods_are_driven_away_when_it_is_the_nodes_turn() {
        check(node("Unknown", json!([])), NoExecute::Keep, Some(&["unreachable:NoSchedule"]));
        check(node("Unknown", both(UNREACHABLE)), NoExecute::Keep, None);
        check(node("Unknown", both(NOT_READY)), NoExecute::Keep, Some(UNREACHABLE_BOTH));
        check(
            node("Unknown", both(UNREACHABLE)),
            NoExecute::Remove,
            Some(&["unreachable:NoSchedule"]),
        );
    }

    #[test]
    fn a_cordoned_node_is_tainted_and_other_peoples_taints_stay() {
        let cordoned = |taints| {
            json!({"spec": {"unschedulable": true, "taints": taints},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        };
        check(cordoned(json!([])), NoExecute::Keep, Some(&["unschedulable:NoSchedule"]));
        let foreign = json!([{"key": "gpu", "effect": "NoSchedule"}]);
        check(node("True", foreign.clone()), NoExecute::Keep, None);
        let all = &["gpu:NoSchedule", "unschedulable:NoSchedule"];
        check(cordoned(foreign), NoExecute::Keep, Some(all));
    }

    #[test]
    fn a_node_under_pressure_takes_no_new_pods_and_drives_none_away() {
        let kinds = ["MemoryPressure", "DiskPressure", "PIDPressure", "NetworkUnavailable"];
        let with = |status: &str, taints: Value| {
            let mut node = node("True", taints);
            let conditions = node["status"]["conditions"].as_array_mut().unwrap();
            conditions.extend(kinds.map(|kind| json!({"type": kind, "status": status})));
            node
        };
        let taints = &[
            "memory-pressure:NoSchedule",
            "disk-pressure:NoSchedule",
            "pid-pressure:NoSchedule",
            "network-unavailable:NoSchedule",
        ];
        check(with("True", json!([])), NoExecute::Set, Some(taints));
        let pressed = json!([{"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"}]);
        check(with("False", pressed.clone()), NoExecute::Set, Some(&[]));
        check(with("Unknown", pressed), NoExecute::Set, Some(&[]));
    }
}
