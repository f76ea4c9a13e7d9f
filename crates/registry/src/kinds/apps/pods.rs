//! Which pods a kind of the group has, and what they are like.

use api_machinery::{FieldErrors, FieldPath, LabelSelector};
use api_types::{
    api::core::v1::{Container, PodTemplateSpec},
    meta,
};

use crate::{
    Object,
    kinds::core::pod::{template, warnings},
    label_selector, rules,
    warnings::{has_new_generation, name_of_pods},
};

/// Something of each container, for a column.
pub(crate) fn of_containers(
    template: &PodTemplateSpec,
    get: impl Fn(&Container) -> Option<&String>,
) -> String {
    let containers = template.spec.iter().flat_map(|spec| &spec.containers);
    containers.map(|container| rules::text(get(container))).collect::<Vec<_>>().join(",")
}

/// What is told of an object whose pods are called after it: of the name of a new one, and of a template that may be new.
pub(super) fn warnings<K: Object>(
    new: &K,
    old: Option<&K>,
    template: Option<&PodTemplateSpec>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    if old.is_none() {
        name_of_pods(new.metadata(), &mut warnings);
    }
    if let Some(template) = template.filter(|_| has_new_generation(new, old)) {
        warnings::template(template, &FieldPath::new("spec").child("template"), &mut warnings);
    }
    warnings
}

/// The selector if it is one that selects something.
pub(super) fn selector(
    selector: &meta::LabelSelector,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Option<LabelSelector> {
    match LabelSelector::try_from(selector) {
        Ok(selector) if selector.is_everything() => {
            errors.required(path, "must select the pods of the template by their labels");
            None
        }
        Ok(selector) => Some(selector),
        Err(error) => {
            let shown = serde_json::to_value(selector).unwrap_or_default();
            errors.invalid(path, format_args!("{shown}"), &error.to_string());
            None
        }
    }
}

/// The same of a kind that Kubernetes checks label by label, `statefulset`.
pub(super) fn own_selector(
    selector: &meta::LabelSelector,
    kind: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) -> Option<LabelSelector> {
    label_selector::validate(selector, path, errors);
    let parsed = LabelSelector::try_from(selector).ok()?;
    if parsed.is_everything() {
        let shown = serde_json::to_value(selector).unwrap_or_default();
        let why = format!("empty selector is invalid for {kind}");
        errors.invalid(path, format_args!("{shown}"), &why);
        return None;
    }
    Some(parsed)
}

/// The faults of the template of pods that the selector is to find, and that are replaced when they end.
pub(super) fn template(
    selector: Option<&LabelSelector>,
    pod: &PodTemplateSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if let Some(selector) = selector {
        labels_match(selector, pod, path, errors);
    }
    template::validate(pod, path, errors);
    restart_policy(pod, path, errors);
}

/// The pods of a set have no end, so there is no time until it.
pub(super) fn without_deadline(
    pod: &PodTemplateSpec,
    kind: &str,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if pod.spec.as_ref().is_some_and(|spec| spec.active_deadline_seconds.is_some()) {
        let why = format!("activeDeadlineSeconds in {kind} is not Supported");
        errors.forbidden(&path.child("spec").child("activeDeadlineSeconds"), &why);
    }
}

/// The faults of labels that the selector does not find.
pub(crate) fn labels_match(
    selector: &LabelSelector,
    pod: &PodTemplateSpec,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let labels = pod.metadata.as_ref().and_then(|m| m.labels.clone()).unwrap_or_default();
    if !selector.matches(&labels) {
        let shown = serde_json::to_value(&labels).unwrap_or_default();
        let path = path.child("metadata").child("labels");
        errors.invalid(
            &path,
            format_args!("{shown}"),
            "`selector` does not match template `labels`",
        );
    }
}

/// Pods of a set are replaced when they end, so they must not end by themselves.
fn restart_policy(pod: &PodTemplateSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let policy = pod.spec.as_ref().and_then(|s| s.restart_policy.as_ref());
    let known = ["OnFailure", "Never"];
    if let Some(policy) = policy.filter(|p| known.contains(&p.as_str())) {
        errors.not_supported(&path.child("spec").child("restartPolicy"), policy, &["Always"]);
    }
}
