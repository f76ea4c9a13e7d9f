//! `securityContext`, the container's over the pod's. Pure.

use api_types::api::core::v1::{Container, Pod};

use crate::{pod::spec, runtime::Security};

/// What the runtime is to enforce.
pub fn security(pod: &Pod, container: &Container) -> Security {
    let of_pod = spec::spec(pod).and_then(|spec| spec.security_context.clone()).unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let user = own.run_as_user.or(of_pod.run_as_user);
    let group = own.run_as_group.or(of_pod.run_as_group);
    let capabilities = own.capabilities.unwrap_or_default();
    let groups = of_pod.supplemental_groups.into_iter().flatten().chain(of_pod.fs_group);
    Security {
        privileged: own.privileged.unwrap_or_default(),
        user: identity(user, group),
        read_only_root: own.read_only_root_filesystem.unwrap_or_default(),
        add: capabilities.add.unwrap_or_default(),
        drop: capabilities.drop.unwrap_or_default(),
        groups: groups.map(|group| group.to_string()).collect(),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
    }
}

fn identity(user: Option<i64>, group: Option<i64>) -> Option<String> {
    match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        // Docker wants a user in front of the group; the image's usual one is root.
        (None, Some(group)) => Some(format!("0:{group}")),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_containers_word_wins_over_the_pods() {
        let pod: Pod = serde_json::from_value(json!({"spec": {
            "securityContext": {"runAsUser": 1000, "runAsGroup": 3000, "fsGroup": 2000},
            "containers": [{"name": "c", "securityContext": {
                "runAsUser": 7, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]}}}],
        }}))
        .unwrap();
        let found = security(&pod, spec::containers(&pod).next().unwrap());
        assert_eq!(found.user.as_deref(), Some("7:3000"));
        assert_eq!(found.groups, ["2000"]);
        assert!(found.read_only_root && found.drop == ["ALL"] && !found.privileged);
    }
}
