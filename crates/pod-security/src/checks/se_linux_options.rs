//! The SELinux type must be one of those for containers; user and role are not for a pod to choose.

use std::collections::BTreeSet;

use api_types::api::core::v1::SELinuxOptions;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
    wording::{join_quote, pluralize},
};

pub(super) static CHECK: Check = Check {
    id: "seLinuxOptions",
    replaces: None,
    revisions: &[
        Revision { since: 0, verdict: |pod| options(pod, &TYPES) },
        Revision { since: 31, verdict: |pod| options(pod, &TYPES_WITH_ENGINE) },
    ],
};

const TYPES: [&str; 4] = ["", "container_t", "container_init_t", "container_kvm_t"];
const TYPES_WITH_ENGINE: [&str; 5] =
    ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

fn options(pod: &Pod<'_>, types: &[&str]) -> Option<Violation> {
    let bad = pod
        .settings(
            |context| context.se_linux_options.as_ref(),
            |context| context.se_linux_options.as_ref(),
        )
        .forbidden(|options| !faults(&[options], types).is_empty());
    let setters = bad.joined_setters()?;
    Some(Violation {
        reason: "seLinuxOptions",
        detail: format!(
            "{setters} set forbidden securityContext.seLinuxOptions: {}",
            faults(&bad.values, types).join("; ")
        ),
    })
}

fn faults(options: &[&SELinuxOptions], allowed: &[&str]) -> Vec<String> {
    let types: BTreeSet<&str> = options
        .iter()
        .filter_map(|options| options.type_.as_deref())
        .filter(|kind| !allowed.contains(kind))
        .collect();
    let noun = pluralize("type", "types", types.len());
    let types = (!types.is_empty()).then(|| format!("{noun} {}", join_quote(types)));
    let user = options.iter().any(|options| is_set(options.user.as_deref()));
    let role = options.iter().any(|options| is_set(options.role.as_deref()));
    [
        types,
        user.then(|| "user may not be set".to_owned()),
        role.then(|| "role may not be set".to_owned()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn is_set(text: Option<&str>) -> bool {
    text.is_some_and(|text| !text.is_empty())
}
