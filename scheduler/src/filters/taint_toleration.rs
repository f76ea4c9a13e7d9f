//! A pod may go only where it tolerates every taint that keeps pods away.
//!
//! A node that is not Ready counts as tainted from the moment its condition says so: the taint itself
//! is written by the node controller, a moment later, and a pod should not slip through in between.

use api_machinery::toleration::toleration_of;
use api_types::api::core::v1::{Node, Taint};

use super::{Filter, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct TaintToleration;

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn refuse(&self, pod: &PodInfo, node: &NodeInfo) -> Vec<Reason> {
        let tolerations = pod.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
        let tolerations = tolerations.unwrap_or_default();
        let implied = implied(&node.node);
        let taints = node.node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
        let unbearable = taints
            .chain(&implied)
            .find(|taint| repels(taint) && toleration_of(tolerations, taint).is_none());
        unbearable.map(describe).unwrap_or_default()
    }
}

fn repels(taint: &Taint) -> bool {
    matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute")
}

/// The taint that the node's Ready condition will bring.
fn implied(node: &Node) -> Option<Taint> {
    let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    let key = match ready.map(|condition| condition.status.as_str()) {
        Some("True") => return None,
        Some("Unknown") => "node.kubernetes.io/unreachable",
        _ => "node.kubernetes.io/not-ready",
    };
    Some(Taint { key: key.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() })
}

fn describe(taint: &Taint) -> Vec<Reason> {
    let value = taint.value.as_deref().unwrap_or_default();
    Reason::new(&format!("node(s) had untolerated taint {{{}: {value}}}", taint.key))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, node};
    use super::*;

    fn tainted(ready: &str, taints: Value) -> NodeInfo {
        node(json!({"metadata": {"name": "n1"}, "spec": {"taints": taints},
                    "status": {"conditions": [{"type": "Ready", "status": ready}]}}))
    }

    #[test]
    fn every_repelling_taint_must_be_tolerated() {
        let gpu = json!([{"key": "gpu", "value": "yes", "effect": "NoSchedule"}]);
        let tolerant = json!({"tolerations": [{"key": "gpu", "value": "yes"}]});
        check(&TaintToleration, json!({}), &tainted("True", json!([])), &[]);
        let untolerated = ["node(s) had untolerated taint {gpu: yes}"];
        check(&TaintToleration, json!({}), &tainted("True", gpu.clone()), &untolerated);
        check(&TaintToleration, tolerant, &tainted("True", gpu), &[]);
        let soft = json!([{"key": "slow", "effect": "PreferNoSchedule"}]);
        check(&TaintToleration, json!({}), &tainted("True", soft), &[]);
    }

    #[test]
    fn a_node_that_is_not_ready_is_tainted_before_the_taint_is_written() {
        let not_ready = ["node(s) had untolerated taint {node.kubernetes.io/not-ready: }"];
        let unreachable = ["node(s) had untolerated taint {node.kubernetes.io/unreachable: }"];
        check(&TaintToleration, json!({}), &tainted("False", json!([])), &not_ready);
        check(&TaintToleration, json!({}), &tainted("Unknown", json!([])), &unreachable);
        check(&TaintToleration, json!({}), &node(json!({"metadata": {"name": "new"}})), &not_ready);
        let anything = json!({"tolerations": [{"operator": "Exists"}]});
        check(&TaintToleration, anything, &tainted("False", json!([])), &[]);
    }
}
