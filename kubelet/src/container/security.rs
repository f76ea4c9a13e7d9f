//! `securityContext`, the container's over the pod's. Pure.

use std::path::{Component, Path};

use api_types::api::core::v1::{
    Container, Pod, PodSecurityContext, SeccompProfile, SecurityContext,
};

use crate::{
    runtime::{Seccomp, Security},
    spec,
};

/// Why a container must not be made; it waits with `CreateContainerConfigError`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// The pod asks for root and forbids it.
    #[error("container's runAsUser breaks non-root policy (pod: {pod:?}, container: {container})")]
    RunsAsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// The image's user is root.
    #[error(
        "container has runAsNonRoot and image will run as root (pod: {pod:?}, container: {container})"
    )]
    ImageRunsAsRoot {
        /// `name_namespace(uid)`.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// The image names its user, and only the image knows which number that is.
    #[error(
        "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is \
         non-root (pod: {pod:?}, container: {container})"
    )]
    NonNumericUser {
        /// The name.
        user: String,
        /// `name_namespace(uid)`.
        pod: String,
        /// The container's name.
        container: String,
    },
    /// A profile of the node is asked for, but not which.
    #[error("localhostProfile must be set if seccompProfile type is Localhost.")]
    NoLocalhostProfile,
    /// The profile's path leads out of the directory of profiles.
    #[error("localhostProfile must be a descending relative path: {0}")]
    ProfileEscapes(String),
    /// The profile cannot be read.
    #[error("cannot load seccomp profile {path:?}: {reason}")]
    Unreadable {
        /// The path below the directory of profiles.
        path: String,
        /// Why not.
        reason: String,
    },
}

/// The two contexts that apply to a container.
#[derive(Debug)]
struct Contexts {
    of_pod: PodSecurityContext,
    own: SecurityContext,
}

impl Contexts {
    fn of(pod: &Pod, container: &Container) -> Self {
        let of_pod = spec::spec(pod).and_then(|spec| spec.security_context.clone());
        let own = container.security_context.clone();
        Self { of_pod: of_pod.unwrap_or_default(), own: own.unwrap_or_default() }
    }

    fn user(&self) -> Option<i64> {
        self.own.run_as_user.or(self.of_pod.run_as_user)
    }

    fn group(&self) -> Option<i64> {
        self.own.run_as_group.or(self.of_pod.run_as_group)
    }

    fn must_not_be_root(&self) -> bool {
        self.own.run_as_non_root.or(self.of_pod.run_as_non_root) == Some(true)
    }

    fn seccomp(&self) -> Option<&SeccompProfile> {
        self.own.seccomp_profile.as_ref().or(self.of_pod.seccomp_profile.as_ref())
    }
}

/// Whether [`security`] depends on the image's user.
pub fn needs_image_user(pod: &Pod, container: &Container) -> bool {
    let contexts = Contexts::of(pod, container);
    contexts.user().is_none() && (contexts.group().is_some() || contexts.must_not_be_root())
}

/// What the runtime is to enforce. `image_user` is the user that the image names; `profile` reads a
/// seccomp profile of the node.
pub fn security(
    pod: &Pod,
    container: &Container,
    image_user: &str,
    profile: impl FnOnce(&Path) -> std::io::Result<String>,
) -> Result<Security, SecurityError> {
    let contexts = Contexts::of(pod, container);
    // The image may name a group as well; Kubernetes takes only the user.
    let image_user = image_user.split(':').next().unwrap_or_default();
    verify_non_root(&contexts, pod, container, image_user)?;
    let seccomp = contexts.seccomp().map(|wanted| seccomp(wanted, profile));
    let Contexts { of_pod, own } = &contexts;
    let capabilities = own.capabilities.clone().unwrap_or_default();
    let groups = of_pod.supplemental_groups.iter().flatten().chain(of_pod.fs_group.iter());
    Ok(Security {
        privileged: own.privileged.unwrap_or_default(),
        user: identity(contexts.user(), contexts.group(), image_user),
        read_only_root: own.read_only_root_filesystem.unwrap_or_default(),
        add: capabilities.add.unwrap_or_default(),
        drop: capabilities.drop.unwrap_or_default(),
        groups: groups.map(ToString::to_string).collect(),
        no_new_privileges: own.allow_privilege_escalation == Some(false),
        seccomp: seccomp.transpose()?.unwrap_or_default(),
    })
}

fn verify_non_root(
    contexts: &Contexts,
    pod: &Pod,
    container: &Container,
    image_user: &str,
) -> Result<(), SecurityError> {
    if !contexts.must_not_be_root() {
        return Ok(());
    }
    let (pod, container) = (spec::label(pod), container.name.clone());
    match (contexts.user(), image_user.parse::<i64>()) {
        (Some(0), _) => Err(SecurityError::RunsAsRoot { pod, container }),
        (Some(_), _) => Ok(()),
        (None, Ok(0)) => Err(SecurityError::ImageRunsAsRoot { pod, container }),
        (None, Ok(_)) => Ok(()),
        (None, Err(_)) if image_user.is_empty() => {
            Err(SecurityError::ImageRunsAsRoot { pod, container })
        }
        (None, Err(_)) => {
            Err(SecurityError::NonNumericUser { user: image_user.to_owned(), pod, container })
        }
    }
}

/// The engine wants a user in front of a group: without one, the image's, which is root if it names none.
fn identity(user: Option<i64>, group: Option<i64>, image_user: &str) -> Option<String> {
    match (user, group) {
        (Some(user), Some(group)) => Some(format!("{user}:{group}")),
        (Some(user), None) => Some(user.to_string()),
        (None, Some(group)) if image_user.is_empty() => Some(format!("0:{group}")),
        (None, Some(group)) => Some(format!("{image_user}:{group}")),
        (None, None) => None,
    }
}

fn seccomp(
    wanted: &SeccompProfile,
    profile: impl FnOnce(&Path) -> std::io::Result<String>,
) -> Result<Seccomp, SecurityError> {
    match wanted.type_.as_str() {
        "Unconfined" => Ok(Seccomp::Unconfined),
        "Localhost" => {
            let path = wanted.localhost_profile.as_deref().filter(|path| !path.is_empty());
            let path = path.ok_or(SecurityError::NoLocalhostProfile)?;
            let mut parts = Path::new(path).components();
            if !parts.all(|part| matches!(part, Component::Normal(_))) {
                return Err(SecurityError::ProfileEscapes(path.to_owned()));
            }
            let text = profile(Path::new(path)).map_err(|error| SecurityError::Unreadable {
                path: path.to_owned(),
                reason: error.to_string(),
            });
            text.map(Seccomp::Localhost)
        }
        _ => Ok(Seccomp::RuntimeDefault),
    }
}

#[cfg(test)]
#[path = "security_tests.rs"]
mod tests;
