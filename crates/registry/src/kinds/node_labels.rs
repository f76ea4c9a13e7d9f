//! Labels of nodes that are not to be used any more, and what is told of who selects by them (Kubernetes: `pkg/api/node/util.go`).

use api_machinery::{FieldPath, names};
use api_types::{
    api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm},
    meta::LabelSelector,
};

use crate::warnings::tell;

const DEPRECATED: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];

/// What is told of a label, if it is one of these.
pub(crate) fn deprecation(key: &str) -> Option<&'static str> {
    DEPRECATED.iter().find(|(label, _)| *label == key).map(|(_, why)| *why)
}

/// Adds what is told of a label's key, which is also named.
pub(crate) fn key(key: &str, path: &FieldPath, warnings: &mut Vec<String>) {
    if let Some(why) = deprecation(key) {
        tell(path, format_args!("{key} is {why}"), warnings);
    }
}

/// Adds what is told of the keys of a term that has to hold.
pub(crate) fn term(term: &NodeSelectorTerm, path: &FieldPath, warnings: &mut Vec<String>) {
    for (at, wanted) in expressions(term, path) {
        key(&wanted.key, &at.child("key"), warnings);
    }
}

/// The same of one that need not hold, whose values may be no labels' values.
pub(crate) fn preference(term: &NodeSelectorTerm, path: &FieldPath, warnings: &mut Vec<String>) {
    for (at, wanted) in expressions(term, path) {
        key(&wanted.key, &at.child("key"), warnings);
        for (index, value) in wanted.values.iter().flatten().enumerate() {
            for fault in names::label_value(value) {
                let what = format!("{value} is invalid, {fault}");
                tell(&at.child("values").index(index), what, warnings);
            }
        }
    }
}

fn expressions<'a>(
    term: &'a NodeSelectorTerm,
    path: &FieldPath,
) -> impl Iterator<Item = (FieldPath, &'a NodeSelectorRequirement)> {
    let path = path.child("matchExpressions");
    let all = term.match_expressions.iter().flatten().enumerate();
    all.map(move |(index, wanted)| (path.index(index), wanted))
}

/// Adds what is told of a selector's keys.
pub(crate) fn selector(selector: &LabelSelector, path: &FieldPath, warnings: &mut Vec<String>) {
    for (index, wanted) in selector.match_expressions.iter().flatten().enumerate() {
        let at = path.child("matchExpressions").index(index).child("key");
        key(&wanted.key, &at, warnings);
    }
    for label in selector.match_labels.iter().flatten().map(|(label, _)| label) {
        if let Some(why) = deprecation(label) {
            tell(&path.child("matchLabels").child(label), why, warnings);
        }
    }
}
