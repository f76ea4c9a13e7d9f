//! The names of all topics.

/// Heartbeats of nodes: [`crate::Heartbeat`].
pub const NODE_STATUS: &str = "minik8s.status.node";
/// Signs of life of kube-proxies, and what they know of their peers' hosts: [`crate::Testimony`].
pub const PROXY_STATUS: &str = "minik8s.status.proxy";
/// What pods use: [`crate::PodsUsage`].
pub const POD_STATUS: &str = "minik8s.status.pod";
/// Who wants to know more often what nodes and pods use: [`crate::UsageWanted`].
pub const USAGE_WANTED: &str = "minik8s.usage.wanted";
/// Calls that gateways have in hand, by function: [`crate::Demand`].
pub const FUNCTION_DEMAND: &str = "minik8s.functions.demand";

/// All changes of a kind; the group of the core kinds is empty.
pub fn changes(group: &str, plural: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("minik8s.{group}.{plural}")
}

/// The changes of the pods that are bound to a node.
pub fn pods_of_node(node: &str) -> String {
    format!("minik8s.pods.node.{node}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_core_group_has_a_name() {
        assert_eq!(changes("", "pods"), "minik8s.core.pods");
        assert_eq!(changes("apps", "replicasets"), "minik8s.apps.replicasets");
        assert_eq!(pods_of_node("n1"), "minik8s.pods.node.n1");
    }
}
