//! The filters: each says whether a pod may run on a node, and if not, why. One file each, and one
//! line in the list below; they are asked in its order, and the first that refuses ends the asking.

mod node_affinity;
mod node_name;
mod node_ports;
mod node_unschedulable;
mod resource_fit;
mod taint_toleration;

use std::fmt;
use std::sync::Arc;

use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

/// Why a node was refused, in Kubernetes' words: `Insufficient cpu`. With thousands of nodes there are
/// thousands of them for each pod that fits nowhere, so making one allocates nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A reason that needs no more words.
    Plain(&'static str),
    /// Too little of a resource.
    Insufficient(Arc<str>),
    /// A taint that the pod does not tolerate, as `{key: value}`.
    Untolerated(Arc<str>),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Insufficient(resource) => write!(f, "Insufficient {resource}"),
            Self::Untolerated(taint) => write!(f, "node(s) had untolerated taint {taint}"),
        }
    }
}

/// May this pod run on this node?
pub trait Filter: Sync {
    /// Kubernetes' name of the plugin.
    fn name(&self) -> &'static str;

    /// Adds the reasons against; none means yes.
    fn refuse(&self, pod: &PodInfo, node: &NodeInfo, against: &mut Vec<Reason>);
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

/// Adds the reasons of the first filter that refuses the node. Whether the node takes the pod.
pub fn pass(pod: &PodInfo, node: &NodeInfo, against: &mut Vec<Reason>) -> bool {
    let before = against.len();
    all().iter().all(|filter| {
        filter.refuse(pod, node, against);
        against.len() == before
    })
}

#[cfg(test)]
pub(crate) mod tests {
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
        let mut against = Vec::new();
        filter.refuse(&pod(spec.clone()), on, &mut against);
        let reasons: Vec<String> = against.iter().map(Reason::to_string).collect();
        assert_eq!(reasons, expected, "{spec} on {:?}", on.node);
    }
}
