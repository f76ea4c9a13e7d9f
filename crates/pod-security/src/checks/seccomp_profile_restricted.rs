//! There must be a seccomp profile, the runtime's or one of the node.

use crate::{
    Violation,
    check::{Check, Revision},
    checks::seccomp_profile_baseline::{self, REASON, forbidden_types, types},
    pod::Pod,
    wording,
};

pub(super) static CHECK: Check = Check {
    id: "seccompProfile_restricted",
    replaces: Some(seccomp_profile_baseline::ID),
    revisions: &[
        Revision { since: 19, verdict: unconfined },
        Revision { since: 25, verdict: unconfined_but_on_windows },
    ],
};

fn unconfined(pod: &Pod<'_>) -> Option<Violation> {
    let types = types(pod);
    forbidden_types(&types).or_else(|| unset(&types.unset()))
}

fn unconfined_but_on_windows(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_for_windows() { None } else { unconfined(pod) }
}

fn unset(containers: &[&str]) -> Option<Violation> {
    let must = r#"must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost""#;
    (!containers.is_empty()).then(|| Violation {
        reason: REASON,
        detail: format!("pod or {} {must}", wording::containers(containers)),
    })
}
