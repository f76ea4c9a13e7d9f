//! Which requests, of whom, a rule of a FlowSchema is about.

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::flowcontrol::v1::{
    NonResourcePolicyRule, PolicyRulesWithSubjects, ResourcePolicyRule, Subject,
};

use crate::rules;

/// Stands for all of them.
const ALL: &str = "*";
const VERBS: [&str; 9] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];
const KINDS: [&str; 3] = ["Group", "ServiceAccount", "User"];

/// The faults of a rule.
pub(super) fn validate(rule: &PolicyRulesWithSubjects, path: &FieldPath, errors: &mut FieldErrors) {
    if rule.subjects.is_empty() {
        errors.required(&path.child("subjects"), "subjects must contain at least one value");
    }
    for (index, subject) in rule.subjects.iter().enumerate() {
        validate_subject(subject, &path.child("subjects").index(index), errors);
    }
    let resources = rule.resource_rules.as_deref().unwrap_or_default();
    let others = rule.non_resource_rules.as_deref().unwrap_or_default();
    if resources.is_empty() && others.is_empty() {
        let why = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.required(path, why);
    }
    for (index, rule) in resources.iter().enumerate() {
        validate_resources(rule, &path.child("resourceRules").index(index), errors);
    }
    for (index, rule) in others.iter().enumerate() {
        validate_paths(rule, &path.child("nonResourceRules").index(index), errors);
    }
}

fn validate_subject(subject: &Subject, path: &FieldPath, errors: &mut FieldErrors) {
    let fields = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let kind = subject.kind.as_str();
    if !KINDS.contains(&kind) {
        return errors.not_supported(&path.child("kind"), kind, &KINDS);
    }
    for (of, field, is_given) in fields {
        let path = path.child(field);
        match (of == kind, is_given) {
            (true, false) => {
                errors.required(&path, &format!("{field} is required when subject kind is '{of}'"));
            }
            (false, true) => {
                let why = format!("{field} is forbidden when subject kind is not '{of}'");
                errors.forbidden(&path, &why);
            }
            _ => {}
        }
    }
    validate_name(subject, path, errors);
}

fn validate_name(subject: &Subject, path: &FieldPath, errors: &mut FieldErrors) {
    let kind = subject.kind.as_str();
    match (kind, &subject.service_account, &subject.user, &subject.group) {
        ("ServiceAccount", Some(account), ..) => {
            let path = path.child("serviceAccount");
            if account.name != ALL {
                let path = path.child("name");
                rules::named(&account.name, names::dns1123_subdomain, &path, errors);
            }
            let path = path.child("namespace");
            match account.namespace.as_str() {
                "" => errors.required(&path, "must specify namespace for service account"),
                namespace => rules::follows(namespace, names::dns1123_label, &path, errors),
            }
        }
        ("User", _, Some(user), _) if user.name.is_empty() => {
            errors.required(&path.child("user").child("name"), "");
        }
        ("Group", _, _, Some(group)) if group.name.is_empty() => {
            errors.required(&path.child("group").child("name"), "");
        }
        _ => {}
    }
}

fn validate_resources(rule: &ResourcePolicyRule, path: &FieldPath, errors: &mut FieldErrors) {
    validate_verbs(&rule.verbs, path, errors);
    let lists = [
        ("apiGroups", &rule.api_groups, "api group", "api groups"),
        ("resources", &rule.resources, "resource", "resources"),
    ];
    for (field, list, one, several) in lists {
        let path = path.child(field);
        if list.is_empty() {
            errors.required(&path, &format!("resource rules must supply at least one {one}"));
        } else {
            all_or_some(list, several, &path, errors);
        }
    }
    let (path, namespaces) =
        (path.child("namespaces"), rule.namespaces.as_deref().unwrap_or_default());
    if namespaces.is_empty() && rule.cluster_scope != Some(true) {
        let why = "resource rules that are not cluster scoped must supply at least one namespace";
        errors.required(&path, why);
    }
    if all_or_some(namespaces, "namespaces", &path, errors) {
        return;
    }
    for (index, namespace) in namespaces.iter().enumerate() {
        for fault in names::dns1123_label(namespace) {
            let why = format!("each member of this list must be '*' or a DNS-1123 label; {fault}");
            errors.invalid(&path.index(index), namespace, &why);
        }
    }
}

fn validate_paths(rule: &NonResourcePolicyRule, path: &FieldPath, errors: &mut FieldErrors) {
    validate_verbs(&rule.verbs, path, errors);
    let path = path.child("nonResourceURLs");
    if rule.non_resource_urls.is_empty() {
        errors.required(&path, "nonResourceURLs must contain at least one value");
    }
    if all_or_some(&rule.non_resource_urls, "non-resource URLs", &path, errors) {
        return;
    }
    for (index, url) in rule.non_resource_urls.iter().enumerate() {
        if let Some(why) = fault_of_url(url) {
            errors.invalid(&path.index(index), url, why);
        }
    }
}

fn fault_of_url(url: &str) -> Option<&'static str> {
    let is_end = |at: usize| at + 1 == url.len() && url.ends_with("/*");
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        _ if !url.starts_with('/') => Some("must start with slash"),
        _ if url.contains(' ') => Some("must not contain white-space"),
        _ if url.contains("//") => Some("must not contain double slash"),
        _ if url.find(ALL).is_some_and(|at| !is_end(at)) => {
            Some("wildcard can only do suffix matching")
        }
        _ => None,
    }
}

fn validate_verbs(verbs: &[String], path: &FieldPath, errors: &mut FieldErrors) {
    let path = path.child("verbs");
    if verbs.is_empty() {
        return errors.required(&path, "verbs must contain at least one value");
    }
    if all_or_some(verbs, "verbs", &path, errors) {
        return;
    }
    if verbs.iter().any(|verb| !VERBS.contains(&verb.as_str())) {
        errors.not_supported(&path, verbs.join(","), &VERBS);
    }
}

/// Whether the list means all, which it must then say alone.
fn all_or_some(list: &[String], what: &str, path: &FieldPath, errors: &mut FieldErrors) -> bool {
    let means_all = list.iter().any(|one| one == ALL);
    if means_all && list.len() > 1 {
        let why = format!("if '*' is present, must not specify other {what}");
        errors.invalid(path, list, &why);
    }
    means_all
}
