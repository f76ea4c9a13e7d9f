//! What may change of a pod that waits to be scheduled: where it may go, as long as it can go nowhere that it could not
//! before (Kubernetes: `validateNodeSelectorMutation`, `validateNodeAffinityMutation`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{
    Affinity, NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
};

use crate::rules;

/// The faults of the change, which is taken back.
pub(super) fn take_back(
    new: &mut PodSpec,
    old: &PodSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    selector(new, old, &path.child("nodeSelector"), errors);
    affinity(new, old, &path.child("affinity").child("nodeAffinity"), errors);
}

fn selector(new: &mut PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let given = new.node_selector.as_ref();
    let mut before = old.node_selector.iter().flatten();
    if !before.all(|(key, value)| given.and_then(|given| given.get(key)) == Some(value)) {
        let why = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        errors.invalid(path, rules::json(&new.node_selector), why);
    }
    new.node_selector.clone_from(&old.node_selector);
}

fn affinity(new: &mut PodSpec, old: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let before = old.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let now = new.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    if now == before {
        return;
    }
    terms(now, before, &path.child("requiredDuringSchedulingIgnoredDuringExecution"), errors);
    let affinity = new.affinity.get_or_insert_default();
    affinity.node_affinity = before.cloned();
    if old.affinity.is_none() && *affinity == Affinity::default() {
        new.affinity = None;
    }
}

/// Each term that is there may be narrowed; where there is none, any may come.
fn terms(
    now: Option<&NodeAffinity>,
    before: Option<&NodeAffinity>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let [now, before] = [now, before].map(|affinity| {
        let required = affinity?.required_during_scheduling_ignored_during_execution.as_ref();
        required.map(|required| required.node_selector_terms.as_slice())
    });
    let (path, old) = (path.child("nodeSelectorTerms"), before.unwrap_or_default());
    let new = now.unwrap_or_default();
    if !old.is_empty() && old.len() != new.len() {
        let shown = now.map_or("null".to_owned(), |new| list(new, term));
        let why = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return errors.invalid(&path, format_args!("{shown}"), why);
    }
    for (i, (new, _)) in
        new.iter().zip(old).enumerate().filter(|(_, (new, old))| !is_narrowed(new, old))
    {
        let why = "only additions are allowed (no mutations or deletions)";
        errors.invalid(&path.index(i), format_args!("{}", term(new)), why);
    }
}

/// Of an empty term nothing holds, to which nothing can be added.
fn is_narrowed(new: &NodeSelectorTerm, old: &NodeSelectorTerm) -> bool {
    let parts = |term: &NodeSelectorTerm| {
        [term.match_expressions.clone(), term.match_fields.clone()].map(Option::unwrap_or_default)
    };
    let (new, old) = (parts(new), parts(old));
    let was_empty = old.iter().all(Vec::is_empty);
    if was_empty {
        return new.iter().all(Vec::is_empty);
    }
    new.iter().zip(&old).all(|(new, old)| new.starts_with(old))
}

/// As Kubernetes shows it.
fn term(term: &NodeSelectorTerm) -> String {
    let [expressions, fields] = [&term.match_expressions, &term.match_fields]
        .map(|all| all.as_ref().map_or("null".to_owned(), |all| list(all, requirement)));
    format!("{{\"MatchExpressions\":{expressions},\"MatchFields\":{fields}}}")
}

fn requirement(wanted: &NodeSelectorRequirement) -> String {
    let NodeSelectorRequirement { key, operator, values } = wanted;
    let values = rules::json(values);
    format!("{{\"Key\":{key:?},\"Operator\":{operator:?},\"Values\":{values:?}}}")
}

fn list<T>(all: &[T], shown: fn(&T) -> String) -> String {
    format!("[{}]", all.iter().map(shown).collect::<Vec<_>>().join(","))
}
