//! All capabilities must be dropped; only that of binding to low ports may be added.

use crate::{
    Violation,
    check::{Check, Revision},
    checks::capabilities_baseline::{self, added_beyond},
    pod::{Container, Pod},
    wording,
};

pub(super) static CHECK: Check = Check {
    id: "capabilities_restricted",
    replaces: Some(capabilities_baseline::ID),
    revisions: &[
        Revision { since: 22, verdict: unrestricted },
        Revision { since: 25, verdict: unrestricted_but_on_windows },
    ],
};

fn unrestricted(pod: &Pod<'_>) -> Option<Violation> {
    let details: Vec<String> =
        not_dropped(pod).into_iter().chain(added_beyond(pod, &["NET_BIND_SERVICE"])).collect();
    (!details.is_empty())
        .then(|| Violation { reason: "unrestricted capabilities", detail: details.join("; ") })
}

fn unrestricted_but_on_windows(pod: &Pod<'_>) -> Option<Violation> {
    if pod.is_for_windows() { None } else { unrestricted(pod) }
}

fn not_dropped(pod: &Pod<'_>) -> Option<String> {
    let bad = pod.containers_where(|container| !drops_all(container));
    (!bad.is_empty()).then(|| {
        format!(
            r#"{} must set securityContext.capabilities.drop=["ALL"]"#,
            wording::containers(&bad)
        )
    })
}

fn drops_all(container: &Container<'_>) -> bool {
    container
        .security_context
        .and_then(|context| context.capabilities.as_ref()?.drop.as_ref())
        .is_some_and(|dropped| dropped.iter().any(|capability| capability == "ALL"))
}
