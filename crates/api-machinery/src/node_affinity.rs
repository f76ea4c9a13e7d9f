//! nodeSelector and the required node affinity: labels (and the name) that the node of a pod must have. Shared by the
//! scheduler (where may it go?) and the kubelet (may it run here?).

use std::collections::BTreeMap;

use api_types::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether the node with these labels and this name is one that the pod selects.
#[must_use]
pub fn selects(spec: &PodSpec, labels: &BTreeMap<String, String>, name: &str) -> bool {
    spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && required(spec).is_none_or(|selector| matches(selector, labels, name))
}

/// Whether the pod may select some nodes and not others.
#[must_use]
pub fn is_selective(spec: &PodSpec) -> bool {
    spec.node_selector.is_some() || required(spec).is_some()
}

fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    let affinity = spec.affinity.as_ref()?.node_affinity.as_ref()?;
    affinity.required_during_scheduling_ignored_during_execution.as_ref()
}

/// One term is enough; an empty term matches nothing.
fn matches(selector: &NodeSelector, labels: &BTreeMap<String, String>, name: &str) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, labels, name))
}

/// Whether all of a term holds for the node; of an empty one nothing does.
#[must_use]
pub fn term_matches(
    term: &NodeSelectorTerm,
    labels: &BTreeMap<String, String>,
    name: &str,
) -> bool {
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
    use api_types::api::core::v1::{Node, Pod};
    use serde_json::{Value, json};

    use super::*;

    fn check(terms: &Value, expected: bool) {
        let required = json!({"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms": terms}});
        let pod = json!({"metadata": {}, "spec": {"containers": [],
            "affinity": {"nodeAffinity": required}}});
        let node = json!({"metadata": {"name": "n1", "labels": {"disk": "ssd", "cores": "8"}}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let node: Node = serde_json::from_value(node).unwrap();
        let labels = node.metadata.labels.unwrap();
        assert_eq!(selects(&pod.spec.unwrap(), &labels, "n1"), expected, "{terms}");
    }

    fn check_operator(key: &str, operator: &str, values: &[&str], expected: bool) {
        let expression = json!({"key": key, "operator": operator, "values": values});
        check(&json!([{"matchExpressions": [expression]}]), expected);
    }

    #[test]
    fn operators_of_required_affinity() {
        check_operator("disk", "In", &["hdd", "ssd"], true);
        check_operator("disk", "NotIn", &["ssd"], false);
        check_operator("zone", "NotIn", &["a"], true);
        check_operator("disk", "Exists", &[], true);
        check_operator("zone", "DoesNotExist", &[], true);
        check_operator("cores", "Gt", &["7"], true);
        check_operator("cores", "Lt", &["8"], false);
        check_operator("disk", "Nonsense", &["ssd"], false);
    }

    #[test]
    fn one_term_is_enough_and_an_empty_one_matches_nothing() {
        let named = |name: &str| json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": [name]}]});
        check(&json!([named("n2"), named("n1")]), true);
        check(&json!([named("n2")]), false);
        check(&json!([{}]), false);
    }
}
