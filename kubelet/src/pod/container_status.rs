//! The status of one container, as Kubernetes computes it from what runs and what was reported. Pure.

use std::collections::BTreeMap;

use api_types::{
    api::core::v1::{
        Container as ContainerSpec, ContainerState, ContainerStateRunning,
        ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
        ResourceRequirements,
    },
    jiff::Timestamp,
    meta::Time,
};

use super::{
    size,
    status_input::{StatusInput, Waiting},
};
use crate::{
    runtime::{Container, Exit, State},
    spec,
};

/// The restart count reported for a container that was seen running.
pub fn reported_restarts(pod: &Pod, name: &str) -> Option<u32> {
    let reported = spec::reported(pod, name)?;
    reported.container_id.as_ref()?;
    u32::try_from(reported.restart_count).ok()
}

/// Whether the container's process runs.
pub(super) fn is_running(status: &ContainerStatus) -> bool {
    state(status).running.is_some()
}

/// Whether the container waits to be started for the first time.
pub(super) fn never_ran(status: &ContainerStatus) -> bool {
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    state(status).waiting.is_some() && last.is_none()
}

/// Whether the container was ever started.
fn has_begun(status: &ContainerStatus) -> bool {
    !never_ran(status)
}

/// How the container ended last.
pub(super) fn exit_code(status: &ContainerStatus) -> Option<i32> {
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    state(status).terminated.as_ref().or(last).map(|terminated| terminated.exit_code)
}

fn state(status: &ContainerStatus) -> ContainerState {
    status.state.clone().unwrap_or_default()
}

/// Whether an init container keeps nothing waiting any more.
pub(super) fn init_done(container: &ContainerSpec, status: &ContainerStatus) -> bool {
    if spec::is_sidecar(container) {
        return status.started == Some(true);
    }
    state(status).terminated.is_some_and(|terminated| terminated.exit_code == 0)
}

/// Whether the init containers are done.
pub(super) fn initialised(
    pod: &Pod,
    init: &[ContainerStatus],
    containers: &[ContainerStatus],
) -> bool {
    let begun = containers.iter().any(has_begun);
    begun || spec::init_containers(pod).zip(init).all(|(spec, status)| init_done(spec, status))
}

/// The status of one container of the pod's spec.
pub(super) fn container_status(
    input: &StatusInput<'_>,
    wanted: &ContainerSpec,
    init: bool,
) -> ContainerStatus {
    let latest = input.observed.latest(&wanted.name);
    let reported = spec::reported(input.pod, &wanted.name);
    let (state, last_state) = states(input, wanted, latest, reported);
    let (started, ready) = signs(input, latest, &state);
    let done = state.terminated.as_ref().is_some_and(|end| end.exit_code == 0);
    let restarts =
        latest.map(|latest| latest.attempt).or(reported_restarts(input.pod, &wanted.name));
    ContainerStatus {
        name: wanted.name.clone(),
        image: wanted.image.clone().unwrap_or_default(),
        image_id: image_id(input, wanted, latest, reported),
        // Of one that is gone, the id says that it ran: its restarts are counted on.
        container_id: latest
            .map(|latest| spec::full_id(&latest.id))
            .or_else(|| reported.and_then(|reported| reported.container_id.clone())),
        ready: if init && !spec::is_sidecar(wanted) { done } else { ready },
        started: Some(started),
        restart_count: i32::try_from(restarts.unwrap_or_default()).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: Some(last_state.unwrap_or_default()),
        allocated_resources: wanted.resources.as_ref().and_then(|given| given.requests.clone()),
        resources: resources(wanted, latest, reported),
        ..ContainerStatus::default()
    }
}

/// The status of one that was added to the pod: nobody waits for it, so it is never ready.
pub(super) fn ephemeral_status(input: &StatusInput<'_>, wanted: &ContainerSpec) -> ContainerStatus {
    let status = container_status(input, wanted, false);
    ContainerStatus { ready: false, started: None, resources: None, ..status }
}

/// What it was given; while it has not got that, what it had before.
fn resources(
    wanted: &ContainerSpec,
    latest: Option<&Container>,
    reported: Option<&ContainerStatus>,
) -> Option<ResourceRequirements> {
    let behind = size::is_behind(wanted, latest, reported);
    let had = reported.filter(|_| behind).and_then(|reported| reported.resources.clone());
    let given = || wanted.resources.clone().unwrap_or_default();
    Some(had.unwrap_or_else(given))
}

/// Of a container that is being started for the first time, only when its image had to come: who reads that hears when it
/// was there.
fn image_id(
    input: &StatusInput<'_>,
    wanted: &ContainerSpec,
    latest: Option<&Container>,
    reported: Option<&ContainerStatus>,
) -> String {
    let is_first = |latest: &&Container| {
        let is_made = latest.state == State::Created && latest.attempt == 0;
        is_made && input.starts.contains(&wanted.name)
    };
    let made = latest.filter(|latest| !is_first(latest)).map(|latest| &latest.image_id);
    let reference = wanted.image.as_deref().unwrap_or_default();
    let pulled = input.pulled.get(&wanted.name).filter(|pulled| pulled.reference == reference);
    // By a kubelet before this one, or it ran.
    let reported = reported.filter(|reported| reported.image == reference);
    let known = made.or(pulled.map(|pulled| &pulled.id)).or(reported.map(|r| &r.image_id));
    known.cloned().unwrap_or_default()
}

/// Whether the container has started, and whether it is ready.
fn signs(
    input: &StatusInput<'_>,
    latest: Option<&Container>,
    state: &ContainerState,
) -> (bool, bool) {
    let probed = |results: &BTreeMap<String, bool>| {
        latest.and_then(|latest| results.get(&latest.id).copied()).unwrap_or(true)
    };
    let started = state.running.is_some() && probed(&input.probed.started);
    (started, started && probed(&input.probed.ready))
}

/// The present and the last state.
fn states(
    input: &StatusInput<'_>,
    wanted: &ContainerSpec,
    latest: Option<&Container>,
    reported: Option<&ContainerStatus>,
) -> (ContainerState, Option<ContainerState>) {
    let before = || {
        let previous = input.observed.previous(&wanted.name);
        let seen = previous.and_then(|previous| Some(ended(input, previous, previous.exit()?)));
        seen.or_else(|| reported.and_then(|reported| reported.last_state.clone()))
    };
    match latest.map(|latest| (latest, &latest.state)) {
        Some((_, State::Running { started_at })) => (running(*started_at), before()),
        Some((latest, State::Exited(exit))) => {
            let ended = ended(input, latest, exit);
            match input.waiting.get(&wanted.name) {
                Some(waiting) => (wait(waiting), Some(ended)),
                None => (ended, before()),
            }
        }
        Some((_, State::Created)) | None => match lost(reported) {
            Some(lost) if input.terminated && lost.terminated.is_some() => (lost, None),
            lost => {
                let reason = not_started(input.pod).to_owned();
                let usual = Waiting { reason, message: String::new() };
                (wait(input.waiting.get(&wanted.name).unwrap_or(&usual)), lost)
            }
        },
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

fn ended(input: &StatusInput<'_>, container: &Container, exit: &Exit) -> ContainerState {
    let id = &container.id;
    let said = input.messages.get(id).filter(|_| exit.error.is_empty());
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            exit_code: exit.code,
            reason: Some(end_reason(exit).to_owned()),
            message: Some(said.unwrap_or(&exit.error).clone()).filter(|text| !text.is_empty()),
            started_at: exit.started_at.map(Time),
            finished_at: Some(Time(exit.finished_at)),
            container_id: Some(spec::full_id(id)),
            ..ContainerStateTerminated::default()
        }),
        ..ContainerState::default()
    }
}

pub(super) fn end_reason(exit: &Exit) -> &'static str {
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
