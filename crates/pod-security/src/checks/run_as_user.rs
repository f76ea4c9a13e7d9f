//! No container may be started as user 0, unless the pod's root is nobody on the host.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
};

pub(super) static CHECK: Check = Check {
    id: "runAsUser",
    replaces: None,
    revisions: &[
        Revision { since: 23, verdict: root },
        Revision { since: 35, verdict: root_of_the_host },
    ],
};

fn root(pod: &Pod<'_>) -> Option<Violation> {
    let setters = pod
        .settings(|context| context.run_as_user, |context| context.run_as_user)
        .forbidden(|user| user == 0)
        .joined_setters()?;
    Some(Violation { reason: "runAsUser=0", detail: format!("{setters} must not set runAsUser=0") })
}

fn root_of_the_host(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { root(pod) }
}
