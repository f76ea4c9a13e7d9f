//! A pod may go only where it tolerates every taint that keeps pods away, and goes rather where it tolerates
//! those that only discourage it (PreferNoSchedule).

use std::sync::Arc;

use api_machinery::toleration::toleration_of;

use super::{Plugin, Questions, Reason, score};
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        let tolerations = pod.tolerations();
        let filter = Questions::filter(move |node, against| {
            let mut taints = node.taints.repelling.iter();
            let unbearable =
                taints.find(|taint| toleration_of(tolerations, &taint.taint).is_none());
            against.extend(unbearable.map(|taint| Reason::Untolerated(Arc::clone(&taint.text))));
        });
        let unwelcome = move |node: &&NodeInfo| {
            let taints = node.taints.discouraging.iter();
            taints.filter(|taint| toleration_of(tolerations, taint).is_none()).count()
        };
        filter.and(Questions::score(move |nodes| {
            let counts = nodes.iter().map(unwelcome);
            score::lowest_is_best(counts.map(|count| u32::try_from(count).unwrap_or(u32::MAX)))
        }))
    }

    fn turned_by(&self) -> Changes {
        Changes::ADDED | Changes::TAINTS
    }

    fn weight(&self) -> i64 {
        3
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, check_best, node};
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
    fn taints_that_only_discourage_are_gone_round() {
        let named = |name: &str, keys: &[&str]| {
            let taint = |key: &&str| json!({"key": key, "effect": "PreferNoSchedule"});
            let taints: Vec<Value> = keys.iter().map(taint).collect();
            node(json!({"metadata": {"name": name}, "spec": {"taints": taints}}))
        };
        let nodes = [named("none", &[]), named("slow", &["slow"]), named("both", &["slow", "old"])];
        let tolerates = |effect: &str| json!({"tolerations": [{"key": "slow", "operator": "Exists", "effect": effect}]});
        check_best(&TaintToleration, json!({}), &nodes, &["none"]);
        check_best(&TaintToleration, json!({}), &nodes[1..], &["slow"]);
        check_best(&TaintToleration, tolerates("PreferNoSchedule"), &nodes, &["none", "slow"]);
        check_best(&TaintToleration, tolerates(""), &nodes, &["none", "slow"]);
        check_best(&TaintToleration, tolerates("NoSchedule"), &nodes, &["none"]);
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
