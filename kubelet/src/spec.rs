//! Questions to a pod that several parts ask: to its spec, and to what was reported of it.

use std::{borrow::Cow, time::Duration};

use api_machinery::ephemeral_container::as_container;
use api_types::api::core::v1::{Container, ContainerStatus, EphemeralContainer, Pod, PodSpec};
use sha2::{Digest, Sha256};

use crate::runtime::PodIdentity;

const DEFAULT_GRACE_SECONDS: i64 = 30;
const LONGEST_GRACE_SECONDS: u64 = i32::MAX as u64;
/// Of Linux.
const LONGEST_HOSTNAME: usize = 64;

/// When a container is started again after it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestartPolicy {
    /// Whatever its exit status.
    Always,
    /// Only after a failure.
    OnFailure,
    /// Not at all.
    Never,
}

impl RestartPolicy {
    fn parse(text: Option<&str>) -> Self {
        match text {
            Some("OnFailure") => Self::OnFailure,
            Some("Never") => Self::Never,
            _ => Self::Always,
        }
    }

    /// Whether a container that ended with `code` is started again.
    pub fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// The pod's policy.
pub fn restart_policy(pod: &Pod) -> RestartPolicy {
    RestartPolicy::parse(spec(pod).and_then(|spec| spec.restart_policy.as_deref()))
}

/// The pod's spec.
pub fn spec(pod: &Pod) -> Option<&PodSpec> {
    pod.spec.as_ref()
}

/// Containers that run one after the other before the others start.
pub fn init_containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    spec(pod).and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default().iter()
}

/// The containers proper.
pub fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    spec(pod).map(|spec| spec.containers.as_slice()).unwrap_or_default().iter()
}

/// Containers that were added while the pod was there.
pub fn ephemeral_containers(pod: &Pod) -> impl Iterator<Item = Container> {
    ephemeral(pod).map(as_container)
}

/// The container whose processes one that was added is to see.
pub fn target<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let target = ephemeral(pod).find(|it| it.name == name)?.target_container_name.as_deref();
    target.filter(|target| !target.is_empty())
}

fn ephemeral(pod: &Pod) -> impl Iterator<Item = &EphemeralContainer> {
    spec(pod).and_then(|spec| spec.ephemeral_containers.as_deref()).unwrap_or_default().iter()
}

/// The container of that name, init containers and those that were added included.
pub fn container<'a>(pod: &'a Pod, name: &str) -> Option<Cow<'a, Container>> {
    let mut usual = init_containers(pod).chain(containers(pod)).map(Cow::Borrowed);
    let is_meant = |container: &Cow<'_, Container>| container.name == name;
    usual.find(is_meant).or_else(|| ephemeral_containers(pod).map(Cow::Owned).find(is_meant))
}

/// What was reported last of the container of that name.
pub fn reported<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let all = [
        &status.init_container_statuses,
        &status.container_statuses,
        &status.ephemeral_container_statuses,
    ];
    all.into_iter().flatten().flatten().find(|status| status.name == name)
}

/// The id of a container as a status has it.
pub fn full_id(id: &str) -> String {
    format!("docker://{id}")
}

/// The id that a status has, as the runtime has it.
pub fn bare_id(full: &str) -> Option<&str> {
    full.strip_prefix("docker://")
}

/// An init container with `restartPolicy: Always`, which goes on beside the others.
pub fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// Whether the pod uses the node's network.
pub fn host_network(pod: &Pod) -> bool {
    spec(pod).and_then(|spec| spec.host_network).unwrap_or_default()
}

/// How long containers get to stop: what the deletion asks for, else what the spec says.
pub fn grace(pod: &Pod) -> Duration {
    let asked = pod.metadata.deletion_grace_period_seconds;
    let usual = spec(pod).and_then(|spec| spec.termination_grace_period_seconds);
    let seconds = asked.or(usual).unwrap_or(DEFAULT_GRACE_SECONDS);
    grace_of(seconds)
}

/// A grace period of so many seconds; longer ones than a lifetime would lead out of the calendar.
pub fn grace_of(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default().min(LONGEST_GRACE_SECONDS))
}

/// Name, namespace and uid.
pub fn identity(pod: &Pod) -> PodIdentity {
    PodIdentity {
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        namespace: pod.metadata.namespace.clone().unwrap_or_default(),
        name: pod.metadata.name.clone().unwrap_or_default(),
    }
}

/// `name_namespace(uid)`, as Kubernetes names pods in messages.
pub fn label(pod: &Pod) -> String {
    let identity = identity(pod);
    format!("{}_{}({})", identity.name, identity.namespace, identity.uid)
}

/// The host name inside the pod.
pub fn hostname(pod: &Pod) -> String {
    let wanted = spec(pod).and_then(|spec| spec.hostname.clone()).filter(|name| !name.is_empty());
    let name = wanted.or_else(|| pod.metadata.name.clone()).unwrap_or_default();
    name.chars().take(63).collect::<String>().trim_end_matches(['-', '.']).to_owned()
}

/// The pod's name in the cluster's DNS, if it has a subdomain.
pub fn full_name(pod: &Pod, domain: &str) -> Option<String> {
    let subdomain = spec(pod)?.subdomain.as_deref().filter(|name| !name.is_empty())?;
    let namespace = pod.metadata.namespace.as_deref().unwrap_or("default");
    Some(format!("{}.{subdomain}.{namespace}.svc.{domain}", hostname(pod)))
}

/// What the kernel calls the pod's host.
///
/// # Errors
/// The name that the pod wants is longer than the kernel takes.
pub fn kernel_hostname(pod: &Pod, domain: &str) -> Result<String, NameTooLong> {
    let whole = spec(pod).and_then(|spec| spec.set_hostname_as_fqdn).unwrap_or_default();
    match full_name(pod, domain).filter(|_| whole) {
        Some(name) if name.len() > LONGEST_HOSTNAME => Err(NameTooLong { name }),
        Some(name) => Ok(name),
        None => Ok(hostname(pod)),
    }
}

/// A full name that can't be a host's, in Kubernetes' words.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "Failed to construct FQDN from Pod hostname and cluster domain, FQDN {name} is too long \
     ({LONGEST_HOSTNAME} characters is the max, {} characters requested)",
    name.len()
)]
pub struct NameTooLong {
    name: String,
}

/// Changes when the container must be made anew. Only name and image count, as in Kubernetes: the
/// rest of a container is immutable, and new defaults after an upgrade must not restart everything.
pub fn hash(container: &Container) -> String {
    let text = format!("{}\n{}", container.name, container.image.as_deref().unwrap_or_default());
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
