//! The filters: each says whether a pod may run on a node, and if not, why. One file each, and one
//! line in the list below; they are asked in its order, and the first that refuses ends the asking.

mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resource_fit;
mod taint_toleration;

use std::fmt;

use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

/// Why a node was refused, in Kubernetes' words: `Insufficient cpu`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reason(pub String);

impl Reason {
    fn new(text: &str) -> Vec<Self> {
        vec![Self(text.to_owned())]
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// May this pod run on this node?
pub trait Filter: Sync {
    /// Kubernetes' name of the plugin.
    fn name(&self) -> &'static str;

    /// The reasons against; none means yes.
    fn refuse(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason>;
}

/// All filters, in the order in which they are asked.
pub fn all() -> &'static [&'static dyn Filter] {
    &[
        &node_unschedulable::NodeUnschedulable,
        &node_name::NodeName,
        &taint_toleration::TaintToleration,
        &node_affinity::NodeAffinity,
        &node_ports::NodePorts,
        &resource_fit::ResourceFit,
    ]
}

/// The reasons of the first filter that refuses the node.
pub fn refuse(pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
    let answers = all().iter().map(|filter| filter.refuse(pod, node));
    answers.into_iter().find(|reasons| !reasons.is_empty()).unwrap_or_default()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use serde_json::Value;

    use super::*;

    /// A node out of JSON.
    pub(crate) fn node(node: Value) -> NodeInfo {
        NodeInfo::new(Arc::new(serde_json::from_value(node).unwrap()))
    }

    /// A pod with this spec; containers may be left out.
    pub(crate) fn pod(mut spec: Value) -> PodInfo {
        if spec.get("containers").is_none() {
            spec["containers"] = serde_json::json!([{"name": "c"}]);
        }
        let pod =
            serde_json::json!({"metadata": {"namespace": "default", "name": "p"}, "spec": spec});
        PodInfo::new(Arc::new(serde_json::from_value(pod).unwrap()))
    }

    /// What one filter says about a pod with this spec on a node.
    pub(crate) fn check(filter: &dyn Filter, spec: Value, on: &NodeInfo, expected: &[&str]) {
        let reasons = filter.refuse(&pod(spec.clone()), on);
        let reasons: Vec<&str> = reasons.iter().map(|reason| reason.0.as_str()).collect();
        assert_eq!(reasons, expected, "{spec} on {:?}", on.node);
    }
}
