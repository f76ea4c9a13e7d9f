//! Only those kernel settings that concern nobody but the pod; more became such.

use crate::{
    Violation,
    check::{Check, Revision},
    pod::Pod,
};

pub(super) static CHECK: Check = Check {
    id: "sysctls",
    replaces: None,
    revisions: &[
        Revision { since: 0, verdict: |pod| unsafe_sysctls(pod, 0) },
        Revision { since: 27, verdict: |pod| unsafe_sysctls(pod, 27) },
        Revision { since: 29, verdict: |pod| unsafe_sysctls(pod, 29) },
        Revision { since: 32, verdict: |pod| unsafe_sysctls(pod, 32) },
    ],
};

/// With the minor version since which it is taken for safe.
const SAFE: [(u64, &str); 12] = [
    (0, "kernel.shm_rmid_forced"),
    (0, "net.ipv4.ip_local_port_range"),
    (0, "net.ipv4.tcp_syncookies"),
    (0, "net.ipv4.ping_group_range"),
    (0, "net.ipv4.ip_unprivileged_port_start"),
    (27, "net.ipv4.ip_local_reserved_ports"),
    (29, "net.ipv4.tcp_keepalive_time"),
    (29, "net.ipv4.tcp_fin_timeout"),
    (29, "net.ipv4.tcp_keepalive_intvl"),
    (29, "net.ipv4.tcp_keepalive_probes"),
    (32, "net.ipv4.tcp_rmem"),
    (32, "net.ipv4.tcp_wmem"),
];

fn unsafe_sysctls(pod: &Pod<'_>, minor: u64) -> Option<Violation> {
    let is_safe = |name: &str| SAFE.iter().any(|(since, safe)| *since <= minor && *safe == name);
    let forbidden: Vec<&str> = pod
        .spec
        .security_context
        .iter()
        .flat_map(|context| context.sysctls.iter().flatten())
        .map(|sysctl| sysctl.name.as_str())
        .filter(|name| !is_safe(name))
        .collect();
    (!forbidden.is_empty())
        .then(|| Violation { reason: "forbidden sysctls", detail: forbidden.join(", ") })
}
