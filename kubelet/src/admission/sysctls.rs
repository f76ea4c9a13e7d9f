//! Which of the kernel's settings pods may have here (Kubernetes: `pkg/kubelet/sysctl`). Pure.

use api_types::api::core::v1::Pod;

use super::fit::Rejection;
use crate::spec;

/// Those that each pod has for itself, and that harm no other.
const SAFE: [&str; 12] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
];

/// Refuses a pod that wants one that is neither safe nor allowed: by its name, or as one of those that begin so
/// (`kernel.msg*`).
pub(super) fn check(pod: &Pod, allowed: &[String]) -> Result<(), Rejection> {
    let context = spec::spec(pod).and_then(|spec| spec.security_context.as_ref());
    let wanted = context.and_then(|context| context.sysctls.as_ref()).into_iter().flatten();
    for name in wanted.map(|sysctl| dotted(&sysctl.name)) {
        if !SAFE.contains(&name.as_str()) && !allowed.iter().any(|it| covers(&dotted(it), &name)) {
            let message = format!("forbidden sysctl: {name:?} not allowlisted");
            return Err(Rejection { reason: "SysctlForbidden".to_owned(), message });
        }
    }
    Ok(())
}

/// Separated by slashes they are the same.
fn dotted(name: &str) -> String {
    name.replace('/', ".")
}

fn covers(allowed: &str, name: &str) -> bool {
    match allowed.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == allowed,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(sysctl: &str, allowed: &[&str]) -> Option<String> {
        let sysctls = json!([{"name": "kernel.shm_rmid_forced", "value": "1"}, {"name": sysctl, "value": "1"}]);
        let pod = json!({"metadata": {"name": "p"}, "spec": {
            "containers": [], "securityContext": {"sysctls": sysctls},
        }});
        let pod = serde_json::from_value(pod).unwrap();
        let allowed: Vec<String> = allowed.iter().map(|name| (*name).to_owned()).collect();
        check(&pod, &allowed).err().map(|rejection| rejection.message)
    }

    #[test]
    fn safe_ones_are_had_and_others_where_they_are_allowed() {
        let forbidden = |name: &str| Some(format!("forbidden sysctl: {name:?} not allowlisted"));
        assert_eq!(refused("net.ipv4.tcp_syncookies", &[]), None);
        assert_eq!(refused("net/ipv4/tcp_rmem", &[]), None);
        assert_eq!(refused("kernel.msgmax", &[]), forbidden("kernel.msgmax"));
        assert_eq!(refused("kernel/msgmax", &["kernel.msgmax"]), None);
        assert_eq!(refused("kernel.msgmax", &["kernel.shm*", "kernel/msg*"]), None);
        assert_eq!(refused("kernel.sem", &["kernel.msg*", "kernel.se"]), forbidden("kernel.sem"));
        let pod = serde_json::from_value(json!({"metadata": {"name": "p"}})).unwrap();
        assert_eq!(check(&pod, &[]), Ok(()));
    }
}
