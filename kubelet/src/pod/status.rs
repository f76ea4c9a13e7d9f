//! A pod's status: phase, conditions and container statuses as Kubernetes computes them. Pure.

use std::time::Duration;

use api_types::{
    api::core::v1::{ContainerStatus, HostIP, Pod, PodIP, PodStatus},
    jiff::Timestamp,
    meta::Time,
};

use super::{
    conditions::conditions,
    container_status::{
        container_status, ephemeral_status, exit_code, initialised, is_running, never_ran,
    },
    status_input::StatusInput,
};
use crate::{
    runtime::{Container, observed::Observed},
    spec::{self, RestartPolicy},
};

/// Whether the pod has succeeded or failed and will not run again.
pub fn is_terminal(pod: &Pod, observed: &Observed, now: Timestamp) -> bool {
    reported_end(pod).is_some()
        || past_deadline(pod, now)
        || init_failed(pod, observed)
        || (spec::restart_policy(pod) != RestartPolicy::Always && all_done(pod, observed))
}

/// The final phase that was reported, if one was.
pub fn reported_end(pod: &Pod) -> Option<&'static str> {
    final_phase(pod.status.as_ref().and_then(|status| status.phase.as_deref())?)
}

/// When the pod has been active for as long as it may.
pub fn deadline(pod: &Pod) -> Option<Timestamp> {
    let seconds = spec::spec(pod)?.active_deadline_seconds?;
    let since = pod.status.as_ref()?.start_time.as_ref()?.0;
    Some(since + Duration::from_secs(u64::try_from(seconds).ok()?))
}

fn past_deadline(pod: &Pod, now: Timestamp) -> bool {
    deadline(pod).is_some_and(|deadline| deadline <= now)
}

/// Computes the status.
pub fn compute(input: &StatusInput<'_>) -> PodStatus {
    let old = input.pod.status.clone().unwrap_or_default();
    let init: Vec<ContainerStatus> =
        spec::init_containers(input.pod).map(|c| container_status(input, c, true)).collect();
    let containers: Vec<ContainerStatus> =
        spec::containers(input.pod).map(|c| container_status(input, c, false)).collect();
    let added: Vec<ContainerStatus> =
        spec::ephemeral_containers(input.pod).map(|c| ephemeral_status(input, &c)).collect();
    let phase = phase(input, &init, &containers);
    let host_ips = [input.host_ip].into_iter().chain(input.second_host_ip);
    let mut status = PodStatus {
        host_ip: Some(input.host_ip.to_owned()),
        host_ips: Some(host_ips.map(|ip| HostIP { ip: ip.to_owned() }).collect()),
        start_time: old.start_time.clone().or(Some(Time(input.now))),
        conditions: Some(conditions(input, phase, &init, &containers)),
        container_statuses: Some(containers),
        init_container_statuses: (!init.is_empty()).then_some(init),
        ephemeral_container_statuses: (!added.is_empty()).then_some(added),
        phase: Some(phase.to_owned()),
        observed_generation: input.pod.metadata.generation,
        ..old
    };
    if let Some(ip) = input.pod_ip {
        status.pod_ip = Some(ip.to_owned());
        let pod_ips = [ip].into_iter().chain(input.second_pod_ip);
        status.pod_ips = Some(pod_ips.map(|ip| PodIP { ip: ip.to_owned() }).collect());
    }
    if phase == "Failed"
        && reported_end(input.pod).is_none()
        && let Some((reason, message)) = why_ended(input)
    {
        status.reason = Some(reason.to_owned());
        status.message = Some(message.to_owned());
    }
    status
}

/// What ended the pod, if its containers did not end by themselves.
fn why_ended<'a>(input: &StatusInput<'a>) -> Option<(&'static str, &'a str)> {
    let late = || (DEADLINE_EXCEEDED, DEADLINE_MESSAGE);
    let evicted = input.evicted.map(|message| (EVICTED, message));
    evicted.or_else(|| past_deadline(input.pod, input.now).then(late))
}

/// Why a pod failed that took too much of the node.
pub const EVICTED: &str = "Evicted";
/// Why a pod failed that was active for too long.
pub const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// The same as a sentence.
pub const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

// === Phase ===

fn final_phase(phase: &str) -> Option<&'static str> {
    match phase {
        "Succeeded" => Some("Succeeded"),
        "Failed" => Some("Failed"),
        _ => None,
    }
}

fn init_failed(pod: &Pod, observed: &Observed) -> bool {
    spec::restart_policy(pod) == RestartPolicy::Never
        && spec::init_containers(pod).filter(|c| !spec::is_sidecar(c)).any(|container| {
            let latest = observed.latest(&container.name).and_then(Container::exit);
            latest.is_some_and(|exit| exit.code != 0)
        })
}

fn all_done(pod: &Pod, observed: &Observed) -> bool {
    spec::containers(pod).all(|container| {
        let latest = observed.latest(&container.name).and_then(Container::exit);
        latest.is_some_and(|exit| !spec::restart_policy(pod).restarts(exit.code))
    })
}

/// A phase that was reported as final stays. No phase is final while something of the pod runs or is being
/// started: others take it for a promise that the pod's resources are free.
fn phase(
    input: &StatusInput<'_>,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> &'static str {
    if let Some(reported) = reported_end(input.pod) {
        return reported;
    }
    let wanted = if why_ended(input).is_some() {
        "Failed"
    } else if input.terminated {
        terminated_phase(containers)
    } else {
        living_phase(input, init, containers)
    };
    let runs = input.starting || input.observed.running().next().is_some();
    if final_phase(wanted).is_none() || !runs {
        return wanted;
    }
    let now = living_phase(input, init, containers);
    if final_phase(now).is_some() { "Running" } else { now }
}

fn living_phase(
    input: &StatusInput<'_>,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> &'static str {
    if init_failed(input.pod, input.observed) {
        return "Failed";
    }
    if !initialised(input.pod, init, containers) || containers.iter().any(never_ran) {
        return "Pending";
    }
    if containers.iter().any(is_running) {
        return "Running";
    }
    finished_phase(spec::restart_policy(input.pod), containers)
}

fn finished_phase(policy: RestartPolicy, containers: &[ContainerStatus]) -> &'static str {
    let failed = containers.iter().any(|status| exit_code(status) != Some(0));
    match (policy, failed) {
        (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, true) => "Running",
        (_, false) => "Succeeded",
        (RestartPolicy::Never, true) => "Failed",
    }
}

/// A pod that was stopped has succeeded only if every container ended well.
fn terminated_phase(containers: &[ContainerStatus]) -> &'static str {
    let ended_well = |status: &ContainerStatus| {
        let ended = status.state.as_ref().and_then(|state| state.terminated.as_ref());
        ended.is_some_and(|ended| ended.exit_code == 0)
    };
    if !containers.is_empty() && containers.iter().all(ended_well) { "Succeeded" } else { "Failed" }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
