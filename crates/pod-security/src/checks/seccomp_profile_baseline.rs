//! The seccomp profile, if there is one, must be the runtime's or one of the node: by annotation at first, then by
//! field.

use std::collections::BTreeSet;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::{Pod, Settings},
    wording::{go_quote, join_quote, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: ID,
    replaces: None,
    revisions: &[
        Revision { since: 0, verdict: forbidden_annotations },
        Revision { since: 19, verdict: |pod| forbidden_types(&types(pod)) },
    ],
};

pub(super) const ID: &str = "seccompProfile_baseline";
pub(super) const REASON: &str = "seccompProfile";

const POD_ANNOTATION: &str = "seccomp.security.alpha.kubernetes.io/pod";
const CONTAINER_ANNOTATION_PREFIX: &str = "container.seccomp.security.alpha.kubernetes.io/";

fn forbidden_annotations(pod: &Pod<'_>) -> Option<Violation> {
    let forbidden: BTreeSet<String> = pod
        .annotations()
        .filter(|(key, value)| concerns(pod, key) && !is_allowed(value))
        .map(|(key, value)| format!("{key}={}", go_quote(value)))
        .collect();
    let noun = pluralize("annotation", "annotations", forbidden.len());
    (!forbidden.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!("forbidden {noun} {}", Vec::from_iter(forbidden).join(", ")),
    })
}

/// Whether an annotation is about the pod or one of its containers.
fn concerns(pod: &Pod<'_>, annotation: &str) -> bool {
    annotation == POD_ANNOTATION
        || annotation
            .strip_prefix(CONTAINER_ANNOTATION_PREFIX)
            .is_some_and(|name| pod.containers.iter().any(|container| container.name == name))
}

fn is_allowed(annotated: &str) -> bool {
    matches!(annotated, "runtime/default" | "docker/default") || annotated.starts_with("localhost/")
}

/// The types of the profiles.
pub(super) fn types<'a>(pod: &Pod<'a>) -> Settings<'a, &'a str> {
    pod.settings(
        |context| context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()),
        |context| context.seccomp_profile.as_ref().map(|profile| profile.type_.as_str()),
    )
}

pub(super) fn forbidden_types(types: &Settings<'_, &str>) -> Option<Violation> {
    let bad = types.forbidden(|profile| !matches!(profile, "RuntimeDefault" | "Localhost"));
    let setters = bad.joined_setters()?;
    let values: BTreeSet<&str> = bad.values.into_iter().collect();
    Some(Violation {
        reason: REASON,
        detail: format!(
            "{setters} must not set securityContext.seccompProfile.type to {}",
            join_quote(values)
        ),
    })
}
