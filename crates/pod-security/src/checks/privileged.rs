//! A privileged container is root on the host.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
};

pub(super) static CHECK: Check = Check {
    id: "privileged",
    replaces: None,
    revisions: &[Revision { since: 0, verdict: privileged }],
};

fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod
        .container_settings(|context| context.privileged)
        .forbidden(|privileged| privileged)
        .joined_setters()?;
    Some(Violation {
        reason: "privileged",
        detail: format!("{setters} must not set securityContext.privileged=true"),
    })
}
