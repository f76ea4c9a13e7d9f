//! The faults of as whom containers run, and of what they may do (Kubernetes: `validatePodSpecSecurityContext`,
//! `ValidateSecurityContext`, `validateHostUsers`).

use std::ops::RangeInclusive;

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{
    AppArmorProfile, PodSecurityContext, PodSpec, SeccompProfile, SecurityContext,
};

use super::{containers::Containers, sysctls, volume::files, windows};
use crate::rules;

/// Of users and groups.
const IDS: RangeInclusive<i64> = 0..=i32::MAX as i64;
const LOCALHOST: &str = "Localhost";
const PROFILES: [&str; 3] = [LOCALHOST, "RuntimeDefault", "Unconfined"];
const UNMASKED: &str = "Unmasked";
const NOT_OF_LOCALHOST: &str = "can only be set when seccomp type is Localhost";
/// Of a path, without its end.
const MAX_PROFILE: usize = 4095;
const WITHOUT_HOST_USERS: &str = "when `hostUsers` is false";

pub(super) fn of_pod(spec: &PodSpec, path: &FieldPath, errors: &mut FieldErrors) {
    let none = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    for (field, id) in [
        ("fsGroup", context.fs_group),
        ("runAsUser", context.run_as_user),
        ("runAsGroup", context.run_as_group),
    ] {
        rules::between(id, &IDS, &path.child(field), errors);
    }
    for (i, group) in context.supplemental_groups.iter().flatten().enumerate() {
        rules::between(Some(*group), &IDS, &path.child("supplementalGroups").index(i), errors);
    }
    if spec.share_process_namespace == Some(true) && spec.host_pid == Some(true) {
        let why = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.invalid(&path.child("shareProcessNamespace"), true, why);
    }
    sysctls::validate(spec, path, errors);
    let policy = |value: &Option<String>, field, allowed: [&str; 2], errors: &mut FieldErrors| {
        rules::supported(value.as_ref(), &allowed, &path.child(field), errors);
    };
    let of_files = ["Always", "OnRootMismatch"];
    policy(&context.fs_group_change_policy, "fsGroupChangePolicy", of_files, errors);
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    windows::validate(context.windows_options.as_ref(), &path.child("windowsOptions"), errors);
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
    let of_groups = ["Merge", "Strict"];
    policy(&context.supplemental_groups_policy, "supplementalGroupsPolicy", of_groups, errors);
    let of_labels = ["MountOption", "Recursive"];
    policy(&context.se_linux_change_policy, "seLinuxChangePolicy", of_labels, errors);
}

pub(super) fn of_container(
    context: &SecurityContext,
    host_users: bool,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    for (field, id) in [("runAsUser", context.run_as_user), ("runAsGroup", context.run_as_group)] {
        rules::between(id, &IDS, &path.child(field), errors);
    }
    let (at, masks) = (path.child("procMount"), context.proc_mount.as_ref());
    rules::supported(masks, &["Default", UNMASKED], &at, errors);
    if host_users && rules::text(masks) == UNMASKED {
        errors.invalid(&at, UNMASKED, "`hostUsers` must be false to use `Unmasked`");
    }
    seccomp(context.seccomp_profile.as_ref(), &path.child("seccompProfile"), errors);
    escalation(context, path, errors);
    windows::validate(context.windows_options.as_ref(), &path.child("windowsOptions"), errors);
    app_armor(context.app_armor_profile.as_ref(), &path.child("appArmorProfile"), errors);
}

/// Who may do all already can't be kept from gaining more.
fn escalation(context: &SecurityContext, path: &FieldPath, errors: &mut FieldErrors) {
    if context.allow_privilege_escalation != Some(false) {
        return;
    }
    if context.privileged == Some(true) {
        let why = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
        errors.invalid(path, rules::json(context), why);
    }
    let added = context.capabilities.iter().filter_map(|all| all.add.as_ref()).flatten();
    for _ in added.filter(|capability| *capability == "CAP_SYS_ADMIN") {
        if errors.is_full() {
            return;
        }
        let why =
            "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
        errors.invalid(path, rules::json(context), why);
    }
}

/// Users of a pod's own are not those of the node whose spaces it shares, and own no device.
pub(super) fn host_users(
    spec: &PodSpec,
    containers: &Containers<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    if spec.host_users != Some(false) {
        return;
    }
    for (field, shares) in
        [("hostNetwork", spec.host_network), ("HostPID", spec.host_pid), ("HostIPC", spec.host_ipc)]
    {
        if shares == Some(true) {
            errors.forbidden(&path.child(field), WITHOUT_HOST_USERS);
        }
    }
    for (path, container) in containers {
        if container.volume_devices.as_ref().is_some_and(|devices| !devices.is_empty()) {
            errors.forbidden(&path.child("volumeDevices"), WITHOUT_HOST_USERS);
        }
    }
}

fn seccomp(profile: Option<&SeccompProfile>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(SeccompProfile { type_, localhost_profile: file }) = profile else { return };
    let at = path.child("localhostProfile");
    if type_.is_empty() {
        errors.required(&path.child("type"), "type is required when seccompProfile is set");
    }
    rules::one_of(Some(type_), &PROFILES, &path.child("type"), errors);
    match file {
        None if type_ == LOCALHOST => {
            errors.required(&at, "must be set when seccomp type is Localhost");
        }
        Some(file) if type_ == LOCALHOST => files::descending(file, &at, errors),
        Some(file) => {
            let shown = format!("{{\"Type\":{type_:?},\"LocalhostProfile\":{file:?}}}");
            errors.invalid(&at, format_args!("{shown}"), NOT_OF_LOCALHOST);
        }
        None => {}
    }
}

fn app_armor(profile: Option<&AppArmorProfile>, path: &FieldPath, errors: &mut FieldErrors) {
    let Some(AppArmorProfile { type_, localhost_profile: name }) = profile else { return };
    let at = path.child("localhostProfile");
    match (type_.as_str(), name) {
        ("", _) => {
            errors.required(&path.child("type"), "type is required when appArmorProfile is set");
        }
        (LOCALHOST, name) => localhost(rules::text(name.as_ref()), &at, errors),
        ("RuntimeDefault" | "Unconfined", Some(name)) => {
            errors.invalid(&at, name, "can only be set when AppArmor type is Localhost");
        }
        ("RuntimeDefault" | "Unconfined", None) => {}
        (other, _) => errors.not_supported(&path.child("type"), other, &PROFILES),
    }
}

fn localhost(name: &str, path: &FieldPath, errors: &mut FieldErrors) {
    if name.trim() != name {
        errors.invalid(path, name, "must not be padded with whitespace");
    } else if name.is_empty() {
        errors.required(path, "must be set when AppArmor type is Localhost");
    }
    if name.len() > MAX_PROFILE {
        errors.too_long(path, MAX_PROFILE);
    }
}
