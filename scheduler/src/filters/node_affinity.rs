//! nodeSelector and the required node affinity: labels (and the name) that the node must have.

use std::collections::BTreeMap;

use api_types::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

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
        let selected =
            spec.node_selector.iter().flatten().all(|pair| labels.get(pair.0) == Some(pair.1));
        if selected && required(spec).is_none_or(|wanted| matches(wanted, labels, node.name())) {
            return;
        }
        against.push(Reason::Plain("node(s) didn't match Pod's node affinity/selector"));
    }
}

fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    affinity.required_during_scheduling_ignored_during_execution.as_ref()
}

/// One term is enough; an empty term matches nothing.
fn matches(selector: &NodeSelector, labels: &BTreeMap<String, String>, name: &str) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, labels, name))
}

fn term_matches(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    let field = |key: &str| (key == "metadata.name").then_some(name);
    let label = |key: &str| labels.get(key).map(String::as_str);
    !(expressions.is_empty() && fields.is_empty())
        && expressions.iter().all(|wanted| holds(wanted, label(&wanted.key)))
        && fields.iter().all(|wanted| holds(wanted, field(&wanted.key)))
}

/// `NotIn` also holds for a node without the label, as in Kubernetes.
fn holds(wanted: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let listed = actual.is_some_and(|actual| values.iter().any(|value| value == actual));
    match wanted.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => compared(actual, values).is_some_and(|(actual, bound)| actual > bound),
        "Lt" => compared(actual, values).is_some_and(|(actual, bound)| actual < bound),
        _ => false,
    }
}

fn compared(actual: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    Some((actual?.parse().ok()?, values.first()?.parse().ok()?))
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
