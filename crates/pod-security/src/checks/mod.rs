//! The checks, each with what it was from which version on.

mod allow_privilege_escalation;
mod app_armor_profile;
mod capabilities_baseline;
mod capabilities_restricted;
mod host_namespaces;
mod host_path_volumes;
mod host_ports;
mod host_probes_and_host_lifecycle;
mod privileged;
mod proc_mount;
mod proc_mount_restricted;
mod restricted_volumes;
mod run_as_non_root;
mod run_as_user;
mod se_linux_options;
mod seccomp_profile_baseline;
mod seccomp_profile_restricted;
mod sysctls;
mod windows_host_process;

use crate::{Violation, pod::Pod};

/// A check, by Kubernetes' ID.
pub(crate) struct Check {
    pub(crate) id: &'static str,
    /// The check of the baseline that it is the stricter form of.
    pub(crate) replaces: Option<&'static str>,
    /// The oldest first.
    revisions: &'static [Revision],
}

/// A check as it is from a minor version on.
pub(crate) struct Revision {
    since: u64,
    pub(crate) verdict: fn(&Pod<'_>) -> Option<Violation>,
}

/// By their IDs: that is the order of what they find.
pub(crate) static BASELINE: [&Check; 12] = [
    &app_armor_profile::CHECK,
    &capabilities_baseline::CHECK,
    &host_namespaces::CHECK,
    &host_path_volumes::CHECK,
    &host_ports::CHECK,
    &host_probes_and_host_lifecycle::CHECK,
    &privileged::CHECK,
    &proc_mount::CHECK,
    &se_linux_options::CHECK,
    &seccomp_profile_baseline::CHECK,
    &sysctls::CHECK,
    &windows_host_process::CHECK,
];

/// By their IDs, behind those of the baseline.
pub(crate) static RESTRICTED: [&Check; 7] = [
    &allow_privilege_escalation::CHECK,
    &capabilities_restricted::CHECK,
    &proc_mount_restricted::CHECK,
    &restricted_volumes::CHECK,
    &run_as_non_root::CHECK,
    &run_as_user::CHECK,
    &seccomp_profile_restricted::CHECK,
];

impl Check {
    /// What it is at a minor version; nothing yet before its first.
    pub(crate) fn revision(&self, minor: u64) -> Option<&'static Revision> {
        self.revisions.iter().rfind(|revision| revision.since <= minor)
    }
}
