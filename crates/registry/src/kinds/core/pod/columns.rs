//! A pod's row (Kubernetes: `printPod` in `pkg/printers/internalversion/printers.go`).

use api_machinery::table::age;
use api_types::{
    api::core::v1::{
        Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodStatus,
    },
    jiff::Timestamp,
};

use crate::{cells::or_none, rules::text};

/// Containers that are ready of all: `1/2`.
pub(super) fn ready(pod: &Pod) -> String {
    let spec = pod.spec.as_ref();
    let sidecars = spec.and_then(|s| s.init_containers.as_ref()).into_iter().flatten();
    let total = spec.map_or(0, |s| s.containers.len()) + sidecars.filter(|c| is_sidecar(c)).count();
    let started = |s: &&ContainerStatus| is_started_sidecar(pod, s) && s.ready;
    let mut ready = init_progress(pod).0.iter().copied().filter(started).count();
    if shows_containers(pod) {
        ready += container_statuses(pod).iter().filter(|s| is_running_and_ready(s)).count();
    }
    format!("{ready}/{total}")
}

/// The pod's state in a word: its phase, or the reason of what holds it up.
pub(super) fn status(pod: &Pod) -> String {
    let reason = status_field(pod, |s| s.reason.as_ref());
    let is_deleted = pod.metadata.deletion_timestamp.is_some();
    if is_deleted && reason == "NodeLost" {
        return "Unknown".to_owned();
    }
    if is_deleted && !is_terminal(pod) {
        return "Terminating".to_owned();
    }
    let mut word = if reason.is_empty() { phase(pod).to_owned() } else { reason.to_owned() };
    if is_gated(pod) {
        "SchedulingGated".clone_into(&mut word);
    }
    word = init_progress(pod).1.unwrap_or(word);
    if shows_containers(pod) { containers_word(pod, word) } else { word }
}

/// How often containers were restarted and when last: `3 (5m ago)`.
pub(super) fn restarts(pod: &Pod, now: Timestamp) -> String {
    let mut counted: Vec<&ContainerStatus> = init_progress(pod).0;
    if shows_containers(pod) {
        counted.retain(|s| is_sidecar_status(pod, s));
        counted.extend(container_statuses(pod));
    }
    let count: i32 = counted.iter().map(|s| s.restart_count).sum();
    let ended = |s: &&ContainerStatus| {
        s.last_state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|t| t.0)
    };
    match counted.iter().filter_map(ended).max() {
        Some(last) if count != 0 => format!("{count} ({} ago)", age(Some(last), now)),
        _ => count.to_string(),
    }
}

pub(super) fn ip(pod: &Pod) -> &str {
    let first = pod.status.as_ref().and_then(|s| s.pod_ips.as_ref()?.first());
    let ip = first.map_or_else(|| status_field(pod, |s| s.pod_ip.as_ref()), |ip| ip.ip.as_str());
    or_none(ip)
}

pub(super) fn node(pod: &Pod) -> &str {
    or_none(node_name(pod))
}

pub(super) fn nominated_node(pod: &Pod) -> &str {
    or_none(status_field(pod, |s| s.nominated_node_name.as_ref()))
}

/// Readiness gates that are open of all: `1/2`.
pub(super) fn readiness_gates(pod: &Pod) -> String {
    let gates = pod.spec.as_ref().and_then(|s| s.readiness_gates.as_deref()).unwrap_or_default();
    if gates.is_empty() {
        return or_none("").to_owned();
    }
    let open = gates.iter().filter(|g| condition(pod, &g.condition_type, "True")).count();
    format!("{open}/{}", gates.len())
}

/// The node that the pod is bound to, or nothing.
pub(super) fn node_name(pod: &Pod) -> &str {
    text(pod.spec.as_ref().and_then(|s| s.node_name.as_ref()))
}

/// Whether the pod has ended for good.
pub(super) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn status_field(pod: &Pod, get: impl Fn(&PodStatus) -> Option<&String>) -> &str {
    text(pod.status.as_ref().and_then(get))
}

fn phase(pod: &Pod) -> &str {
    status_field(pod, |s| s.phase.as_ref())
}

fn container_statuses(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|s| s.container_statuses.as_deref()).unwrap_or_default()
}

fn init_statuses(pod: &Pod) -> &[ContainerStatus] {
    pod.status.as_ref().and_then(|s| s.init_container_statuses.as_deref()).unwrap_or_default()
}

fn condition(pod: &Pod, type_: &str, status: &str) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|c| c.type_ == type_ && c.status == status)
}

fn is_gated(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    conditions
        .iter()
        .any(|c| c.type_ == "PodScheduled" && c.reason.as_deref() == Some("SchedulingGated"))
}

/// An init container that goes on running beside the others.
fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

fn is_sidecar_status(pod: &Pod, status: &ContainerStatus) -> bool {
    let init = pod.spec.as_ref().and_then(|s| s.init_containers.as_deref()).unwrap_or_default();
    init.iter().any(|c| c.name == status.name && is_sidecar(c))
}

fn is_started_sidecar(pod: &Pod, status: &ContainerStatus) -> bool {
    is_sidecar_status(pod, status) && status.started == Some(true)
}

fn is_running_and_ready(status: &ContainerStatus) -> bool {
    let state = status.state.as_ref();
    status.ready
        && state.is_some_and(|s| {
            s.running.is_some() && waiting_reason(s).is_none() && s.terminated.is_none()
        })
}

fn waiting_reason(state: &ContainerState) -> Option<&str> {
    state.waiting.as_ref()?.reason.as_deref().filter(|r| !r.is_empty())
}

/// The init containers looked at up to the first that isn't done, and what that one is doing: `Init:1/3`.
fn init_progress(pod: &Pod) -> (Vec<&ContainerStatus>, Option<String>) {
    let total = pod.spec.as_ref().and_then(|s| s.init_containers.as_ref()).map_or(0, Vec::len);
    let mut seen = Vec::new();
    for (i, status) in init_statuses(pod).iter().enumerate() {
        seen.push(status);
        let state = status.state.clone().unwrap_or_default();
        let terminated = state.terminated.as_ref();
        if terminated.is_some_and(|t| t.exit_code == 0) || is_started_sidecar(pod, status) {
            continue;
        }
        let word = match (terminated, waiting_reason(&state)) {
            (Some(terminated), _) => ended_word(terminated),
            (None, Some(reason)) if reason != "PodInitializing" => reason.to_owned(),
            _ => format!("{i}/{total}"),
        };
        return (seen, Some(format!("Init:{word}")));
    }
    (seen, None)
}

/// Whether the init containers are done, so that the others count.
fn shows_containers(pod: &Pod) -> bool {
    init_progress(pod).1.is_none() || condition(pod, "Initialized", "True")
}

/// The word of the first container that has one; completed containers beside running ones are no news.
fn containers_word(pod: &Pod, otherwise: String) -> String {
    let words = container_statuses(pod).iter().filter_map(container_word);
    let word = words.into_iter().next().unwrap_or(otherwise);
    let has_running = container_statuses(pod).iter().any(is_running_and_ready);
    match word.as_str() {
        "Completed" if has_running && condition(pod, "Ready", "True") => "Running".to_owned(),
        "Completed" if has_running => "NotReady".to_owned(),
        _ => word,
    }
}

fn container_word(status: &ContainerStatus) -> Option<String> {
    let state = status.state.as_ref()?;
    let waiting = waiting_reason(state).map(str::to_owned);
    waiting.or_else(|| state.terminated.as_ref().map(ended_word))
}

/// Why a container ended: `Completed`, `OOMKilled`, `ExitCode:2`.
fn ended_word(terminated: &ContainerStateTerminated) -> String {
    match (text(terminated.reason.as_ref()), terminated.signal.unwrap_or(0)) {
        ("", 0) => format!("ExitCode:{}", terminated.exit_code),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
