//! No capabilities beyond those that a runtime gives by default.

use std::collections::BTreeSet;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::{Container, Pod},
    wording::{self, join_quote},
};

pub(super) static CHECK: Check = Check {
    id: ID,
    replaces: None,
    revisions: &[Revision { since: 0, verdict: default_capabilities }],
};

pub(super) const ID: &str = "capabilities_baseline";

const ALLOWED: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

fn default_capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let detail = added_beyond(pod, &ALLOWED)?;
    Some(Violation { reason: "non-default capabilities", detail })
}

/// Who adds which capabilities that are not among those allowed.
pub(super) fn added_beyond(pod: &Pod<'_>, allowed: &[&str]) -> Option<String> {
    let bad = pod.containers_where(|container| beyond(container, allowed).next().is_some());
    let forbidden: BTreeSet<&str> =
        pod.containers.iter().flat_map(|container| beyond(container, allowed)).collect();
    (!bad.is_empty()).then(|| {
        format!(
            "{} must not include {} in securityContext.capabilities.add",
            wording::containers(&bad),
            join_quote(forbidden)
        )
    })
}

fn beyond<'a>(container: &Container<'a>, allowed: &[&str]) -> impl Iterator<Item = &'a str> {
    container
        .security_context
        .and_then(|context| context.capabilities.as_ref()?.add.as_ref())
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|capability| !allowed.contains(capability))
}
