//! What a pod may say for one operating system and not for another (Kubernetes: `validateOS`, `validateLinux`,
//! `validateWindows`, `validateWindowsHostProcessPod`).

use api_machinery::{FieldErrors, FieldPath};
use api_types::api::core::v1::{PodSecurityContext, PodSpec, SecurityContext};

use super::containers::Containers;

const OF_LINUX: &str = "cannot be set for a windows pod";
const OF_WINDOWS: &str = "windows options cannot be set for a linux pod";

pub(super) fn validate(
    spec: &PodSpec,
    containers: &Containers<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let Some(os) = &spec.os else { return };
    match os.name.as_str() {
        "" => errors.required(&path.child("os").child("name"), ""),
        "linux" => linux(spec, containers, path, errors),
        "windows" => windows(spec, containers, path, errors),
        other => errors.not_supported(&path.child("os"), other, &["linux", "windows"]),
    }
}

fn linux(spec: &PodSpec, containers: &Containers<'_>, path: &FieldPath, errors: &mut FieldErrors) {
    let at = |path: &FieldPath| path.child("securityContext.windowsOptions");
    if spec.security_context.as_ref().is_some_and(|context| context.windows_options.is_some()) {
        errors.forbidden(&at(path), OF_WINDOWS);
    }
    for (path, container) in containers {
        let context = container.security_context.as_ref();
        if context.is_some_and(|context| context.windows_options.is_some()) {
            errors.forbidden(&at(path), OF_WINDOWS);
        }
    }
}

fn windows(
    spec: &PodSpec,
    containers: &Containers<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let none = PodSecurityContext::default();
    let context = spec.security_context.as_ref().unwrap_or(&none);
    for (field, _) in of_pods(spec, context).into_iter().filter(|(_, is_set)| *is_set) {
        errors.forbidden(&path.child(field), OF_LINUX);
    }
    for (path, container) in containers {
        let Some(context) = &container.security_context else { continue };
        for (field, _) in of_containers(context).into_iter().filter(|(_, is_set)| *is_set) {
            errors.forbidden(&path.child("securityContext").child(field), OF_LINUX);
        }
    }
}

fn of_pods(spec: &PodSpec, context: &PodSecurityContext) -> [(&'static str, bool); 15] {
    let sysctls = context.sysctls.as_ref();
    [
        ("securityContext.appArmorProfile", context.app_armor_profile.is_some()),
        ("securityContext.seLinuxOptions", context.se_linux_options.is_some()),
        ("hostUsers", spec.host_users.is_some()),
        ("hostPID", spec.host_pid == Some(true)),
        ("hostIPC", spec.host_ipc == Some(true)),
        ("securityContext.seccompProfile", context.seccomp_profile.is_some()),
        ("securityContext.fsGroup", context.fs_group.is_some()),
        ("securityContext.fsGroupChangePolicy", context.fs_group_change_policy.is_some()),
        ("securityContext.sysctls", sysctls.is_some_and(|sysctls| !sysctls.is_empty())),
        ("shareProcessNamespace", spec.share_process_namespace.is_some()),
        ("securityContext.runAsUser", context.run_as_user.is_some()),
        ("securityContext.runAsGroup", context.run_as_group.is_some()),
        ("securityContext.supplementalGroups", context.supplemental_groups.is_some()),
        ("securityContext.supplementalGroupsPolicy", context.supplemental_groups_policy.is_some()),
        ("securityContext.seLinuxChangePolicy", context.se_linux_change_policy.is_some()),
    ]
}

fn of_containers(context: &SecurityContext) -> [(&'static str, bool); 10] {
    [
        ("appArmorProfile", context.app_armor_profile.is_some()),
        ("seLinuxOptions", context.se_linux_options.is_some()),
        ("seccompProfile", context.seccomp_profile.is_some()),
        ("capabilities", context.capabilities.is_some()),
        ("readOnlyRootFilesystem", context.read_only_root_filesystem.is_some()),
        ("privileged", context.privileged.is_some()),
        ("allowPrivilegeEscalation", context.allow_privilege_escalation.is_some()),
        ("procMount", context.proc_mount.is_some()),
        ("runAsUser", context.run_as_user.is_some()),
        ("runAsGroup", context.run_as_group.is_some()),
    ]
}

/// Containers of Windows that are processes of the node are so all together, and on its network.
pub(super) fn host_process(
    spec: &PodSpec,
    containers: &Containers<'_>,
    path: &FieldPath,
    errors: &mut FieldErrors,
) {
    let options = spec.security_context.as_ref().and_then(|it| it.windows_options.as_ref());
    let of_pod = options.and_then(|options| options.host_process);
    let mut on_host = 0;
    for (path, container) in containers {
        let options =
            container.security_context.as_ref().and_then(|it| it.windows_options.as_ref());
        let own = options.and_then(|options| options.host_process);
        if let (Some(pod), Some(own)) = (of_pod, own)
            && pod != own
        {
            let at = path.child("securityContext.windowsOptions.hostProcess");
            let why =
                format!("pod hostProcess value must be identical if both are specified, was {pod}");
            errors.invalid(&at, own, &why);
        }
        on_host += usize::from(own.or(of_pod) == Some(true));
    }
    if on_host == 0 {
        return;
    }
    if on_host != containers.len() {
        let why = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, "", why);
    }
    if spec.host_network != Some(true) {
        let why = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), false, why);
    }
}
