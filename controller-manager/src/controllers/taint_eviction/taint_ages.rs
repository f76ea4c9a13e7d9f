//! For how long nodes have had their `NoExecute` taints. It is measured from when a taint was first
//! seen, by a clock that nobody sets: one that somebody wrote with kubectl has no `timeAdded`. A taint
//! of the node controller that was there when its node was first seen is older by what its `timeAdded`
//! says, so that time goes on while no controller runs; others may say what they like. One that comes later is new: were its age told by the clock, one that
//! jumps at that moment would cost pods their time.

use std::collections::HashMap;
use std::time::Duration;

use api_types::api::core::v1::{Node, Taint};
use api_types::jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::nodes::{self, NOT_READY, UNREACHABLE};

#[derive(Debug, Default)]
pub(crate) struct TaintAges {
    nodes: Mutex<HashMap<String, Vec<(Taint, Instant)>>>,
}

impl TaintAges {
    /// The node as it is now.
    pub(crate) fn see(&self, node: &Node, time: Timestamp, now: Instant) {
        let mut all = self.nodes.lock();
        let before = all.remove(nodes::name(node));
        let since = |taint: &Taint| match &before {
            Some(before) => {
                before.iter().find(|(known, _)| known == taint).map(|(_, since)| *since)
            }
            None => now.checked_sub(age(taint, time)),
        };
        let taints = nodes::taints(node).iter().filter(|taint| taint.effect == "NoExecute");
        let taints = taints.map(|taint| (taint.clone(), since(taint).unwrap_or(now))).collect();
        all.insert(nodes::name(node).to_owned(), taints);
    }

    pub(crate) fn forget(&self, node: &str) {
        self.nodes.lock().remove(node);
    }

    /// The node's taints and their ages.
    pub(crate) fn of(&self, node: &str, now: Instant) -> Vec<(Taint, Duration)> {
        let all = self.nodes.lock();
        let taints = all.get(node).map(Vec::as_slice).unwrap_or_default();
        taints.iter().map(|(taint, since)| (taint.clone(), now.duration_since(*since))).collect()
    }
}

/// What a taint of the node controller says; nothing if it is of the future.
fn age(taint: &Taint, time: Timestamp) -> Duration {
    let ours = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str());
    let added =
        taint.time_added.as_ref().filter(|_| ours).map(|added| time.duration_since(added.0));
    added.and_then(|age| age.try_into().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn node(taints: Value) -> Node {
        serde_json::from_value(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints}}))
            .unwrap()
    }

    fn ages(ages: &TaintAges, now: Instant) -> Vec<u64> {
        ages.of("n1", now).iter().map(|(_, age)| age.as_secs()).collect()
    }

    #[test]
    fn a_taint_without_a_time_counts_from_when_it_is_first_seen() {
        let (all, start) = (TaintAges::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let time = "2026-01-01T00:00:00Z".parse().unwrap();
        let taint = json!({"key": "a", "effect": "NoExecute"});
        let harmless = json!({"key": "b", "effect": "NoSchedule"});
        all.see(&node(json!([taint, harmless])), time, at(0));
        all.see(&node(json!([harmless, taint, {"key": "c", "effect": "NoExecute"}])), time, at(10));
        assert_eq!(ages(&all, at(30)), [30, 20]);
        all.see(&node(json!([])), time, at(40));
        all.see(&node(json!([taint])), time, at(50));
        assert_eq!(ages(&all, at(60)), [10], "it was gone meanwhile");
        all.forget("n1");
        assert!(ages(&all, at(60)).is_empty());
    }

    #[test]
    fn a_time_tells_how_old_it_was_when_first_seen_and_a_clock_that_jumps_changes_nothing() {
        let (all, start) = (TaintAges::default(), Instant::now() + Duration::from_secs(1000));
        let time = |text: &str| text.parse().unwrap();
        let taint =
            json!({"key": NOT_READY, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"});
        all.see(&node(json!([taint])), time("2026-01-01T00:01:40Z"), start);
        assert_eq!(ages(&all, start), [100]);
        all.see(&node(json!([taint])), time("2027-01-01T00:00:00Z"), start);
        assert_eq!(ages(&all, start + Duration::from_secs(5)), [105]);
        let later =
            json!({"key": UNREACHABLE, "effect": "NoExecute", "timeAdded": "2027-01-01T00:00:00Z"});
        all.see(&node(json!([later])), time("2028-01-01T00:00:00Z"), start);
        assert_eq!(ages(&all, start), [0], "it has only just come");
        all.forget("n1");
        let future =
            json!({"key": NOT_READY, "effect": "NoExecute", "timeAdded": "2030-01-01T00:00:00Z"});
        all.see(&node(json!([future])), time("2026-01-01T00:01:40Z"), start);
        assert_eq!(ages(&all, start), [0]);
    }

    #[test]
    fn a_time_is_believed_of_the_taints_of_the_node_controller_only() {
        let (all, start) = (TaintAges::default(), Instant::now());
        let taint = |key: &str| json!({"key": key, "effect": "NoExecute", "timeAdded": "2026-01-01T00:00:00Z"});
        let taints = json!([taint(NOT_READY), taint(UNREACHABLE), taint("maintenance")]);
        all.see(&node(taints), "2026-01-01T00:01:40Z".parse().unwrap(), start);
        assert_eq!(ages(&all, start), [100, 100, 0]);
    }
}
