//! What controllers ask about nodes, and the taints they exchange through them.

use api_types::api::core::v1::{Node, NodeCondition, Taint};

/// The node says it is not ready.
pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Nothing is heard of the node.
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The node is cordoned.
pub(crate) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
/// An administrator says that the node is shut down: its pods may be forgotten.
pub(crate) const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// The reason of conditions when leases and status reports have stopped, as in Kubernetes.
pub(crate) const STATUS_UNKNOWN: &str = "NodeStatusUnknown";
/// The reason of conditions that were never reported, as in Kubernetes.
pub(crate) const STATUS_NEVER_UPDATED: &str = "NodeStatusNeverUpdated";
/// The reason of the Ready condition when the host is gone beyond doubt, and its pods are replaced at once.
pub(crate) const HOST_GONE: &str = "NodeHostGone";

/// The conditions that the kubelet itself reports.
pub(crate) const REPORTED_CONDITIONS: [&str; 4] =
    ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// A condition.
pub(crate) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// The Ready condition.
pub(crate) fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    condition(node, "Ready")
}

/// The status of the Ready condition; unknown if there is none.
pub(crate) fn ready_status(node: &Node) -> &str {
    ready_condition(node).map_or("Unknown", |condition| condition.status.as_str())
}

/// Whether the node is ready.
pub(crate) fn is_ready(node: &Node) -> bool {
    ready_status(node) == "True"
}

/// Whether it was found that the host is gone.
pub(crate) fn is_marked_gone(node: &Node) -> bool {
    ready_condition(node).is_some_and(|ready| {
        ready.status == "Unknown" && ready.reason.as_deref() == Some(HOST_GONE)
    })
}

/// Region and zone, as one word.
pub(crate) fn zone(node: &Node) -> String {
    let label = |keys: [&str; 2]| {
        let labels = node.metadata.labels.as_ref();
        keys.iter().find_map(|key| labels?.get(*key)).map(String::as_str).unwrap_or_default()
    };
    let region =
        label(["topology.kubernetes.io/region", "failure-domain.beta.kubernetes.io/region"]);
    let zone = label(["topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone"]);
    format!("{region}:{zone}")
}

/// The node's taints.
pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// Whether the node has a taint that drives pods away.
pub(crate) fn has_no_execute(node: &Node) -> bool {
    taints(node).iter().any(|taint| taint.effect == "NoExecute")
}

/// The node's name.
pub(crate) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}
