//! Which requests somebody wants to hear of (Kubernetes: `validateRuleWithOperations`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::admissionregistration::v1::RuleWithOperations;
use serde_json::json;

use crate::rules::{self, text};

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// A rule without a scope is of either.
pub(super) fn default(rule: &mut RuleWithOperations) {
    if text(rule.scope.as_ref()).is_empty() {
        rule.scope = Some("*".to_owned());
    }
}

pub(super) fn validate(rule: &RuleWithOperations, path: &FieldPath, errors: &mut FieldErrors) {
    let operations = rule.operations.as_deref().unwrap_or_default();
    alone(operations, "operations", &path.child("operations"), errors);
    for (i, operation) in operations.iter().enumerate() {
        rules::one_of(Some(operation), &OPERATIONS, &path.child("operations").index(i), errors);
    }
    let groups = rule.api_groups.as_deref().unwrap_or_default();
    alone(groups, "API groups", &path.child("apiGroups"), errors);
    let (versions, path_of_versions) =
        (rule.api_versions.as_deref().unwrap_or_default(), path.child("apiVersions"));
    alone(versions, "API versions", &path_of_versions, errors);
    for (i, _) in versions.iter().enumerate().filter(|(_, version)| version.is_empty()) {
        errors.required(&path_of_versions.index(i), "");
    }
    resources(rule.resources.as_deref().unwrap_or_default(), &path.child("resources"), errors);
    rules::one_of(rule.scope.as_ref(), &SCOPES, &path.child("scope"), errors);
}

/// There is at least one; and beside a `*`, no other says anything.
fn alone(list: &[String], what: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if list.is_empty() {
        errors.required(path, "");
    }
    if list.len() > 1 && list.iter().any(|one| one == "*") {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.invalid(path, format_args!("{}", json!(list)), &why);
    }
}

fn resources(list: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    if list.is_empty() {
        errors.required(path, "");
    }
    for (i, _) in list.iter().enumerate().filter(|(_, resource)| resource.is_empty()) {
        errors.required(&path.index(i), "");
    }
    let has = |what: &str| list.iter().any(|one| one == what);
    let mut refuse = |why: &str| errors.invalid(path, format_args!("{}", json!(list)), why);
    if has("*/*") && list.len() > 1 {
        refuse("if '*/*' is present, must not specify other resources");
    }
    if has("*") && list.iter().any(|one| one != "*" && !one.contains('/')) {
        refuse("if '*' is present, must not specify other resources without subresources");
    }
    for one in list {
        let Some((resource, subresource)) = one.split_once('/') else { continue };
        if resource == "*" && subresource != "*" {
            let of_it = |other: &String| {
                other != one && other.split_once('/').is_some_and(|(_, sub)| sub == subresource)
            };
            if list.iter().any(of_it) {
                refuse(&format!(
                    "if '*/{subresource}' is present, must not specify other resources with subresource '{subresource}'"
                ));
            }
        }
        if subresource == "*" && resource != "*" {
            let prefix = format!("{resource}/");
            if list.iter().any(|other| other != one && other.starts_with(&prefix)) {
                refuse(&format!(
                    "if '{resource}/*' is present, must not specify other subresources of {resource}"
                ));
            }
        }
    }
}
