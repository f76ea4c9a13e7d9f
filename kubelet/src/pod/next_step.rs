//! What to do next for a pod: a pure function of its spec, of what the runtime shows, of the delays
//! in force and of the time. Running it twice on the same world gives the same steps, so it does not
//! matter how often or why the worker asks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api_types::{
    api::core::v1::{Container as ContainerSpec, Pod},
    jiff::Timestamp,
};

use super::{
    back_off::BackOff,
    container_status,
    status::{self, Waiting},
    stop::{EVICTION_GRACE, remove_pod, retire_pod, stop_container},
};
use crate::{
    probe::results::Unhealthy,
    runtime::{Container, State, observed::Observed},
    spec::{self, RestartPolicy},
};

/// A start that failed, and the time before which it is not tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the pod's status says meanwhile.
    pub waiting: Waiting,
    /// When to try again.
    pub retry_at: Timestamp,
}

/// A container that was asked to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// When it was asked.
    pub since: Timestamp,
    /// The time it was given.
    pub grace: Duration,
    /// Whether SIGKILL was sent.
    pub killed: bool,
    /// Its preStop hook, if it is not asked before that has ended.
    pub hook: Option<Hook>,
}

/// A preStop hook that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// It goes on.
    Runs,
    /// It has ended, however.
    Ended,
}

/// What the decision is made from.
#[derive(Debug)]
pub struct Input<'a> {
    /// The pod as the API server has it.
    pub pod: &'a Pod,
    /// The pod as the runtime has it.
    pub observed: &'a Observed,
    /// The id of the sandbox that this kubelet made and connected, if it made one.
    pub connected: Option<&'a str>,
    /// Set if the pod must go: the time its containers get.
    pub stop: Option<Duration>,
    /// Whether the pod must end because it takes too much of the node.
    pub evicted: bool,
    /// When the pod began to stop; now, if it has not begun.
    pub stop_began: Timestamp,
    /// Delays of restarts, by container name.
    pub restarts: &'a BackOff,
    /// Failed starts, by container name.
    pub failures: &'a BTreeMap<String, Failure>,
    /// Names of the containers that are being started.
    pub starting: &'a BTreeSet<String>,
    /// Containers already asked to stop, by id.
    pub stopping: &'a BTreeMap<String, Stopping>,
    /// Containers whose liveness or startup probe failed, by id.
    pub unhealthy: &'a BTreeMap<String, Unhealthy>,
    /// Result of startup probes, by id. A container without an entry has no such probe.
    pub started: &'a BTreeMap<String, bool>,
    /// The time.
    pub now: Timestamp,
}

impl Input<'_> {
    /// Whether something of the pod runs, or may run in a moment.
    pub(super) fn is_active(&self) -> bool {
        self.observed.running().next().is_some() || !self.starting.is_empty()
    }
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask a container to stop, after its preStop hook if it has one.
    Stop {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What the `Killing` event says.
        message: String,
        /// The time it has.
        grace: Duration,
    },
    /// Ask a container to stop whose preStop hook has had its time.
    Ask {
        /// Its id.
        id: String,
        /// The time it has.
        grace: Duration,
    },
    /// End a container at once.
    Kill {
        /// Its id.
        id: String,
        /// Its name.
        name: String,
        /// What the `Killing` event says; `None` if it was said when it was asked to stop.
        message: Option<String>,
    },
    /// Forget a dead container.
    RemoveContainer {
        /// Its id.
        id: String,
    },
    /// Make and connect the pod's sandbox. The starts that follow are of containers in it, and begin
    /// meanwhile.
    RunSandbox {
        /// Counts the pod's sandboxes.
        attempt: u32,
    },
    /// Disconnect and remove a sandbox.
    RemoveSandbox {
        /// Its id.
        id: String,
    },
    /// Pull, make and start a container, beside everything else.
    Start {
        /// Its name.
        name: String,
        /// Its restart count.
        attempt: u32,
    },
}

/// The steps, and what to report until the next decision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// What to do now, in order.
    pub steps: Vec<Step>,
    /// Why containers are not running, by name.
    pub waiting: BTreeMap<String, Waiting>,
    /// When to decide anew even if nothing happens.
    pub wake_at: Option<Timestamp>,
    /// Nothing of the pod is left and none of it is wanted.
    pub gone: bool,
    /// The pod is done for good or deleted, and nothing of it runs: its share of the node is free.
    pub ended: bool,
    /// The pod is done for good and neither runs nor has a network: its address is free.
    pub retired: bool,
}

impl Plan {
    pub(super) fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |earlier| earlier.min(at)));
    }
}

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
    remove_sandboxes(input.observed.sandboxes.iter(), plan);
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
        return remove_sandboxes(std::iter::once(sandbox), plan);
    }
    let dead = input.observed.sandboxes.iter().filter(|other| other.id != sandbox.id);
    remove_sandboxes(dead, plan);
    remove_old_containers(input, plan);
    if initialised(input, sandbox) || run_init_containers(input, sandbox, plan) {
        for container in spec::init_containers(input.pod).filter(|c| spec::is_sidecar(c)) {
            keep(input, sandbox, container, RestartPolicy::Always, plan);
        }
        for container in spec::containers(input.pod) {
            keep(input, sandbox, container, spec::restart_policy(input.pod), plan);
        }
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

pub(super) fn remove_sandboxes<'a>(
    sandboxes: impl Iterator<Item = &'a Container>,
    plan: &mut Plan,
) {
    plan.steps.extend(sandboxes.map(|sandbox| Step::RemoveSandbox { id: sandbox.id.clone() }));
}

#[cfg(test)]
#[path = "next_step_tests.rs"]
mod tests;
