//! nodeSelector and the required node affinity: labels (and the name) that the node must have.

use std::collections::BTreeMap;

use api_machinery::node_affinity;

use super::{Filter, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct NodeAffinity;

impl Filter for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn refuse(&self, pod: &PodInfo, node: &NodeInfo, against: &mut Vec<Reason>) {
        let Some(spec) = &pod.pod.spec else { return };
        let none = BTreeMap::new();
        let labels = node.node.metadata.labels.as_ref().unwrap_or(&none);
        if !node_affinity::selects(spec, labels, node.name()) {
            against.push(Reason::Plain("node(s) didn't match Pod's node affinity/selector"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, node};
    use super::*;

    fn check_spec(spec: Value, fits: bool) {
        let on = node(json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}}}));
        let reason = ["node(s) didn't match Pod's node affinity/selector"];
        check(&NodeAffinity, spec, &on, if fits { &[] } else { &reason });
    }

    fn check_terms(terms: Value, fits: bool) {
        let required = json!({"nodeSelectorTerms": terms});
        let affinity = json!({"requiredDuringSchedulingIgnoredDuringExecution": required});
        check_spec(json!({"affinity": {"nodeAffinity": affinity}}), fits);
    }

    fn check_operator(key: &str, operator: &str, values: &[&str], fits: bool) {
        let expression = json!({"key": key, "operator": operator, "values": values});
        check_terms(json!([{"matchExpressions": [expression]}]), fits);
    }

    #[test]
    fn every_pair_of_the_selector_must_be_there() {
        check_spec(json!({}), true);
        check_spec(json!({"nodeSelector": {"disk": "ssd"}}), true);
        check_spec(json!({"nodeSelector": {"disk": "hdd"}}), false);
        check_spec(json!({"nodeSelector": {"disk": "ssd", "zone": "a"}}), false);
    }

    #[test]
    fn operators_of_required_affinity() {
        check_operator("disk", "In", &["hdd", "ssd"], true);
        check_operator("disk", "In", &["hdd"], false);
        check_operator("disk", "NotIn", &["hdd"], true);
        check_operator("zone", "NotIn", &["a"], true);
        check_operator("disk", "Exists", &[], true);
        check_operator("zone", "DoesNotExist", &[], true);
        check_operator("cores", "Gt", &["7"], true);
        check_operator("cores", "Gt", &["8"], false);
        check_operator("cores", "Lt", &["9"], true);
        check_operator("disk", "Lt", &["9"], false);
        check_operator("disk", "Nonsense", &["ssd"], false);
    }

    #[test]
    fn one_term_is_enough_and_an_empty_one_matches_nothing() {
        let by_name =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n1"]}]});
        let other =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n2"]}]});
        check_terms(json!([by_name]), true);
        check_terms(json!([other]), false);
        check_terms(json!([other, by_name]), true);
        check_terms(json!([{}]), false);
    }
}
