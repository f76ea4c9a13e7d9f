//! A process must not gain more privileges than its parent, e.g. by set-user-ID.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
    wording,
};

pub(super) static CHECK: Check = Check {
    id: "allowPrivilegeEscalation",
    replaces: None,
    revisions: &[
        Revision { since: 8, verdict: allowed },
        Revision { since: 25, verdict: allowed_but_on_windows },
    ],
};

fn allowed(pod: &Pod<'_>) -> Option<Violation> {
    let bad = pod.containers_where(|container| {
        container.security_context.and_then(|context| context.allow_privilege_escalation)
            != Some(false)
    });
    (!bad.is_empty()).then(|| Violation {
        reason: "allowPrivilegeEscalation != false",
        detail: format!(
            "{} must set securityContext.allowPrivilegeEscalation=false",
            wording::containers(&bad)
        ),
    })
}

fn allowed_but_on_windows(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_for_windows() { None } else { allowed(pod) }
}
