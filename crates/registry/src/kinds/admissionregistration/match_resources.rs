//! What a policy, or its binding, is for, and what its parameters are (Kubernetes: `validateMatchResources`, `validateParamRef`).

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::{
    api::admissionregistration::v1::{
        MatchResources, NamedRuleWithOperations, ParamRef, RuleWithOperations,
    },
    meta,
};

use super::rule;
use crate::{
    label_selector,
    rules::{self, text},
};

const MATCH_POLICIES: [&str; 2] = ["Equivalent", "Exact"];
const NOT_FOUND_ACTIONS: [&str; 2] = ["Allow", "Deny"];
const EXCLUSIVE: &str = "name and selector are mutually exclusive";

pub(super) fn default(resources: &mut MatchResources) {
    resources.match_policy.get_or_insert_with(|| "Equivalent".to_owned());
    resources.namespace_selector.get_or_insert_default();
    resources.object_selector.get_or_insert_default();
    let listed = resources.resource_rules.iter_mut().flatten();
    for rule in listed.chain(resources.exclude_resource_rules.iter_mut().flatten()) {
        rule.scope.get_or_insert_with(|| "*".to_owned());
    }
}

pub(super) fn validate(resources: &MatchResources, path: &FieldPath, errors: &mut FieldErrors) {
    let policy = resources.match_policy.as_ref();
    rules::one_of(policy, &MATCH_POLICIES, &path.child("matchPolicy"), errors);
    selector(resources.namespace_selector.as_ref(), &path.child("namespaceSelector"), errors);
    selector(resources.object_selector.as_ref(), &path.child("objectSelector"), errors);
    let lists = [
        ("resourceRules", &resources.resource_rules),
        ("excludeResourceRules", &resources.exclude_resource_rules),
    ];
    for (field, list) in lists {
        for (i, rule) in list.iter().flatten().enumerate() {
            named_rule(rule, &path.child(field).index(i), errors);
        }
    }
}

/// What a policy is for: something at least.
pub(super) fn constraints(
    resources: Option<&MatchResources>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(resources) = resources else { return errors.required(path, "") };
    validate(resources, path, errors);
    if resources.resource_rules.as_ref().is_none_or(Vec::is_empty) {
        errors.required(&path.child("resourceRules"), "");
    }
}

/// What is about to be deleted, or a connection, can't be changed.
pub(super) fn changes_alone(
    resources: Option<&MatchResources>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let path = path.child("resourceRules").child("operations");
    let rules = resources.iter().flat_map(|it| it.resource_rules.iter().flatten());
    for operation in rules.flat_map(|rule| rule.operations.iter().flatten()) {
        rules::one_of(Some(operation), &["CREATE", "UPDATE"], &path, errors);
    }
}

fn selector(selector: Option<&meta::LabelSelector>, path: &FieldPath, errors: &mut FieldErrors) {
    if let Some(selector) = selector {
        label_selector::validate(selector, path, errors);
    }
}

fn named_rule(rule: &NamedRuleWithOperations, path: &FieldPath, errors: &mut FieldErrors) {
    let mut seen = BTreeSet::new();
    for (i, name) in rule.resource_names.iter().flatten().enumerate() {
        let path = path.child("resourceNames").index(i);
        rules::follows(name, names::path_segment, &path, errors);
        rules::unique(&mut seen, name, &path, errors);
    }
    rule::validate(&without_names(rule), path, errors);
}

fn without_names(rule: &NamedRuleWithOperations) -> RuleWithOperations {
    let rule = rule.clone();
    RuleWithOperations {
        api_groups: rule.api_groups,
        api_versions: rule.api_versions,
        operations: rule.operations,
        resources: rule.resources,
        scope: rule.scope,
    }
}

/// Which objects a policy's parameters are.
pub(super) fn param_ref(params: &ParamRef, path: &FieldPath, errors: &mut FieldErrors) {
    let name = text(params.name.as_ref());
    if !name.is_empty() {
        rules::follows(name, names::path_segment, &path.child("name"), errors);
    }
    match (&params.selector, name) {
        (None, "") => errors.required(path, "one of name or selector must be specified"),
        (Some(given), "") => selector(Some(given), &path.child("selector"), errors),
        (Some(given), _) => {
            errors.forbidden(&path.child("name"), EXCLUSIVE);
            selector(Some(given), &path.child("selector"), errors);
            errors.forbidden(&path.child("selector"), EXCLUSIVE);
        }
        (None, _) => {}
    }
    let (action, path) =
        (params.parameter_not_found_action.as_ref(), path.child("parameterNotFoundAction"));
    if text(action).is_empty() {
        return errors.required(&path, "");
    }
    rules::one_of(action, &NOT_FOUND_ACTIONS, &path, errors);
}
