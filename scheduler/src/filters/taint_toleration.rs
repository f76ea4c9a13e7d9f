//! A pod may go only where it tolerates every taint that keeps pods away.

use std::sync::Arc;

use api_machinery::toleration::toleration_of;

use super::{Filter, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct TaintToleration;

impl Filter for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn refuse(&self, pod: &PodInfo, node: &NodeInfo, against: &mut Vec<Reason>) {
        let tolerations = pod.pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref());
        let tolerations = tolerations.unwrap_or_default();
        let mut repelling = node.repelling.iter();
        let unbearable =
            repelling.find(|repelling| toleration_of(tolerations, &repelling.taint).is_none());
        against.extend(unbearable.map(|taint| Reason::Untolerated(Arc::clone(&taint.text))));
    }
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
