//! What is written about a node whose kubelet does not report. Pure.

use api_types::api::core::v1::Node;
use api_types::jiff::Timestamp;
use serde_json::{Value, json};

use crate::nodes::{self, HOST_GONE, REPORTED_CONDITIONS, STATUS_NEVER_UPDATED, STATUS_UNKNOWN};

/// Why the status is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The kubelet does not report.
    StatusUnknown,
    /// The host is gone.
    HostGone,
}

impl Why {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Why::StatusUnknown => (STATUS_UNKNOWN, "Kubelet stopped posting node status."),
            Why::HostGone => {
                (HOST_GONE, "The host of the node is gone: nobody hears of it or reaches it.")
            }
        }
    }
}

/// The patch of the status: the conditions that the kubelet reports become unknown, those of others stay.
/// `None` if it is written already. Tied to the version that was looked at, so that a node that returns
/// in this moment is not marked.
pub(super) fn unknown(node: &Node, why: Why, now: Timestamp) -> Option<Value> {
    let conditions: Vec<Value> =
        REPORTED_CONDITIONS.iter().filter_map(|kind| condition(node, kind, why, now)).collect();
    (!conditions.is_empty()).then(|| {
        json!({
            "metadata": {"resourceVersion": node.metadata.resource_version},
            "status": {"conditions": conditions},
        })
    })
}

fn condition(node: &Node, kind: &str, why: Why, now: Timestamp) -> Option<Value> {
    let (reason, message) = why.words();
    let Some(present) = nodes::condition(node, kind) else {
        return Some(json!({"type": kind, "status": "Unknown", "reason": STATUS_NEVER_UPDATED,
            "message": "Kubelet never posted node status.",
            "lastHeartbeatTime": node.metadata.creation_timestamp, "lastTransitionTime": now}));
    };
    if present.status != "Unknown" {
        return Some(
            json!({"type": kind, "status": "Unknown", "reason": reason, "message": message,
            "lastTransitionTime": now}),
        );
    }
    let news = kind == "Ready" && why == Why::HostGone && present.reason.as_deref() != Some(reason);
    news.then(|| json!({"type": kind, "status": "Unknown", "reason": reason, "message": message}))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `type=status/reason` of what is to be written; `*` behind it if it is a transition.
    fn check(conditions: Value, why: Why, expected: &[&str]) {
        let node =
            json!({"metadata": {"resourceVersion": "7"}, "status": {"conditions": conditions}});
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let patch = unknown(&serde_json::from_value(node).unwrap(), why, now);
        let written = patch.iter().flat_map(|patch| {
            assert_eq!(patch["metadata"]["resourceVersion"], "7");
            patch["status"]["conditions"].as_array().unwrap()
        });
        let text = |c: &Value| {
            let word = |key: &str| c[key].as_str().unwrap_or_default().to_owned();
            let star = if c["lastTransitionTime"].is_null() { "" } else { "*" };
            format!("{}={}/{}{star}", word("type"), word("status"), word("reason"))
        };
        assert_eq!(written.map(text).collect::<Vec<_>>(), expected);
    }

    fn all(status: &str, reason: &str) -> Value {
        REPORTED_CONDITIONS
            .iter()
            .map(|kind| json!({"type": kind, "status": status, "reason": reason}))
            .collect()
    }

    #[test]
    fn what_the_kubelet_reports_is_unknown_and_what_others_report_stays() {
        let mut conditions = all("False", "Fine");
        let foreign = ["NetworkUnavailable", "KernelDeadlock"];
        let foreign = foreign.map(|kind| json!({"type": kind, "status": "False"}));
        conditions.as_array_mut().unwrap().extend(foreign);
        let marked = [
            "Ready=Unknown/NodeStatusUnknown*",
            "MemoryPressure=Unknown/NodeStatusUnknown*",
            "DiskPressure=Unknown/NodeStatusUnknown*",
            "PIDPressure=Unknown/NodeStatusUnknown*",
        ];
        check(conditions, Why::StatusUnknown, &marked);
    }

    #[test]
    fn a_node_that_never_reported_says_so() {
        let conditions = json!([{"type": "Ready", "status": "True"}]);
        let marked = [
            "Ready=Unknown/NodeHostGone*",
            "MemoryPressure=Unknown/NodeStatusNeverUpdated*",
            "DiskPressure=Unknown/NodeStatusNeverUpdated*",
            "PIDPressure=Unknown/NodeStatusNeverUpdated*",
        ];
        check(conditions, Why::HostGone, &marked);
    }

    #[test]
    fn it_is_written_once_and_the_graver_reason_stays() {
        check(all("Unknown", "NodeStatusUnknown"), Why::StatusUnknown, &[]);
        check(all("Unknown", "NodeStatusUnknown"), Why::HostGone, &["Ready=Unknown/NodeHostGone"]);
        check(all("Unknown", "NodeHostGone"), Why::HostGone, &[]);
        check(all("Unknown", "NodeHostGone"), Why::StatusUnknown, &[]);
    }
}
