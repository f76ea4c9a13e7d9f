//! The part of a pod's worker that does what was decided, and says how to go on.

use std::{sync::Arc, time::Duration};

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use component::events::EventType;
use tokio::sync::watch;

use super::{
    hooks::Hooked,
    next_step::{Hook, Plan, Step, Stopping},
    sandbox::Place,
    start::Starter,
    termination,
    worker::{Update, Worker},
};
use crate::{
    describe::describe,
    runtime::{Container, observed::Observed},
    spec, volumes,
};

/// Until something that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// Until it is told that a pod is connected whose containers take longer to start than they should.
const SOON: Duration = Duration::from_millis(500);

/// How to go on after a look at the pod.
pub(super) enum Next {
    Again,
    Wait(Option<Timestamp>),
    Done,
}

impl Worker {
    pub(super) async fn execute(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        plan: Plan,
    ) -> Next {
        if let Some(error) = self.publish_ports(pod, observed).await.err() {
            tracing::warn!(pod = spec::label(pod), error = describe(&error), "host ports not set");
        }
        let wait =
            |until: Timestamp| Next::Wait(Some(plan.wake_at.map_or(until, |wake| wake.min(until))));
        if plan.steps.is_empty() {
            return Next::Wait(plan.wake_at);
        }
        if let Some(until) = self.pace.wait(observed, &plan.steps, Timestamp::now()) {
            return wait(until);
        }
        self.starts.new_round();
        let mut rest = &plan.steps[..];
        while let Some((step, after)) = rest.split_first() {
            rest = after;
            if let Err(again) = self.step(pod, observed, step, &mut rest).await {
                self.containers.distrust();
                return wait(again);
            }
        }
        let now = Timestamp::now();
        self.pace.done(observed, &plan.steps, now);
        let begun = |step: &Step| matches!(step, Step::Start { .. });
        match plan.steps.iter().filter(|step| !begun(step)).collect::<Vec<_>>()[..] {
            [] => Next::Wait(plan.wake_at),
            [Step::RunSandbox { .. }] if self.starts.are_under_way() => wait(now + SOON),
            _ => {
                self.containers.changed();
                Next::Again
            }
        }
    }

    /// Does one step, and those of the rest that begin with it; gives the time of the next try if it failed.
    async fn step(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        step: &Step,
        rest: &mut &[Step],
    ) -> Result<(), Timestamp> {
        let runtime = self.context.runtime.clone();
        let result = match step {
            Step::Stop { id, name, message, grace } => {
                self.killing(pod, name, message);
                let hook = self.begin_pre_stop(pod, observed, id, name).then_some(Hook::Runs);
                self.stopping.insert(id.clone(), Stopping { hook, ..asked(*grace, false) });
                if hook.is_some() {
                    return Ok(());
                }
                runtime.signal(id, stop_signal(observed, id)).await
            }
            Step::Ask { id, grace } => {
                self.pre_stops.end(id);
                self.stopping.insert(id.clone(), asked(*grace, false));
                runtime.signal(id, stop_signal(observed, id)).await
            }
            Step::Kill { id, name, message } => {
                if let Some(message) = message {
                    self.killing(pod, name, message);
                }
                self.stopping.insert(id.clone(), asked(Duration::ZERO, true));
                runtime.signal(id, "SIGKILL").await
            }
            Step::RemoveContainer { id } => {
                termination::forget(&self.context, pod, observed, id);
                runtime.remove(id).await
            }
            Step::RunSandbox { attempt } => {
                return self.run_sandbox(pod, *attempt, std::mem::take(rest)).await;
            }
            Step::RemoveSandbox { id } => return self.remove_sandbox(pod, observed, id).await,
            Step::Start { name, attempt } => {
                let Some(sandbox) = observed.sandbox() else { return Ok(()) };
                let pod_ip = self.pod_ip(pod, observed).unwrap_or_default();
                if observed.latest(name).and_then(Container::exit).is_some() {
                    self.restarts.next(name, Timestamp::now());
                }
                let place = watch::Sender::new(Place::new(sandbox.id.clone(), pod_ip));
                self.start(pod, name, *attempt, place.subscribe());
                Ok(())
            }
        };
        result.map_err(|error| retry(pod, &error))
    }

    fn begin_pre_stop(
        &mut self,
        pod: &Arc<Pod>,
        observed: &Observed,
        id: &str,
        name: &str,
    ) -> bool {
        let Some(wanted) = spec::container(pod, name).cloned() else { return false };
        let pod_ip = self.pod_ip(pod, observed).unwrap_or_default();
        let (context, pod) = (self.context.clone(), pod.clone());
        let hooked = Hooked { context, pod, pod_ip, wanted, id: id.to_owned() };
        self.pre_stops.begin(hooked, &self.wake)
    }

    fn killing(&self, pod: &Pod, container: &str, message: &str) {
        self.context.container_event(pod, container, EventType::Normal, "Killing", message);
    }

    pub(super) fn start(
        &mut self,
        pod: &Arc<Pod>,
        name: &str,
        attempt: u32,
        place: watch::Receiver<Place>,
    ) {
        let Some(wanted) = spec::container(pod, name).cloned() else { return };
        let (context, shared) = (self.context.clone(), self.shared.clone());
        let starter = Starter { context, pod: pod.clone(), place, shared };
        self.starts.begin(starter, wanted, attempt);
    }

    /// Nothing runs any more: what is left are files, the address, and the object.
    pub(super) async fn finish(&self, update: &Update, uid: &str) -> Next {
        if let Err(error) = self.context.network.detach(uid).await {
            return Next::Wait(Some(retry(&update.pod, &error)));
        }
        self.context.network.release(uid);
        if let Err(error) = volumes::remove(self.context.pod_dir(uid)).await {
            return Next::Wait(Some(retry(&update.pod, &error)));
        }
        if update.gone {
            return Next::Done;
        }
        self.writer.delete();
        Next::Wait(None)
    }
}

fn asked(grace: Duration, killed: bool) -> Stopping {
    Stopping { since: Timestamp::now(), grace, killed, hook: None }
}

fn stop_signal<'a>(observed: &'a Observed, id: &str) -> &'a str {
    let container = observed.containers.iter().find(|container| container.id == id);
    container.map_or("SIGTERM", |container| container.stop_signal.as_str())
}

pub(super) fn retry(pod: &Pod, error: &dyn std::error::Error) -> Timestamp {
    tracing::warn!(pod = spec::label(pod), error = describe(error), "step failed, trying again");
    Timestamp::now() + RETRY
}
