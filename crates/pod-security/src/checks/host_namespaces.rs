//! The host's network, processes and inter-process communication are its own.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
};

pub(super) static CHECK: Check = Check {
    id: "hostNamespaces",
    replaces: None,
    revisions: &[Revision { since: 0, verdict: host_namespaces }],
};

fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let shared: Vec<&str> = [
        (pod.spec.host_network, "hostNetwork=true"),
        (pod.spec.host_pid, "hostPID=true"),
        (pod.spec.host_ipc, "hostIPC=true"),
    ]
    .into_iter()
    .filter_map(|(is_shared, name)| (is_shared == Some(true)).then_some(name))
    .collect();
    (!shared.is_empty()).then(|| Violation { reason: "host namespaces", detail: shared.join(", ") })
}
