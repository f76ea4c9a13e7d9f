//! What to do next for a pod: a pure function of its spec, of what the runtime shows, of the delays
//! in force and of the time. Running it twice on the same world gives the same steps, so it does not
//! matter how often or why the worker asks.

use std::time::Duration;

use api_types::api::core::v1::{Container as ContainerSpec, Pod};

use super::{
    container_status,
    host_ports::host_ports,
    plan::{Failure, Input, Plan, Step},
    size, status,
    status_input::Waiting,
    stop::{EVICTION_GRACE, remove_pod, retire_pod, stop_container},
};
use crate::{
    runtime::{Container, State},
    spec::{self, RestartPolicy},
};

/// Decides.
pub fn next_step(input: &Input<'_>) -> Plan {
    let mut plan = Plan::default();
    if let Some(grace) = input.stop {
        remove_pod(input, grace, &mut plan);
    } else if input.evicted {
        retire_pod(input, EVICTION_GRACE, &mut plan);
    } else if status::is_terminal(input.pod, input.observed, input.now) {
        retire_pod(input, spec::grace(input.pod), &mut plan);
    } else {
        live(input, &mut plan);
    }
    plan
}

fn live(input: &Input<'_>, plan: &mut Plan) {
    if let Some(deadline) = status::deadline(input.pod) {
        plan.wake(deadline);
    }
    match input.observed.sandbox() {
        Some(sandbox) => run_pod(input, sandbox, plan),
        None => renew_sandbox(input, plan),
    }
}

/// The sandbox is missing or died: what had joined it is unreachable, so the pod is made anew, its
/// init containers included.
fn renew_sandbox(input: &Input<'_>, plan: &mut Plan) {
    for container in input.observed.running() {
        let message = "Pod sandbox changed, it will be killed and re-created.".to_owned();
        stop_container(input, container, Duration::ZERO, message, plan);
    }
    if input.is_active() {
        return;
    }
    let attempt = input.observed.sandboxes.last().map_or(0, |dead| dead.attempt + 1);
    plan.remove_sandboxes(input.observed.sandboxes.iter());
    let init: Vec<&str> = spec::init_containers(input.pod).map(|c| c.name.as_str()).collect();
    for container in &input.observed.containers {
        if init.contains(&container.name.as_str()) {
            plan.steps.push(Step::RemoveContainer { id: container.id.clone() });
        }
    }
    plan.steps.push(Step::RunSandbox { attempt });
    if input.observed.containers.is_empty() {
        begin(input, plan);
    }
}

/// Starts what a pod of which nothing was made yet begins with.
fn begin(input: &Input<'_>, plan: &mut Plan) {
    match spec::init_containers(input.pod).next() {
        Some(first) => start(input, first, None, plan),
        None => spec::containers(input.pod).for_each(|wanted| start(input, wanted, None, plan)),
    }
}

fn run_pod(input: &Input<'_>, sandbox: &Container, plan: &mut Plan) {
    if half_made(input, sandbox) {
        return plan.remove_sandboxes(std::iter::once(sandbox));
    }
    publish_ports(input, plan);
    // Link and ports are the living one's.
    for dead in input.observed.sandboxes.iter().filter(|other| other.id != sandbox.id) {
        plan.steps.push(Step::RemoveContainer { id: dead.id.clone() });
    }
    remove_old_containers(input, plan);
    // Whoever looks for what is wrong does not wait for init containers, and begins once.
    for container in spec::ephemeral_containers(input.pod) {
        keep(input, sandbox, &container, RestartPolicy::Never, plan);
    }
    if initialised(input, sandbox) || run_init_containers(input, sandbox, plan) {
        for container in spec::init_containers(input.pod).filter(|c| spec::is_sidecar(c)) {
            keep(input, sandbox, container, RestartPolicy::Always, plan);
        }
        for container in spec::containers(input.pod) {
            keep(input, sandbox, container, spec::restart_policy(input.pod), plan);
        }
    }
}

fn publish_ports(input: &Input<'_>, plan: &mut Plan) {
    let Some(addresses) = input.addresses else { return };
    let ports = host_ports(input.pod, Some(addresses), input.publish_ports);
    if input.published != Some(&ports[..]) {
        plan.steps.push(Step::PublishPorts { ports });
    }
}

/// A sandbox left by a kubelet that died before it had connected it, as far as one can tell: containers
/// are started only after that.
fn half_made(input: &Input<'_>, sandbox: &Container) -> bool {
    let private = !spec::host_network(input.pod);
    let was_started = |c: &Container| c.sandbox_id == sandbox.id && c.state != State::Created;
    let used = input.observed.containers.iter().any(was_started);
    private && !used && input.connected != Some(&sandbox.id)
}

/// Init containers need not be looked at once a container proper exists in this sandbox: theirs may
/// have been removed since.
fn initialised(input: &Input<'_>, sandbox: &Container) -> bool {
    spec::containers(input.pod).any(|container| {
        let latest = input.observed.latest(&container.name);
        latest.is_some_and(|latest| latest.sandbox_id == sandbox.id)
    })
}

/// Runs the first init container that is not done; true if all are.
fn run_init_containers(input: &Input<'_>, sandbox: &Container, plan: &mut Plan) -> bool {
    for container in spec::init_containers(input.pod) {
        let latest = input.observed.latest(&container.name);
        if spec::is_sidecar(container) {
            keep(input, sandbox, container, RestartPolicy::Always, plan);
            if !latest.is_some_and(|latest| has_started(input, latest)) {
                return false;
            }
            continue;
        }
        let done = latest.and_then(Container::exit).is_some_and(|exit| exit.code == 0);
        if !done {
            keep(input, sandbox, container, init_policy(input.pod), plan);
            return false;
        }
    }
    true
}

/// Whether the container runs and its startup probe, if it has one, has passed.
fn has_started(input: &Input<'_>, container: &Container) -> bool {
    container.is_running() && input.started.get(&container.id).copied().unwrap_or(true)
}

fn init_policy(pod: &Pod) -> RestartPolicy {
    match spec::restart_policy(pod) {
        RestartPolicy::Never => RestartPolicy::Never,
        RestartPolicy::Always | RestartPolicy::OnFailure => RestartPolicy::OnFailure,
    }
}

/// Brings one container to where it should be.
fn keep(
    input: &Input<'_>,
    sandbox: &Container,
    wanted: &ContainerSpec,
    policy: RestartPolicy,
    plan: &mut Plan,
) {
    let Some(latest) = input.observed.latest(&wanted.name) else {
        return start(input, wanted, None, plan);
    };
    match &latest.state {
        State::Running { .. } => {
            if let Some((message, grace)) = reason_to_stop(input, sandbox, wanted, latest) {
                stop_container(input, latest, grace, message, plan);
            } else if let Some(resources) = size::due(wanted, latest) {
                let (id, name) = (latest.id.clone(), wanted.name.clone());
                plan.steps.push(Step::Update { id, name, resources });
            }
        }
        State::Created => start(input, wanted, Some(latest), plan),
        State::Exited(exit) if policy.restarts(exit.code) => {
            // A start that is under way was counted when it began.
            let under_way = input.starting.contains(&wanted.name);
            match input.restarts.until(&wanted.name, exit.finished_at, input.now) {
                Some(until) if !under_way && pending_failure(input, &wanted.name).is_none() => {
                    plan.waiting.insert(wanted.name.clone(), crash_loop(input, wanted));
                    plan.wake(until);
                }
                _ => start(input, wanted, Some(latest), plan),
            }
        }
        State::Exited(_) => {}
    }
}

/// What to say of a container that must stop, and the time it gets. One that was asked to stop goes on
/// stopping, whatever has become of the reason: its process is on the way out.
fn reason_to_stop(
    input: &Input<'_>,
    sandbox: &Container,
    wanted: &ContainerSpec,
    latest: &Container,
) -> Option<(String, Duration)> {
    let (name, grace) = (&wanted.name, spec::grace(input.pod));
    if let Some(asked) = input.stopping.get(&latest.id) {
        return Some((format!("Stopping container {name}"), asked.grace));
    }
    if latest.sandbox_id != sandbox.id {
        let message = "Pod sandbox changed, it will be killed and re-created.";
        return Some((message.to_owned(), grace));
    }
    if latest.hash != spec::hash(wanted) {
        return Some((format!("Container {name} definition changed, will be restarted"), grace));
    }
    if size::restarts(wanted, latest, spec::reported(input.pod, name)) {
        return Some((format!("Container {name} resize requires restart"), grace));
    }
    let unhealthy = input.unhealthy.get(&latest.id)?;
    Some((unhealthy.message.clone(), unhealthy.grace.unwrap_or(grace)))
}

/// The last failed start, while it must not be tried again.
fn pending_failure<'a>(input: &Input<'a>, name: &str) -> Option<&'a Failure> {
    input.failures.get(name).filter(|failure| failure.retry_at > input.now)
}

fn start(input: &Input<'_>, wanted: &ContainerSpec, latest: Option<&Container>, plan: &mut Plan) {
    if let Some(failure) = input.failures.get(&wanted.name) {
        plan.waiting.insert(wanted.name.clone(), failure.waiting.clone());
        if failure.retry_at > input.now {
            return plan.wake(failure.retry_at);
        }
    }
    if input.starting.contains(&wanted.name) {
        return;
    }
    let attempt = match latest {
        Some(Container { state: State::Created, attempt, .. }) => *attempt,
        Some(ended) => ended.attempt + 1,
        None => container_status::reported_restarts(input.pod, &wanted.name)
            .map_or(0, |count| count + 1),
    };
    plan.steps.push(Step::Start { name: wanted.name.clone(), attempt });
}

fn crash_loop(input: &Input<'_>, wanted: &ContainerSpec) -> Waiting {
    let delay = input.restarts.delay(&wanted.name).as_secs();
    let (minutes, seconds) = (delay / 60, delay % 60);
    let delay = if minutes > 0 { format!("{minutes}m{seconds}s") } else { format!("{seconds}s") };
    Waiting {
        reason: "CrashLoopBackOff".to_owned(),
        message: format!(
            "back-off {delay} restarting failed container={} pod={}",
            wanted.name,
            spec::label(input.pod)
        ),
    }
}

/// Keeps, of each container, the latest and the dead one before it.
fn remove_old_containers(input: &Input<'_>, plan: &mut Plan) {
    let observed = input.observed;
    for container in &observed.containers {
        let kept = [observed.latest(&container.name), observed.previous(&container.name)];
        if !container.is_running() && !kept.contains(&Some(container)) {
            plan.steps.push(Step::RemoveContainer { id: container.id.clone() });
        }
    }
}

#[cfg(test)]
#[path = "next_step_tests.rs"]
mod tests;
