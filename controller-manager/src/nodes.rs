//! What controllers ask about nodes, and the taints they exchange through them.

use api_types::api::core::v1::{Node, NodeCondition, Taint};

/// The node says it is not ready.
pub(crate) const NOT_READY: &str = "node.kubernetes.io/not-ready";
/// Nothing is heard of the node.
pub(crate) const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
/// The node is cordoned.
pub(crate) const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// The reason of the Ready condition when leases and status reports have stopped, as in Kubernetes.
pub(crate) const STATUS_UNKNOWN: &str = "NodeStatusUnknown";
/// The reason when the heartbeats over Redis have stopped. The node is dead beyond doubt then, and its
/// pods are replaced at once.
pub(crate) const HEARTBEAT_LOST: &str = "NodeHeartbeatLost";

/// The Ready condition.
pub(crate) fn ready_condition(node: &Node) -> Option<&NodeCondition> {
    let conditions = node.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Whether the node is ready.
pub(crate) fn is_ready(node: &Node) -> bool {
    ready_condition(node).is_some_and(|condition| condition.status == "True")
}

/// The node's taints.
pub(crate) fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
}

/// The node's name.
pub(crate) fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}
