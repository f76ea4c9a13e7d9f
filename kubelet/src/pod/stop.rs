//! How a pod stops, and how its containers do: the part of [`super::next_step`] that ends things. Pure.

use std::time::Duration;

use api_types::api::core::v1::Pod;

use super::plan::{Hook, Input, Plan, Step};
use crate::{runtime::Container, spec};

/// How long to wait for a container to vanish after SIGKILL before it is sent again.
const KILL_REPEAT: Duration = Duration::from_secs(2);
/// What every container of a deleted pod gets at least, however long the others took, as in Kubernetes.
pub(super) const LEAST_GRACE: Duration = Duration::from_secs(2);

/// What the containers of a pod get that takes too much, as in Kubernetes.
pub(super) const EVICTION_GRACE: Duration = Duration::from_secs(1);

/// The pod is deleted: first every container stops, then everything is removed.
pub(super) fn remove_pod(input: &Input<'_>, grace: Duration, plan: &mut Plan) {
    stop_all(input, grace, plan);
    if input.is_active() {
        return;
    }
    plan.ended = true;
    if input.observed.is_empty() {
        plan.gone = input.left;
        if !input.left {
            plan.steps.push(Step::Leave);
        }
    }
    for container in &input.observed.containers {
        plan.steps.push(Step::RemoveContainer { id: container.id.clone() });
    }
    plan.remove_sandboxes(input.observed.sandboxes.iter());
}

/// The pod has succeeded or failed for good: its dead containers stay for their logs.
pub(super) fn retire_pod(input: &Input<'_>, grace: Duration, plan: &mut Plan) {
    stop_all(input, grace, plan);
    if !input.is_active() {
        plan.ended = true;
        plan.retired = input.observed.sandboxes.is_empty();
        plan.remove_sandboxes(input.observed.sandboxes.iter());
    }
}

/// Sidecars serve the others, so they stop after them: one after the other, the last one first. What
/// the others needed of the pod's time they have less; when it is over, none waits for another.
fn stop_all(input: &Input<'_>, grace: Duration, plan: &mut Plan) {
    let place = |container: &Container| sidecar_place(input.pod, &container.name);
    let (proper, mut sidecars): (Vec<_>, Vec<_>) =
        input.observed.running().partition(|container| place(container).is_none());
    for container in &proper {
        stop(input, container, grace, plan);
    }
    sidecars.sort_by_key(|container| place(container));
    // One that is being started is not seen yet, and may be one of the others.
    let served = proper.is_empty() && input.starting.is_empty();
    let over = input.stop_began + grace;
    for (before, sidecar) in sidecars.iter().rev().enumerate() {
        if grace.is_zero() || input.stopping.contains_key(&sidecar.id) {
            stop(input, sidecar, grace, plan);
        } else if over <= input.now || (served && before == 0) {
            stop(input, sidecar, left(input, grace), plan);
        } else {
            plan.wake(over);
        }
    }
}

fn sidecar_place(pod: &Pod, name: &str) -> Option<usize> {
    spec::init_containers(pod).position(|c| c.name == name && spec::is_sidecar(c))
}

fn left(input: &Input<'_>, grace: Duration) -> Duration {
    let passed = input.now.duration_since(input.stop_began);
    grace.saturating_sub(Duration::try_from(passed).unwrap_or_default()).max(LEAST_GRACE)
}

fn stop(input: &Input<'_>, container: &Container, grace: Duration, plan: &mut Plan) {
    let message = format!("Stopping container {}", container.name);
    stop_container(input, container, grace, message, plan);
}

/// The preStop hook and SIGTERM first; SIGKILL when the grace is over. The worker never sleeps on this: it is woken at
/// the deadline, or by the event that the container died.
pub(super) fn stop_container(
    input: &Input<'_>,
    container: &Container,
    grace: Duration,
    message: String,
    plan: &mut Plan,
) {
    let (id, name) = (container.id.clone(), container.name.clone());
    let Some(asked) = input.stopping.get(&id) else {
        if grace.is_zero() {
            plan.steps.push(Step::Kill { id, name, message: Some(message) });
        } else {
            plan.steps.push(Step::Stop { id, name, message, grace });
        }
        return;
    };
    let end = asked.since + asked.grace.min(grace);
    match asked.hook {
        Some(Hook::Runs) if end > input.now => return plan.wake(end),
        Some(_) => {
            let left = Duration::try_from(end.duration_since(input.now)).unwrap_or_default();
            return plan.steps.push(Step::Ask { id, grace: left.max(LEAST_GRACE) });
        }
        // As it was asked before, so that tries keep their distance.
        None if asked.undelivered && end > input.now => {
            plan.steps.push(Step::Ask { id, grace: asked.grace });
            return plan.wake(end);
        }
        None => {}
    }
    let deadline = if asked.killed { asked.since + KILL_REPEAT } else { end };
    if deadline <= input.now {
        plan.steps.push(Step::Kill { id, name, message: None });
    } else {
        plan.wake(deadline);
    }
}
