//! The AppArmor profile must be the runtime's or one of the node, by field or by the annotation before it.

use std::collections::BTreeSet;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
    wording::{go_quote, join_quote, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: "appArmorProfile",
    replaces: None,
    revisions: &[Revision { since: 0, verdict: profile }],
};

const ANNOTATION_PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";

fn profile(pod: &Pod<'_>) -> Option<Violation> {
    let types = pod.settings(
        |context| context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str()),
        |context| context.app_armor_profile.as_ref().map(|profile| profile.type_.as_str()),
    );
    let bad = types.forbidden(|profile| !matches!(profile, "RuntimeDefault" | "Localhost"));
    let annotations = forbidden_annotations(pod);
    let mut setters = bad.setters();
    if !annotations.is_empty() {
        setters.push(pluralize("annotation", "annotations", annotations.len()).to_owned());
    }
    let types: BTreeSet<&str> = bad.values.into_iter().collect();
    let values: Vec<&str> =
        types.into_iter().chain(annotations.iter().map(String::as_str)).collect();
    (!setters.is_empty()).then(|| Violation {
        reason: pluralize(
            "forbidden AppArmor profile",
            "forbidden AppArmor profiles",
            values.len(),
        ),
        detail: format!(
            "{} must not set AppArmor profile type to {}",
            setters.join(" and "),
            join_quote(values)
        ),
    })
}

fn forbidden_annotations(pod: &Pod<'_>) -> BTreeSet<String> {
    pod.annotations()
        .filter(|(key, value)| key.starts_with(ANNOTATION_PREFIX) && !is_allowed(value))
        .map(|(key, value)| format!("{key}={}", go_quote(value)))
        .collect()
}

fn is_allowed(annotated: &str) -> bool {
    matches!(annotated, "" | "runtime/default") || annotated.starts_with("localhost/")
}
