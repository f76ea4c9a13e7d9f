//! The worker of one pod: looks at the pod and the runtime, asks [`next_step`] and does what it says.
//!
//! It has no queue: it always works on the latest update. Containers are started beside it ([`starts`]):
//! whatever holds up one of them holds up neither what runs nor the pod's end.
//!
//! [`starts`]: super::starts

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::Duration,
};

use api_types::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use component::events::EventType;
use tokio::sync::{Notify, watch};

use super::{
    back_off::BackOff,
    containers::Containers,
    describe,
    hooks::{Hooked, PreStops},
    next_step::{self, Failure, Hook, Plan, Step, Stopping, next_step},
    observed::Observed,
    pace::Pace,
    sandbox::Place,
    spec,
    start::{Shared, Started, Starter},
    starts::Starts,
    status,
    status_writer::StatusWriter,
    stop::LEAST_GRACE,
    termination::{self, Messages},
};
use crate::{admission::Verdict, context::Context, probe::Probes, runtime::Container, volumes};

/// Until something that failed is tried again.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// Until it is told that a pod is connected whose containers take longer to start than they should.
const SOON: Duration = Duration::from_millis(500);
/// Until a pod that came before its node asks again whether it may run.
const ADMISSION_LOOK: Duration = Duration::from_millis(200);

/// The latest known about a pod.
#[derive(Clone, Debug)]
pub struct Update {
    /// The pod as last seen.
    pub pod: Arc<Pod>,
    /// Whether the API server no longer has it.
    pub gone: bool,
    /// Why it must end here, if it takes too much of the node.
    pub evicted: Option<String>,
}

impl Update {
    /// Whether the pod must not run any more.
    pub(super) fn stops(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// How long its containers get to stop, as in Kubernetes: of a pod that the API server no longer has,
    /// whatever its spec says, no more than any container gets.
    fn grace(&self) -> Duration {
        let asked = if self.gone { Duration::ZERO } else { spec::grace(&self.pod) };
        asked.max(LEAST_GRACE)
    }
}

/// How to go on after a look at the pod.
enum Next {
    Again,
    Wait(Option<Timestamp>),
    Done,
}

/// The state of one pod's worker.
#[derive(Debug)]
pub struct Worker {
    pub(super) context: Arc<Context>,
    updates: watch::Receiver<Update>,
    wake: Arc<Notify>,
    pub(super) containers: Containers,
    pre_stops: PreStops,
    pub(super) probes: Probes,
    pub(super) writer: StatusWriter,
    /// The status computed last; what the API server has may lag behind it.
    pub(super) status: Option<PodStatus>,
    restarts: BackOff,
    pub(super) starts: Starts,
    shared: Arc<Shared>,
    failures: BTreeMap<String, Failure>,
    stopping: BTreeMap<String, Stopping>,
    /// When the pod began to stop.
    stop_began: Option<Timestamp>,
    /// The sandbox that was made and connected last.
    pub(super) connected: Option<String>,
    pub(super) sandboxes: BackOff,
    /// Containers whose back-off was reported, with their attempt.
    pub(super) reported: BTreeSet<(String, u32)>,
    /// What containers said at their end.
    pub(super) messages: Messages,
    pace: Pace,
    admitted: bool,
}

impl Worker {
    /// A worker that has not looked at anything yet.
    pub fn new(context: Arc<Context>, updates: watch::Receiver<Update>, wake: Arc<Notify>) -> Self {
        let (client, metrics) = (context.client.clone(), context.metrics.clone());
        let writer = StatusWriter::spawn(client, metrics, &updates.borrow().pod);
        Self {
            context,
            updates,
            wake,
            containers: Containers::default(),
            pre_stops: PreStops::default(),
            probes: Probes::default(),
            writer,
            status: None,
            restarts: BackOff::default(),
            starts: Starts::default(),
            shared: Arc::default(),
            failures: BTreeMap::new(),
            stopping: BTreeMap::new(),
            stop_began: None,
            connected: None,
            sandboxes: BackOff::default(),
            reported: BTreeSet::new(),
            messages: Messages::default(),
            pace: Pace::default(),
            admitted: false,
        }
    }

    /// Works until nothing of the pod is left, here and in the API server.
    pub async fn run(mut self) {
        loop {
            let update = self.updates.borrow_and_update().clone();
            match self.look(&update).await {
                Next::Again => {}
                Next::Done => return,
                Next::Wait(until) => self.wait(until).await,
            }
        }
    }

    async fn wait(&mut self, until: Option<Timestamp>) {
        tokio::select! {
            // The manager keeps the sender while the worker runs.
            _ = self.updates.changed() => {}
            () = self.wake.notified() => self.containers.distrust(),
            () = reached(until) => self.containers.changed(),
            (name, outcome) = self.starts.ended() => self.started(name, outcome),
        }
    }

    /// A start has ended. Between a look at the runtime and what follows from it none may be taken for
    /// ended: its container was not seen yet, and would be started again.
    fn started(&mut self, name: String, outcome: Result<Started, Failure>) {
        match outcome {
            Ok(Started { id, hooked }) => {
                self.failures.remove(&name);
                if let Err(message) = hooked {
                    self.probes.condemn(&id, "FailedPostStartHook");
                    self.failures.insert(name, Failure::of_post_start(message));
                }
                self.containers.made(id);
            }
            Err(failure) => {
                self.failures.insert(name, failure);
                self.containers.distrust();
            }
        }
    }

    async fn look(&mut self, update: &Update) -> Next {
        self.writer.seen(&update.pod);
        let pod = Arc::new(self.with_latest_status(&update.pod));
        let uid = spec::identity(&pod).uid;
        let mut observed = match self.containers.look(&*self.context.runtime, &uid).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(pod = spec::label(&pod), %error, "cannot look at the pod");
                return Next::Wait(Some(Timestamp::now() + RETRY));
            }
        };
        self.starts.conceal(&mut observed);
        if let Some(next) = self.admit(&pod, update, &observed) {
            return next;
        }
        self.take_note(&pod, update, &observed).await;
        let plan = self.plan(&pod, update, &observed);
        if plan.ended {
            // Before anybody hears of the end and has another pod take its place.
            self.context.ledger.release(&uid);
            self.context.objects.release(&uid);
        }
        self.report(&pod, update, &observed, &plan);
        if plan.gone {
            return self.finish(update, &uid).await;
        }
        if plan.retired {
            self.context.network.release(&uid);
        }
        self.execute(&pod, &observed, plan).await
    }

    /// Asks once whether the pod may run here. One that stops, has ended or has begun is not asked.
    fn admit(&mut self, pod: &Pod, update: &Update, observed: &Observed) -> Option<Next> {
        let over = update.stops() || status::reported_end(pod).is_some();
        if self.admitted || over {
            return None;
        }
        if !observed.is_empty() {
            self.context.ledger.hold(&update.pod);
        }
        match self.context.ledger.admit(&update.pod) {
            Verdict::Admitted => {
                self.admitted = true;
                None
            }
            Verdict::Rejected(rejection) => {
                self.reject(pod, &rejection);
                Some(Next::Again)
            }
            Verdict::NotYet => Some(Next::Wait(Some(Timestamp::now() + ADMISSION_LOOK))),
        }
    }

    /// Brings what is known besides the runtime up to date with it.
    async fn take_note(&mut self, pod: &Pod, update: &Update, observed: &Observed) {
        let now = Timestamp::now();
        let stops =
            update.stops() || update.evicted.is_some() || status::is_terminal(pod, observed, now);
        self.stop_began = stops.then(|| self.stop_began.unwrap_or(now));
        let running: BTreeSet<&str> = observed.running().map(|c| c.id.as_str()).collect();
        self.stopping.retain(|id, _| running.contains(id.as_str()));
        for (id, stopping) in &mut self.stopping {
            let ended = self.pre_stops.has_ended(id);
            stopping.hook = stopping.hook.map(|hook| if ended { Hook::Ended } else { hook });
        }
        let sandbox = observed.sandbox().filter(|_| !stops);
        self.starts.keep(sandbox.map(|sandbox| sandbox.id.as_str()), pod);
        let unhealthy = self.probes.results().unhealthy;
        self.failures.retain(|name, _| {
            let latest = observed.latest(name).filter(|latest| latest.is_running());
            latest.is_none_or(|latest| unhealthy.contains_key(&latest.id))
        });
        let pod_ip = self.pod_ip(pod, observed);
        let (context, wake) = (&self.context, &self.wake);
        self.probes.follow(context, wake, &update.pod, observed, pod_ip.as_deref(), stops);
        self.messages.read(&self.context, pod, observed).await;
    }

    fn plan(&self, pod: &Pod, update: &Update, observed: &Observed) -> Plan {
        let (probed, now) = (self.probes.results(), Timestamp::now());
        next_step(&next_step::Input {
            pod,
            observed,
            connected: self.connected.as_deref(),
            stop: update.stops().then(|| update.grace()),
            evicted: update.evicted.is_some(),
            stop_began: self.stop_began.unwrap_or(now),
            restarts: &self.restarts,
            failures: &self.failures,
            starting: &self.starts.names(),
            stopping: &self.stopping,
            unhealthy: &probed.unhealthy,
            started: &probed.started,
            now,
        })
    }

    pub(super) fn pod_ip(&self, pod: &Pod, observed: &Observed) -> Option<String> {
        if spec::host_network(pod) {
            return observed.sandbox().map(|_| self.context.host_ip.clone());
        }
        self.address(pod, observed).map(|address| address.to_string())
    }

    /// The address in the pod network of a pod that has a sandbox.
    pub(super) fn address(&self, pod: &Pod, observed: &Observed) -> Option<Ipv4Addr> {
        let sandbox = observed.sandbox().filter(|_| !spec::host_network(pod))?;
        sandbox.address.or_else(|| self.context.network.address(&spec::identity(pod).uid))
    }

    // --- Act ---

    async fn execute(&mut self, pod: &Arc<Pod>, observed: &Observed, plan: Plan) -> Next {
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
    async fn finish(&self, update: &Update, uid: &str) -> Next {
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

/// Ends at that time; without one, never.
async fn reached(time: Option<Timestamp>) {
    let Some(time) = time else { return std::future::pending().await };
    let left = time.duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
}

pub(super) fn retry(pod: &Pod, error: &dyn std::error::Error) -> Timestamp {
    tracing::warn!(pod = spec::label(pod), error = describe(error), "step failed, trying again");
    Timestamp::now() + RETRY
}
