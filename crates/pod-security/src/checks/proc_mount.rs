//! What is masked of `/proc` must stay masked, unless the pod's root is nobody on the host.

use std::collections::BTreeSet;

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
    wording::join_quote,
};

pub(super) static CHECK: Check = Check {
    id: ID,
    replaces: None,
    revisions: &[
        Revision { since: 0, verdict: unmasked },
        Revision { since: 35, verdict: unmasked_for_host_users },
    ],
};

pub(super) const ID: &str = "procMount";

pub(super) fn unmasked(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod
        .container_settings(|context| context.proc_mount.as_deref())
        .forbidden(|mount| mount != "Default");
    let setters = bad.joined_setters()?;
    let types: BTreeSet<&str> = bad.values.into_iter().collect();
    Some(Violation {
        reason: "procMount",
        detail: format!(
            "{setters} must not set securityContext.procMount to {}",
            join_quote(types)
        ),
    })
}

fn unmasked_for_host_users(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { unmasked(pod) }
}
