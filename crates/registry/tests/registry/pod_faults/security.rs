//! As whom containers run, and what they may do.

use super::{of_containers, of_specs};

/// Fields of the pod's security context.
fn of_contexts(rows: &[(&str, &str)]) {
    for (given, expected) in rows {
        let lines = expected.lines().map(|line| format!("securityContext.{line}"));
        let expected = lines.collect::<Vec<_>>().join("\n");
        let given = format!("securityContext: {{{given}}}");
        of_specs(&[(given.as_str(), expected.as_str())]);
    }
}

#[test]
fn of_users_and_groups() {
    of_contexts(&[
        (
            "fsGroup: -1, runAsUser: 2147483648, runAsGroup: -1, supplementalGroups: [1, -1]",
            "fsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive
runAsUser: Invalid value: 2147483648: must be between 0 and 2147483647, inclusive
runAsGroup: Invalid value: -1: must be between 0 and 2147483647, inclusive
supplementalGroups[1]: Invalid value: -1: must be between 0 and 2147483647, inclusive",
        ),
        (
            "fsGroupChangePolicy: ''",
            "fsGroupChangePolicy: Unsupported value: \"\": supported values: \"Always\", \"OnRootMismatch\"",
        ),
        (
            "supplementalGroupsPolicy: A, seLinuxChangePolicy: B",
            "supplementalGroupsPolicy: Unsupported value: \"A\": supported values: \"Merge\", \"Strict\"
seLinuxChangePolicy: Unsupported value: \"B\": supported values: \"MountOption\", \"Recursive\"",
        ),
        (
            "fsGroup: 0, runAsUser: 2147483647, fsGroupChangePolicy: Always, supplementalGroupsPolicy: Strict, seLinuxChangePolicy: Recursive",
            "",
        ),
    ]);
    of_specs(&[
        (
            "{hostPID: true, shareProcessNamespace: true}",
            "securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
        ),
        ("{hostPID: true, shareProcessNamespace: false}", ""),
        (
            "{hostUsers: false, hostNetwork: true, hostPID: true, hostIPC: true}",
            "hostNetwork: Forbidden: when `hostUsers` is false
HostPID: Forbidden: when `hostUsers` is false
HostIPC: Forbidden: when `hostUsers` is false",
        ),
    ]);
}

#[test]
fn of_profiles() {
    of_contexts(&[
        (
            "seccompProfile: {type: ''}",
            "seccompProfile.type: Required value: type is required when seccompProfile is set",
        ),
        (
            "seccompProfile: {type: A}",
            "seccompProfile.type: Unsupported value: \"A\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
        ),
        (
            "seccompProfile: {type: Localhost}",
            "seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            "seccompProfile: {type: Localhost, localhostProfile: /a/../b}",
            "seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must be a relative path
seccompProfile.localhostProfile: Invalid value: \"/a/../b\": must not contain '..'",
        ),
        (
            "seccompProfile: {type: Unconfined, localhostProfile: a}",
            "seccompProfile.localhostProfile: Invalid value: {\"Type\":\"Unconfined\",\"LocalhostProfile\":\"a\"}: can only be set when seccomp type is Localhost",
        ),
        (
            "appArmorProfile: {type: ''}",
            "appArmorProfile.type: Required value: type is required when appArmorProfile is set",
        ),
        (
            "appArmorProfile: {type: A}",
            "appArmorProfile.type: Unsupported value: \"A\": supported values: \"Localhost\", \"RuntimeDefault\", \"Unconfined\"",
        ),
        (
            "appArmorProfile: {type: Localhost}",
            "appArmorProfile.localhostProfile: Required value: must be set when AppArmor type is Localhost",
        ),
        (
            "appArmorProfile: {type: Localhost, localhostProfile: ' a'}",
            "appArmorProfile.localhostProfile: Invalid value: \" a\": must not be padded with whitespace",
        ),
        (
            "appArmorProfile: {type: Unconfined, localhostProfile: a}",
            "appArmorProfile.localhostProfile: Invalid value: \"a\": can only be set when AppArmor type is Localhost",
        ),
        (
            "seccompProfile: {type: Localhost, localhostProfile: a/b}, appArmorProfile: {type: RuntimeDefault}",
            "",
        ),
    ]);
}

#[test]
fn of_users_of_windows() {
    for (name, expected) in [
        ("''", "\"\": runAsUserName cannot be an empty string"),
        ("\"a\\x07\"", "\"a\\u{7}\": runAsUserName cannot contain control characters"),
        ("a\\b\\c", "\"a\\\\b\\\\c\": runAsUserName cannot contain more than one backslash"),
        (
            ".a\\b",
            "\".a\\\\b\": runAsUserName's Domain doesn't match the NetBios nor the DNS format",
        ),
        ("a\\", "\"a\\\\\": runAsUserName's User cannot be empty"),
        ("'. .'", "\". .\": runAsUserName's User cannot contain only periods or spaces"),
        (
            "a@b",
            "\"a@b\": runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]",
        ),
        ("NT AUTHORITY\\NETWORK SERVICE", ""),
        ("ContainerUser", ""),
    ] {
        let expected = if expected.is_empty() {
            String::new()
        } else {
            format!("windowsOptions.runAsUserName: Invalid value: {expected}")
        };
        let given = format!("windowsOptions: {{runAsUserName: {name}}}");
        of_contexts(&[(given.as_str(), expected.as_str())]);
    }
    of_contexts(&[(
        "windowsOptions: {gmsaCredentialSpecName: A, gmsaCredentialSpec: ''}",
        "windowsOptions.gmsaCredentialSpecName: Invalid value: \"A\": <subdomain>
windowsOptions.gmsaCredentialSpec: Invalid value: \"\": gmsaCredentialSpec cannot be an empty string",
    )]);
}

#[test]
fn of_what_a_container_may_do() {
    of_containers(&[
        (
            "securityContext: {runAsUser: -1, seccompProfile: {type: Localhost}}",
            "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive
securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost",
        ),
        (
            "securityContext: {procMount: A}",
            "securityContext.procMount: Unsupported value: \"A\": supported values: \"Default\", \"Unmasked\"",
        ),
        (
            "securityContext: {procMount: Unmasked}",
            "securityContext.procMount: Invalid value: \"Unmasked\": `hostUsers` must be false to use `Unmasked`",
        ),
        (
            "securityContext: {privileged: true, allowPrivilegeEscalation: false}",
            "securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"privileged\":true}: cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            "securityContext: {capabilities: {add: [CAP_SYS_ADMIN]}, allowPrivilegeEscalation: false}",
            "securityContext: Invalid value: {\"allowPrivilegeEscalation\":false,\"capabilities\":{\"add\":[\"CAP_SYS_ADMIN\"]}}: cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
        ),
        (
            "securityContext: {privileged: true, procMount: Default, capabilities: {add: [CAP_SYS_ADMIN]}}",
            "",
        ),
    ]);
    of_specs(&[(
        "{hostUsers: false, containers: [{name: a, image: x, securityContext: {procMount: Unmasked}}]}",
        "",
    )]);
}
