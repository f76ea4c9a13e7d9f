//! A pod's status: phase, conditions and container statuses as Kubernetes computes them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use api_types::{
    api::core::v1::{
        Container as ContainerSpec, ContainerState, ContainerStateRunning,
        ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, HostIP, Pod,
        PodCondition, PodIP, PodStatus,
    },
    jiff::Timestamp,
    meta::Time,
};

use super::{
    observed::Observed,
    spec::{self, RestartPolicy},
};
use crate::runtime::{Container, Exit, State};

/// Why a container is not running yet, in Kubernetes' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// `CrashLoopBackOff`, `ErrImagePull`, …
    pub reason: String,
    /// The sentence with the details.
    pub message: String,
}

/// What the probes found, by container id. A container without an entry has no such probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Probed {
    /// Result of readiness probes.
    pub ready: BTreeMap<String, bool>,
    /// Result of startup probes.
    pub started: BTreeMap<String, bool>,
    /// Containers whose liveness or startup probe failed, with what to say.
    pub unhealthy: BTreeMap<String, String>,
}

/// What the status is computed from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The pod; its status is the one reported last.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub observed: &'a Observed,
    /// Why containers are not running, by name.
    pub waiting: &'a BTreeMap<String, Waiting>,
    /// What the probes found.
    pub probed: &'a Probed,
    /// The node's address.
    pub host_ip: &'a str,
    /// The pod's address, once it has one.
    pub pod_ip: Option<&'a str>,
    /// The time.
    pub now: Timestamp,
}

/// Whether the pod has succeeded or failed and will not run again.
pub fn is_terminal(pod: &Pod, observed: &Observed) -> bool {
    let reported = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(reported, Some("Succeeded" | "Failed")) || init_failed(pod, observed) || {
        spec::restart_policy(pod) != RestartPolicy::Always && all_done(pod, observed)
    }
}

/// The restart count reported for a container that was seen running.
pub fn reported_restarts(pod: &Pod, name: &str) -> Option<u32> {
    let reported = reported(pod, name)?;
    reported.container_id.as_ref()?;
    u32::try_from(reported.restart_count).ok()
}

/// Computes the status.
pub fn compute(input: &Input<'_>) -> PodStatus {
    let old = input.pod.status.clone().unwrap_or_default();
    let init: Vec<ContainerStatus> =
        spec::init_containers(input.pod).map(|c| container_status(input, c, true)).collect();
    let containers: Vec<ContainerStatus> =
        spec::containers(input.pod).map(|c| container_status(input, c, false)).collect();
    let phase = phase(input, &init, &containers);
    let mut status = PodStatus {
        host_ip: Some(input.host_ip.to_owned()),
        host_ips: Some(vec![HostIP { ip: input.host_ip.to_owned() }]),
        start_time: old.start_time.clone().or(Some(Time(input.now))),
        conditions: Some(conditions(input, phase, &init, &containers)),
        container_statuses: Some(containers),
        init_container_statuses: (!init.is_empty()).then_some(init),
        phase: Some(phase.to_owned()),
        ..old
    };
    if let Some(ip) = input.pod_ip {
        status.pod_ip = Some(ip.to_owned());
        status.pod_ips = Some(vec![PodIP { ip: ip.to_owned() }]);
    }
    status
}

// === Phase ===

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

fn phase(
    input: &Input<'_>,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> &'static str {
    let reported = input.pod.status.as_ref().and_then(|status| status.phase.as_deref());
    match reported {
        Some("Succeeded") => return "Succeeded",
        Some("Failed") => return "Failed",
        _ => {}
    }
    if init_failed(input.pod, input.observed) {
        return "Failed";
    }
    let initialised = initialised(input.pod, init, containers);
    if !initialised || containers.iter().any(never_ran) {
        return "Pending";
    }
    if containers.iter().any(|status| state(status).running.is_some()) {
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

fn never_ran(status: &ContainerStatus) -> bool {
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    state(status).waiting.is_some() && last.is_none()
}

fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    state(status).terminated.as_ref().or(last).map(|terminated| terminated.exit_code)
}

fn state(status: &ContainerStatus) -> ContainerState {
    status.state.clone().unwrap_or_default()
}

fn initialised(pod: &Pod, init: &[ContainerStatus], containers: &[ContainerStatus]) -> bool {
    let begun = containers.iter().any(|status| !never_ran(status));
    begun || spec::init_containers(pod).zip(init).all(|(spec, status)| init_done(spec, status))
}

fn init_done(container: &ContainerSpec, status: &ContainerStatus) -> bool {
    if spec::is_sidecar(container) {
        return status.started == Some(true);
    }
    state(status).terminated.is_some_and(|terminated| terminated.exit_code == 0)
}

// === Container statuses ===

fn container_status(input: &Input<'_>, wanted: &ContainerSpec, init: bool) -> ContainerStatus {
    let latest = input.observed.latest(&wanted.name);
    let reported = reported(input.pod, &wanted.name);
    let (state, last_state) = states(input, wanted, latest, reported);
    let running = state.running.is_some();
    let probed = |results: &BTreeMap<String, bool>| {
        latest.and_then(|latest| results.get(&latest.id).copied()).unwrap_or(true)
    };
    let started = running && probed(&input.probed.started);
    let done = state.terminated.as_ref().is_some_and(|end| end.exit_code == 0);
    let restarts =
        latest.map(|latest| latest.attempt).or(reported_restarts(input.pod, &wanted.name));
    ContainerStatus {
        name: wanted.name.clone(),
        image: wanted.image.clone().unwrap_or_default(),
        image_id: latest.map(|latest| latest.image_id.clone()).unwrap_or_default(),
        container_id: latest.map(|latest| format!("docker://{}", latest.id)),
        ready: if init && !spec::is_sidecar(wanted) {
            done
        } else {
            started && probed(&input.probed.ready)
        },
        started: Some(started),
        restart_count: i32::try_from(restarts.unwrap_or_default()).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last_state.unwrap_or_default()),
        ..ContainerStatus::default()
    }
}

/// The present and the last state.
fn states(
    input: &Input<'_>,
    wanted: &ContainerSpec,
    latest: Option<&Container>,
    reported: Option<&ContainerStatus>,
) -> (ContainerState, Option<ContainerState>) {
    let before = || {
        let previous = input.observed.previous(&wanted.name);
        let seen = previous.and_then(|previous| Some(terminated(&previous.id, previous.exit()?)));
        seen.or_else(|| reported.and_then(|reported| reported.last_state.clone()))
    };
    match latest.map(|latest| (latest, &latest.state)) {
        Some((_, State::Running { started_at })) => (running(*started_at), before()),
        Some((latest, State::Exited(exit))) => {
            let ended = terminated(&latest.id, exit);
            match input.waiting.get(&wanted.name) {
                Some(waiting) => (wait(waiting), Some(ended)),
                None => (ended, before()),
            }
        }
        Some((_, State::Created)) | None => {
            let reason = not_started(input.pod).to_owned();
            let usual = Waiting { reason, message: String::new() };
            (wait(input.waiting.get(&wanted.name).unwrap_or(&usual)), lost(reported))
        }
    }
}

/// The container reported last is no longer there: its end is not known.
fn lost(reported: Option<&ContainerStatus>) -> Option<ContainerState> {
    let reported = reported?;
    let state = reported.state.clone().unwrap_or_default();
    if state.terminated.is_some() {
        return Some(state);
    }
    let Some(running) = state.running else { return reported.last_state.clone() };
    Some(ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some("The container could not be located when the pod was terminated".into()),
            started_at: running.started_at,
            container_id: reported.container_id.clone(),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    })
}

/// The reason of a container that nothing keeps from being started.
pub(super) fn not_started(pod: &Pod) -> &'static str {
    let has_init = spec::init_containers(pod).next().is_some();
    if has_init { "PodInitializing" } else { "ContainerCreating" }
}

fn wait(waiting: &Waiting) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(waiting.reason.clone()),
            message: Some(waiting.message.clone()).filter(|message| !message.is_empty()),
        }),
        ..ContainerState::default()
    }
}

fn running(started_at: Timestamp) -> ContainerState {
    ContainerState {
        running: Some(ContainerStateRunning { started_at: Some(Time(started_at)) }),
        ..ContainerState::default()
    }
}

fn terminated(id: &str, exit: &Exit) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            reason: Some(end_reason(exit).to_owned()),
            message: Some(exit.error.clone()).filter(|error| !error.is_empty()),
            started_at: exit.started_at.map(Time),
            finished_at: Some(Time(exit.finished_at)),
            container_id: Some(format!("docker://{id}")),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

fn end_reason(exit: &Exit) -> &'static str {
    if exit.oom_killed {
        "OOMKilled"
    } else if !exit.error.is_empty() {
        "ContainerCannotRun"
    } else if exit.code == 0 {
        "Completed"
    } else {
        "Error"
    }
}

fn reported<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten()).find(|status| status.name == name)
}

// === Conditions ===

/// The conditions that the kubelet owns.
pub const OWNED_CONDITIONS: [&str; 4] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"];

/// A condition's value before it is compared with what was reported.
struct Verdict {
    kind: &'static str,
    holds: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn holds(kind: &'static str, holds: bool) -> Self {
        Self { kind, holds, reason: None, message: None }
    }

    fn because(self, reason: &'static str, message: Option<String>) -> Self {
        Self { reason: Some(reason), message, ..self }
    }
}

fn conditions(
    input: &Input<'_>,
    phase: &str,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> Vec<PodCondition> {
    let old = input.pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    let sandbox = input.observed.sandbox().is_some() && input.pod_ip.is_some();
    let ready = containers_ready("ContainersReady", phase, containers);
    let verdicts = [
        Verdict::holds("PodReadyToStartContainers", sandbox),
        initialised_verdict(input.pod, phase, init, containers),
        pod_ready(input.pod, &old, phase, containers),
        ready,
        Verdict::holds("PodScheduled", true),
    ];
    let owned: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.kind).collect();
    let foreign = old.iter().filter(|condition| !owned.contains(condition.type_.as_str())).cloned();
    verdicts.iter().map(|verdict| condition(verdict, &old, input.now)).chain(foreign).collect()
}

fn initialised_verdict(
    pod: &Pod,
    phase: &str,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> Verdict {
    let verdict = Verdict::holds("Initialized", initialised(pod, init, containers));
    if phase == "Succeeded" {
        return Verdict { holds: true, ..verdict }.because("PodCompleted", None);
    }
    if verdict.holds {
        return verdict;
    }
    let open =
        spec::init_containers(pod).zip(init).filter(|(spec, status)| !init_done(spec, status));
    let names: Vec<&str> = open.map(|(spec, _)| spec.name.as_str()).collect();
    let message = format!("containers with incomplete status: [{}]", names.join(" "));
    verdict.because("ContainersNotInitialized", Some(message))
}

fn containers_ready(kind: &'static str, phase: &str, containers: &[ContainerStatus]) -> Verdict {
    match phase {
        "Succeeded" => return Verdict::holds(kind, false).because("PodCompleted", None),
        "Failed" => return Verdict::holds(kind, false).because("PodFailed", None),
        _ => {}
    }
    let unready: Vec<&str> =
        containers.iter().filter(|status| !status.ready).map(|s| s.name.as_str()).collect();
    if unready.is_empty() {
        return Verdict::holds(kind, true);
    }
    let message = format!("containers with unready status: [{}]", unready.join(" "));
    Verdict::holds(kind, false).because("ContainersNotReady", Some(message))
}

/// `Ready` is `ContainersReady` and all readiness gates.
fn pod_ready(
    pod: &Pod,
    old: &[PodCondition],
    phase: &str,
    containers: &[ContainerStatus],
) -> Verdict {
    let verdict = containers_ready("Ready", phase, containers);
    let gates = spec::spec(pod).and_then(|spec| spec.readiness_gates.as_deref());
    let closed = gates
        .unwrap_or_default()
        .iter()
        .find(|gate| !old.iter().any(|c| c.type_ == gate.condition_type && c.status == "True"));
    match closed {
        Some(gate) if verdict.holds => Verdict::holds("Ready", false).because(
            "ReadinessGatesNotReady",
            Some(format!(
                "the status of pod readiness gate {:?} is not \"True\"",
                gate.condition_type
            )),
        ),
        _ => verdict,
    }
}

/// Keeps the transition time while the status stays the same.
fn condition(verdict: &Verdict, old: &[PodCondition], now: Timestamp) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let before = old.iter().find(|condition| condition.type_ == verdict.kind);
    let unchanged = before.filter(|before| before.status == status);
    let since = unchanged.and_then(|before| before.last_transition_time.clone());
    PodCondition {
        type_: verdict.kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message.clone(),
        last_transition_time: since.or(Some(Time(now))),
        ..PodCondition::default()
    }
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
