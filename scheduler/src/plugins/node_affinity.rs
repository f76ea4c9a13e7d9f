//! nodeSelector and node affinity: labels (and the name) that the node must have, and those by which one is
//! preferred.

use api_machinery::node_affinity;
use api_types::api::core::v1::PreferredSchedulingTerm;

use super::{Plugin, Questions, Reason, score};
use crate::changes::Changes;
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

const UNMATCHED: &str = "node(s) didn't match Pod's node affinity/selector";

pub(super) struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn questions<'a>(&'a self, pod: &'a PodInfo, _: &'a Snapshot) -> Questions<'a> {
        let selective = pod.pod.spec.as_ref().filter(|spec| node_affinity::is_selective(spec));
        let filter = selective.map_or_else(Questions::default, |spec| {
            Questions::filter(|node, against| {
                if !node_affinity::selects(spec, node.labels(), node.name.as_str()) {
                    against.push(Reason::Plain(UNMATCHED));
                }
            })
        });
        filter.and(preferred(pod).map_or_else(Questions::default, |terms| {
            Questions::score(|nodes| {
                score::highest_is_best(nodes.iter().map(|node| preference(terms, node)))
            })
        }))
    }

    fn turned_by(&self) -> Changes {
        Changes::ADDED | Changes::LABELS
    }

    fn weight(&self) -> i64 {
        2
    }
}

fn preferred(pod: &PodInfo) -> Option<&[PreferredSchedulingTerm]> {
    let affinity = pod.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()?;
    let terms = affinity.preferred_during_scheduling_ignored_during_execution.as_deref()?;
    (!terms.is_empty()).then_some(terms)
}

/// The weights of the terms that match, together.
fn preference(terms: &[PreferredSchedulingTerm], node: &NodeInfo) -> u32 {
    let name = node.name.as_str();
    let matching = terms
        .iter()
        .filter(|term| node_affinity::term_matches(&term.preference, node.labels(), name));
    matching.filter_map(|term| u32::try_from(term.weight).ok()).fold(0, u32::saturating_add)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::{check, check_best, node};
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

    fn check_preferred(terms: Value, expected: &[&str]) {
        let labelled =
            |name: &str, labels: Value| node(json!({"metadata": {"name": name, "labels": labels}}));
        let nodes = [
            labelled("both", json!({"disk": "ssd", "zone": "a"})),
            labelled("ssd", json!({"disk": "ssd"})),
            labelled("a", json!({"zone": "a"})),
        ];
        let preferred = json!({"preferredDuringSchedulingIgnoredDuringExecution": terms});
        check_best(
            &NodeAffinity,
            json!({"affinity": {"nodeAffinity": preferred}}),
            &nodes,
            expected,
        );
    }

    #[test]
    fn the_weights_of_the_preferred_terms_that_match_are_added() {
        let term = |weight: i32, key: &str, operator: &str| {
            let expressions = json!([{"key": key, "operator": operator}]);
            json!({"weight": weight, "preference": {"matchExpressions": expressions}})
        };
        let by_name =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]});
        check_preferred(json!([]), &["both", "ssd", "a"]);
        check_preferred(json!([term(1, "gpu", "Exists")]), &["both", "ssd", "a"]);
        check_preferred(json!([term(1, "disk", "Exists")]), &["both", "ssd"]);
        check_preferred(json!([term(1, "disk", "Exists"), term(1, "zone", "Exists")]), &["both"]);
        check_preferred(
            json!([term(1, "disk", "Exists"), term(5, "zone", "DoesNotExist")]),
            &["ssd"],
        );
        check_preferred(
            json!([term(1, "disk", "Exists"), {"weight": 2, "preference": by_name}]),
            &["a"],
        );
        check_preferred(
            json!([{"weight": 9, "preference": {}}, term(1, "disk", "DoesNotExist")]),
            &["a"],
        );
    }
}
