//! The worker of one pod: looks at the pod and the runtime, asks [`next_step`] and has done what it says ([`act`]).
//!
//! It has no queue: it always works on the latest update. Containers are started beside it ([`starts`]), and
//! what else takes a runtime or a network is done beside it ([`operations`]): whatever holds up one of these
//! holds up neither what runs nor the pod's end.
//!
//! [`act`]: super::act
//! [`operations`]: super::operations
//! [`starts`]: super::starts

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use api_types::{
    api::core::v1::{Pod, PodStatus},
    jiff::Timestamp,
};
use tokio::sync::{Notify, watch};

use super::{
    back_off::BackOff,
    containers::Containers,
    hooks::PreStops,
    next_step::next_step,
    operations::Operations,
    pace::PAUSE,
    plan::{self, Failure, Hook, Plan, Step, Stopping},
    refresh::Refresh,
    start::Shared,
    starts::Starts,
    status,
    status_input::{PulledImage, Resizing},
    status_writer::StatusWriter,
    stop::LEAST_GRACE,
    termination::Messages,
};
use crate::{
    addresses::{Ips, PodAddresses},
    admission::Admission,
    context::Context,
    network::PortMapping,
    probe::Probes,
    runtime::observed::Observed,
    spec,
    usage::running::Entry,
};

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
    pub(super) wake: Arc<Notify>,
    pub(super) containers: Containers,
    pub(super) pre_stops: PreStops,
    pub(super) probes: Probes,
    pub(super) writer: StatusWriter,
    /// The status computed last; what the API server has may lag behind it.
    pub(super) status: Option<PodStatus>,
    pub(super) restarts: BackOff,
    pub(super) starts: Starts,
    pub(super) shared: Arc<Shared>,
    /// The images that starts have pulled, by container.
    pub(super) pulled: watch::Receiver<BTreeMap<String, PulledImage>>,
    refresh: Refresh,
    pub(super) operations: Operations,
    pub(super) failures: BTreeMap<String, Failure>,
    pub(super) stopping: BTreeMap<String, Stopping>,
    /// When the pod began to stop.
    stop_began: Option<Timestamp>,
    /// The sandbox that was made and connected last.
    pub(super) connected: Option<String>,
    pub(super) sandboxes: BackOff,
    /// The ports of the node that lead to the pod, as far as it is known.
    pub(super) published: Option<Vec<PortMapping>>,
    /// The same for people: those that were chosen for it.
    pub(super) chosen_ports: Option<String>,
    /// Whether the pod is disconnected and its files are gone.
    pub(super) left: bool,
    /// Containers whose back-off was reported, with their attempt.
    pub(super) reported: BTreeSet<(String, u32)>,
    /// What containers said at their end.
    pub(super) messages: Messages,
    /// What has come of the pod's wish for another share of the node.
    pub(super) resizing: Resizing,
    admitted: bool,
    running: Entry,
    /// When the worker came to the pod.
    pub(super) begun: Instant,
    looked: bool,
}

impl Worker {
    /// A worker that has not looked at anything yet.
    pub fn new(context: Arc<Context>, updates: watch::Receiver<Update>, wake: Arc<Notify>) -> Self {
        let (client, metrics) = (context.client.clone(), context.metrics.clone());
        let writer = StatusWriter::spawn(client, metrics, &updates.borrow().pod);
        let shared = Arc::<Shared>::default();
        let running = context.running.enter(&spec::identity(&updates.borrow().pod).uid);
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
            pulled: shared.pulled(),
            shared,
            refresh: Refresh::default(),
            operations: Operations::default(),
            failures: BTreeMap::new(),
            stopping: BTreeMap::new(),
            stop_began: None,
            connected: None,
            sandboxes: BackOff::default(),
            published: None,
            chosen_ports: None,
            left: false,
            reported: BTreeSet::new(),
            messages: Messages::default(),
            resizing: Resizing::default(),
            admitted: false,
            running,
            begun: Instant::now(),
            looked: false,
        }
    }

    /// Works until nothing of the pod is left, here and in the API server.
    pub async fn run(mut self) {
        loop {
            let update = self.updates.borrow_and_update().clone();
            let begun = Instant::now();
            let next = self.look(&update).await;
            self.context.metrics.pod_synced(self.operation(&update), begun.elapsed());
            self.looked = true;
            match next {
                Next::Again => {}
                Next::Done => return,
                Next::Wait(until) => self.wait(until).await,
            }
        }
    }

    /// Kubernetes' word for what a look at the pod is for.
    fn operation(&self, update: &Update) -> &'static str {
        match (update.stops(), self.looked) {
            (true, _) => "kill",
            (false, false) => "create",
            (false, true) => "sync",
        }
    }

    /// Until there may be something to decide.
    async fn wait(&mut self, mut until: Option<Timestamp>) {
        loop {
            tokio::select! {
                // The manager keeps the sender while the worker runs.
                _ = self.updates.changed() => {}
                () = self.wake.notified() => self.containers.distrust(),
                () = reached(until) => self.containers.changed(),
                // `shared` keeps the sender.
                _ = self.pulled.changed() => {}
                () = self.refresh.due() => {
                    let (context, pod) = (self.context.clone(), self.pod());
                    self.refresh.begin(context, pod, self.shared.clone());
                    continue;
                }
                (name, outcome) = self.starts.ended() => self.start_ended(name, outcome),
                (step, outcome) = self.operations.ended() => {
                    let connected = matches!(step, Step::RunSandbox { .. }) && outcome.is_ok();
                    self.operation_ended(step, outcome);
                    if connected && self.starts.are_under_way() {
                        let soon = Timestamp::now() + SOON;
                        until = Some(until.map_or(soon, |until| until.min(soon)));
                        continue;
                    }
                }
            }
            return;
        }
    }

    async fn look(&mut self, update: &Update) -> Next {
        self.writer.seen(&update.pod);
        let pod = Arc::new(self.allocated(self.with_latest_status(&update.pod)));
        let uid = spec::identity(&pod).uid;
        let mut observed = match self.containers.look(&*self.context.runtime, &uid).await {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(pod = spec::label(&pod), %error, "cannot look at the pod");
                return Next::Wait(Some(Timestamp::now() + PAUSE));
            }
        };
        self.running.note(&pod, &observed);
        self.starts.conceal(&mut observed);
        self.operations.conceal(&mut observed);
        if let Some(next) = self.admit(&pod, update, &observed) {
            return next;
        }
        if self.resize(&pod, update) {
            return Next::Again;
        }
        self.take_note(&pod, update, &observed).await;
        let plan = self.plan(&pod, update, &observed);
        if plan.ended {
            // Before anybody hears of the end and has another pod take its place.
            self.context.ledger.release(&uid);
            self.context.objects.release(&uid);
            self.context.tokens.release(&uid);
        }
        self.report(&pod, update, &observed, &plan);
        if plan.gone {
            if update.gone {
                return Next::Done;
            }
            self.writer.delete();
        }
        if plan.retired {
            self.context.network.release(&uid);
        }
        let until = self.execute(&pod, &observed, plan);
        Next::Wait(until.into_iter().chain(self.resize_again()).min())
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
            Admission::Admitted => {
                self.admitted = true;
                None
            }
            Admission::Rejected(rejection) => {
                self.reject(pod, &rejection);
                Some(Next::Again)
            }
            Admission::NotYet => Some(Next::Wait(Some(Timestamp::now() + ADMISSION_LOOK))),
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
        self.pre_stops.keep(&running);
        for (id, stopping) in &mut self.stopping {
            let ended = self.pre_stops.has_ended(id);
            stopping.hook = stopping.hook.map(|hook| if ended { Hook::Ended } else { hook });
        }
        self.left &= observed.is_empty();
        if stops || !self.operations.connect() {
            let sandbox = observed.sandbox().filter(|_| !stops);
            self.starts.keep(sandbox.map(|sandbox| sandbox.id.as_str()), pod);
        }
        let unhealthy = self.probes.results().unhealthy;
        self.failures.retain(|name, _| {
            let latest = observed.latest(name).filter(|latest| latest.is_running());
            latest.is_none_or(|latest| unhealthy.contains_key(&latest.id))
        });
        let pod_ip = self.ips(pod, observed).map(|ips| ips.first);
        let (context, wake) = (&self.context, &self.wake);
        self.probes.follow(context, wake, &update.pod, observed, pod_ip.as_deref(), stops);
        let runs = !stops && observed.running().next().is_some();
        let frequency = self.context.sync_frequency;
        self.refresh.follow(pod, pod_ip.filter(|_| runs), frequency);
        self.messages.read(&self.context, pod, observed).await;
    }

    fn plan(&self, pod: &Pod, update: &Update, observed: &Observed) -> Plan {
        let (probed, now) = (self.probes.results(), Timestamp::now());
        next_step(&plan::Input {
            pod,
            observed,
            connected: self.connected.as_deref(),
            stop: update.stops().then(|| update.grace()),
            evicted: update.evicted.is_some(),
            stop_began: self.stop_began.unwrap_or(now),
            restarts: &self.restarts,
            failures: &self.failures,
            starting: &self.starts.names(),
            connecting: self.operations.connect(),
            addresses: self.addresses(pod, observed),
            publish_ports: self.context.publish_ports,
            published: self.published.as_deref(),
            left: self.left,
            stopping: &self.stopping,
            unhealthy: &probed.unhealthy,
            started: &probed.started,
            now,
        })
    }

    pub(super) fn pod(&self) -> Arc<Pod> {
        self.updates.borrow().pod.clone()
    }

    pub(super) fn ips(&self, pod: &Pod, observed: &Observed) -> Option<Ips> {
        if spec::host_network(pod) {
            return observed.sandbox().map(|_| self.context.host_ips());
        }
        self.addresses(pod, observed).map(Ips::from)
    }

    /// The addresses in the pod network of a pod that has a sandbox.
    fn addresses(&self, pod: &Pod, observed: &Observed) -> Option<PodAddresses> {
        let sandbox = observed.sandbox().filter(|_| !spec::host_network(pod))?;
        let network = &self.context.network;
        let made_for = sandbox.addresses.map(|addresses| network.valid(addresses));
        made_for.or_else(|| network.addresses(&spec::identity(pod).uid))
    }
}

/// Ends at that time; without one, never.
async fn reached(time: Option<Timestamp>) {
    let Some(time) = time else { return std::future::pending().await };
    let left = time.duration_since(Timestamp::now());
    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
}
