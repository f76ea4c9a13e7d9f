//! The part of a pod's worker that begins with what was decided.

use std::{borrow::Cow, sync::Arc, time::Duration};

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use component::events::EventType;
use tokio::sync::watch;

use super::{
    hooks::Hooked,
    host_ports,
    operations::{Outcome, within_limit},
    pace::{Held, PAUSE},
    place::Place,
    plan::{Hook, Plan, Step, Stopping},
    sandbox::{Sandbox, SandboxError},
    start::{Shared, Starter},
    termination,
    worker::Worker,
};
use crate::{
    context::Context,
    runtime::{Container, observed::Observed},
    spec, volumes,
};

/// Until a pod looks again whether the node's network is up.
const NETWORK_LOOK: Duration = Duration::from_millis(500);
/// The key of the delays of sandboxes: a pod has one at a time.
pub(super) const SANDBOX: &str = "sandbox";

impl Worker {
    /// Begins with the steps of the plan, but for those that go on already or have to wait; gives the time
    /// to decide anew even if nothing happens.
    pub(super) fn execute(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        mut plan: Plan,
    ) -> Option<Timestamp> {
        self.starts.new_round();
        let (steps, now) = (std::mem::take(&mut plan.steps), Timestamp::now());
        let mut all_done = true;
        for (index, step) in steps.iter().enumerate() {
            let renews = matches!(step, Step::RunSandbox { .. });
            if let Some(held) = self.operations.held(step, now) {
                plan.wake(held.until);
                all_done &= !held.failed;
            } else {
                if self.operations.allow(step) && (all_done || !renews) {
                    let later = self.begin(pod, observed, step, &steps[index + 1..]);
                    later.into_iter().for_each(|time| plan.wake(time));
                }
                all_done = false;
            }
            if renews {
                // The rest are starts in it.
                break;
            }
        }
        plan.wake_at
    }

    /// Gives the time before which it can't begin.
    fn begin(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        step: &Step,
        rest: &[Step],
    ) -> Option<Timestamp> {
        let (context, uid) = (self.context.clone(), spec::identity(pod).uid);
        match step.clone() {
            Step::Stop { id, name, message, grace } => {
                self.killing(pod, &name, &message);
                let hook = self.begin_pre_stop(pod, observed, &id, &name).then_some(Hook::Runs);
                self.stopping.insert(id.clone(), Stopping { hook, ..asked(grace, false) });
                if hook.is_none() {
                    self.signal(step, &id, stop_signal(observed, &id));
                }
            }
            Step::Ask { id, grace } => {
                self.pre_stops.end(&id);
                let again = self.stopping.get(&id).filter(|stopping| stopping.undelivered);
                let since = again.map_or_else(Timestamp::now, |stopping| stopping.since);
                self.stopping.insert(id.clone(), Stopping { since, ..asked(grace, false) });
                self.signal(step, &id, stop_signal(observed, &id));
            }
            Step::Kill { id, name, message } => {
                message.iter().for_each(|message| self.killing(pod, &name, message));
                self.stopping.insert(id.clone(), asked(Duration::ZERO, true));
                self.signal(step, &id, "SIGKILL");
            }
            Step::Update { id, resources, .. } => self.update(step, observed, &id, resources),
            Step::RemoveContainer { id } => {
                termination::forget(&context, pod, observed, &id);
                let remove = async move { Ok(context.runtime.remove(&id).await.map(|()| None)?) };
                self.operations.begin(step.clone(), remove);
            }
            Step::RunSandbox { attempt } => return self.run_sandbox(pod, step, attempt, rest),
            Step::RemoveSandbox { id } => {
                let private = !spec::host_network(pod);
                let remove = remove_sandbox(context, private.then_some(uid), id);
                self.operations.begin(step.clone(), remove);
            }
            Step::PublishPorts { ports } => {
                let publish = async move {
                    let published = context.network.host_ports(&uid, ports.clone()).await?;
                    Ok(Some(host_ports::chosen(&ports, &published)))
                };
                self.operations.begin(step.clone(), publish);
            }
            Step::Leave => {
                let leave = leave(context, uid, self.shared.clone());
                self.operations.begin(step.clone(), leave);
            }
            Step::Start { name, attempt } => {
                let place = self.place(pod, observed)?;
                if observed.latest(&name).and_then(Container::exit).is_some() {
                    self.restarts.next(&name, Timestamp::now());
                }
                self.start(pod, &name, attempt, place);
            }
        }
        None
    }

    fn signal(&mut self, step: &Step, id: &str, signal: &str) {
        let (runtime, id, signal) =
            (self.context.runtime.clone(), id.to_owned(), signal.to_owned());
        let send = async move { Ok(runtime.signal(&id, &signal).await.map(|()| None)?) };
        self.operations.begin(step.clone(), send);
    }

    fn begin_pre_stop(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        id: &str,
        name: &str,
    ) -> bool {
        let Some(wanted) = spec::container(pod, name).map(Cow::into_owned) else { return false };
        let pod_ip = self.ips(pod, observed).unwrap_or_default().first;
        let (context, pod) = (self.context.clone(), pod.clone());
        let hooked = Hooked { context, pod, pod_ip, wanted, id: id.to_owned() };
        self.pre_stops.begin(hooked, &self.wake)
    }

    fn killing(&self, pod: &Pod, container: &str, message: &str) {
        self.context.container_event(pod, container, EventType::Normal, "Killing", message);
    }

    fn place(&self, pod: &Pod, observed: &Observed) -> Option<watch::Receiver<Place>> {
        let ips = self.ips(pod, observed).unwrap_or_default();
        let place = Place::new(observed.sandbox()?.id.clone(), ips);
        Some(watch::Sender::new(place).subscribe())
    }

    fn start(&mut self, pod: &Arc<Pod>, name: &str, attempt: u32, place: watch::Receiver<Place>) {
        let Some(wanted) = spec::container(pod, name).map(Cow::into_owned) else { return };
        let now = Timestamp::now();
        let step = Step::Start { name: name.to_owned(), attempt };
        self.operations.hold(step, Held { until: now + PAUSE, failed: false }, now);
        let (context, shared) = (self.context.clone(), self.shared.clone());
        let starter = Starter { context, pod: pod.clone(), place, shared };
        self.starts.begin(starter, wanted, attempt);
    }

    /// Begins with these starts meanwhile.
    fn run_sandbox(
        &mut self,
        pod: &Arc<Pod>,
        step: &Step,
        attempt: u32,
        starts: &[Step],
    ) -> Option<Timestamp> {
        let now = Timestamp::now();
        if let Some(not_before) = self.sandboxes.until_since_try(SANDBOX, now) {
            return Some(not_before);
        }
        if !spec::host_network(pod) && !self.context.network.is_ready() {
            return Some(now + NETWORK_LOOK);
        }
        let sandbox = match Sandbox::new(&self.context, pod, attempt) {
            Ok(sandbox) => sandbox,
            Err(error) => return Some(self.sandbox_failed(pod, &SandboxError::from(error).into())),
        };
        for start in starts {
            if let Step::Start { name, attempt } = start {
                self.start(pod, name, *attempt, sandbox.place());
            }
        }
        let run = async move { Ok(Some(sandbox.run().await?)) };
        self.operations.begin(step.clone(), run);
        None
    }
}

/// Link and ports are those of the pod, if it is in the pod network.
async fn remove_sandbox(context: Arc<Context>, pod: Option<String>, id: String) -> Outcome {
    if let Some(pod) = pod {
        context.network.detach(&pod).await?;
    }
    Ok(context.runtime.remove(&id).await.map(|()| None)?)
}

/// Nothing runs any more: what is left are files and the address.
async fn leave(context: Arc<Context>, pod: String, shared: Arc<Shared>) -> Outcome {
    within_limit(async { Ok(context.network.detach(&pod).await?) }).await?;
    context.network.release(&pod);
    let _turn = shared.files.lock().await;
    volumes::remove(context.pod_dir(&pod)).await?;
    Ok(None)
}

fn asked(grace: Duration, killed: bool) -> Stopping {
    Stopping { since: Timestamp::now(), grace, killed, undelivered: false, hook: None }
}

fn stop_signal<'a>(observed: &'a Observed, id: &str) -> &'a str {
    let container = observed.containers.iter().find(|container| container.id == id);
    container.map_or("SIGTERM", |container| container.stop_signal.as_str())
}
