//! What controllers ask about pods.

use std::net::IpAddr;

use api_machinery::IpFamily;
use api_types::api::core::v1::{ContainerState, Pod, PodCondition};
use api_types::jiff::Timestamp;

/// The names of the claims that a pod uses.
pub(crate) fn claims(pod: &Pod) -> impl Iterator<Item = &str> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.as_str()))
}

/// The phase, or nothing.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// The address of this family.
pub(crate) fn address(pod: &Pod, family: IpFamily) -> Option<IpAddr> {
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|it| &it.ip).chain(&status.pod_ip);
    all.filter_map(|ip| ip.parse().ok()).find(|ip| IpFamily::of(*ip) == family)
}

/// Whether all containers have ended for good.
pub(crate) fn is_finished(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether the pod is on its way out.
pub(crate) fn is_terminating(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether the pod counts as a replica.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_finished(pod) && !is_terminating(pod)
}

/// The Ready condition.
pub(crate) fn ready_condition(pod: &Pod) -> Option<&PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_deref()?;
    conditions.iter().find(|condition| condition.type_ == "Ready")
}

/// Whether the pod can serve.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    ready_condition(pod).is_some_and(|condition| condition.status == "True")
}

/// Seconds until a ready pod has been ready long enough; `None` if it is not ready.
pub(crate) fn until_available(pod: &Pod, min_ready: i32, now: Timestamp) -> Option<i64> {
    let ready = ready_condition(pod).filter(|_| is_ready(pod))?;
    let since = ready.last_transition_time.as_ref().map_or(now, |time| time.0);
    Some(since.as_second() + i64::from(min_ready) - now.as_second())
}

/// Whether a container does not run, or not for the first time.
pub(crate) fn has_restarted(pod: &Pod) -> bool {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let runs = |state: &ContainerState| state.running.is_some();
    let mut containers = statuses.map(|c| (c.restart_count, c.state.as_ref().is_some_and(runs)));
    containers.any(|container| container != (0, true))
}

/// The node the pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|name| !name.is_empty())
}
