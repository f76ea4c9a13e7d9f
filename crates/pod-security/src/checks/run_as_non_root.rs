//! A container must be one that is not started as root, unless the pod's root is nobody on the host.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
    wording,
};

pub(super) static CHECK: Check = Check {
    id: "runAsNonRoot",
    replaces: None,
    revisions: &[
        Revision { since: 0, verdict: root },
        Revision { since: 35, verdict: root_of_the_host },
    ],
};

fn root(pod: &Pod<'_>) -> Option<Violation> {
    let settings =
        pod.settings(|context| context.run_as_non_root, |context| context.run_as_non_root);
    let detail = match settings.forbidden(|non_root| !non_root).joined_setters() {
        Some(setters) => format!("{setters} must not set securityContext.runAsNonRoot=false"),
        None => unsaid(&settings.unset())?,
    };
    Some(Violation { reason: "runAsNonRoot != true", detail })
}

fn unsaid(containers: &[&str]) -> Option<String> {
    (!containers.is_empty()).then(|| {
        format!(
            "pod or {} must set securityContext.runAsNonRoot=true",
            wording::containers(containers)
        )
    })
}

fn root_of_the_host(pod: &Pod<'_>) -> Option<Violation> {
    if pod.has_user_namespace() { None } else { root(pod) }
}
