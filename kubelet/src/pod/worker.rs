//! The worker of one pod: looks at the pod and the runtime, asks [`next_step`] and does what it says.
//!
//! It has no queue: it always works on the latest update. A slow pull or a long stop of one pod holds
//! up no other, and nothing here waits for the API server.

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
    describe,
    next_step::{self, Failure, Plan, Step, Stopping, next_step},
    observed::Observed,
    spec,
    start::Starter,
    status::{self, OWNED_CONDITIONS},
    status_writer::StatusWriter,
};
use crate::{
    context::Context,
    network::{HostPort, NetworkError},
    probe::Probes,
    runtime::{Container, RuntimeError, SandboxNetwork, SandboxSpec},
    volumes,
};

/// Until something that failed is tried again.
const RETRY: Duration = Duration::from_secs(2);
/// Until a pod looks again whether the node's network is up.
const NETWORK_LOOK: Duration = Duration::from_millis(500);
/// The key of the delays of sandboxes: a pod has one at a time.
const SANDBOX: &str = "sandbox";

/// The latest known about a pod.
#[derive(Clone, Debug)]
pub struct Update {
    /// The pod as last seen.
    pub pod: Arc<Pod>,
    /// Whether the API server no longer has it.
    pub gone: bool,
}

impl Update {
    /// Whether the pod must not run any more.
    fn stops(&self) -> bool {
        self.gone || self.pod.metadata.deletion_timestamp.is_some()
    }
}

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
enum SandboxError {
    #[error("failed to set up network for pod")]
    Network(#[from] NetworkError),
    #[error("failed to start sandbox container")]
    Runtime(#[from] RuntimeError),
    #[error("the sandbox died at once")]
    Died,
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
    context: Arc<Context>,
    updates: watch::Receiver<Update>,
    wake: Arc<Notify>,
    probes: Probes,
    writer: StatusWriter,
    /// The status computed last; what the API server has may lag behind it.
    status: Option<PodStatus>,
    restarts: BackOff,
    pulls: BackOff,
    failures: BTreeMap<String, Failure>,
    stopping: BTreeMap<String, Stopping>,
    /// The sandbox that was made and connected last.
    connected: Option<String>,
    sandboxes: BackOff,
    /// Containers whose back-off was reported, with their attempt.
    reported: BTreeSet<(String, u32)>,
}

impl Worker {
    /// A worker that has not looked at anything yet.
    pub fn new(context: Arc<Context>, updates: watch::Receiver<Update>, wake: Arc<Notify>) -> Self {
        let writer = StatusWriter::spawn(context.client.clone(), &updates.borrow().pod);
        Self {
            context,
            updates,
            wake,
            probes: Probes::default(),
            writer,
            status: None,
            restarts: BackOff::default(),
            pulls: BackOff::default(),
            failures: BTreeMap::new(),
            stopping: BTreeMap::new(),
            connected: None,
            sandboxes: BackOff::default(),
            reported: BTreeSet::new(),
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
        let timer = async {
            match until {
                Some(until) => {
                    let left = until.duration_since(Timestamp::now());
                    tokio::time::sleep(Duration::try_from(left).unwrap_or_default()).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // The manager keeps the sender while the worker runs.
            _ = self.updates.changed() => {}
            () = self.wake.notified() => {}
            () = timer => {}
        }
    }

    async fn look(&mut self, update: &Update) -> Next {
        self.writer.seen(&update.pod);
        let pod = self.with_latest_status(&update.pod);
        let uid = spec::identity(&pod).uid;
        let observed = match self.context.runtime.list(Some(&uid)).await {
            Ok(found) => Observed::new(found),
            Err(error) => {
                tracing::warn!(pod = spec::label(&pod), %error, "cannot look at the pod");
                return Next::Wait(Some(Timestamp::now() + RETRY));
            }
        };
        self.forget(&observed);
        let pod_ip = self.pod_ip(&pod, &observed);
        let (context, wake) = (&self.context, &self.wake);
        self.probes.follow(context, wake, &update.pod, &observed, pod_ip.as_deref());
        let plan = self.plan(&pod, update, &observed);
        self.report(&pod, update, &observed, &plan);
        if plan.gone {
            return self.finish(update, &uid).await;
        }
        self.execute(&pod, &observed, plan).await
    }

    fn plan(&self, pod: &Pod, update: &Update, observed: &Observed) -> Plan {
        let probed = self.probes.results();
        next_step(&next_step::Input {
            pod,
            observed,
            connected: self.connected.as_deref(),
            stop: update.stops().then(|| spec::grace(pod)),
            restarts: &self.restarts,
            failures: &self.failures,
            stopping: &self.stopping,
            unhealthy: &probed.unhealthy,
            now: Timestamp::now(),
        })
    }

    /// The pod with the status that was computed last, and what others wrote since.
    fn with_latest_status(&self, pod: &Pod) -> Pod {
        let mut pod = pod.clone();
        let Some(mut own) = self.status.clone() else { return pod };
        let others = pod.status.take().unwrap_or_default();
        if matches!(others.phase.as_deref(), Some("Succeeded" | "Failed")) {
            own = PodStatus {
                phase: others.phase,
                reason: others.reason,
                message: others.message,
                ..own
            };
        }
        let conditions = own.conditions.get_or_insert_default();
        conditions.retain(|condition| OWNED_CONDITIONS.contains(&condition.type_.as_str()));
        let foreign = others.conditions.into_iter().flatten();
        conditions.extend(foreign.filter(|c| !OWNED_CONDITIONS.contains(&c.type_.as_str())));
        pod.status = Some(own);
        pod
    }

    /// Drops notes about containers that no longer run or exist.
    fn forget(&mut self, observed: &Observed) {
        let running: BTreeSet<&str> = observed.running().map(|c| c.id.as_str()).collect();
        self.stopping.retain(|id, _| running.contains(id.as_str()));
        self.failures.retain(|name, _| !observed.latest(name).is_some_and(Container::is_running));
    }

    // --- Report ---

    fn report(&mut self, pod: &Pod, update: &Update, observed: &Observed, plan: &Plan) {
        // While the pod goes, its containers vanish; that is no news about how they ended.
        if update.gone || (update.stops() && observed.containers.is_empty()) {
            return;
        }
        let pod_ip = self.pod_ip(pod, observed);
        let status = status::compute(&status::Input {
            pod,
            observed,
            waiting: &plan.waiting,
            probed: &self.probes.results(),
            host_ip: &self.context.host_ip,
            pod_ip: pod_ip.as_deref(),
            now: Timestamp::now(),
        });
        self.writer.set(&status);
        self.status = Some(status);
        self.report_back_off(pod, observed, plan);
    }

    fn report_back_off(&mut self, pod: &Pod, observed: &Observed, plan: &Plan) {
        for (name, waiting) in &plan.waiting {
            let attempt = observed.latest(name).map(|latest| latest.attempt).unwrap_or_default();
            let new = waiting.reason == "CrashLoopBackOff"
                && self.reported.insert((name.clone(), attempt));
            if new {
                let message = format!(
                    "Back-off restarting failed container {name} in pod {}",
                    spec::label(pod)
                );
                self.context.container_event(pod, name, EventType::Warning, "BackOff", message);
            }
        }
    }

    fn pod_ip(&self, pod: &Pod, observed: &Observed) -> Option<String> {
        let sandbox = observed.sandbox()?;
        if spec::host_network(pod) {
            return Some(self.context.host_ip.clone());
        }
        sandbox.address.map(|address| address.to_string())
    }

    // --- Act ---

    async fn execute(&mut self, pod: &Pod, observed: &Observed, plan: Plan) -> Next {
        if let Some(error) = self.publish_ports(pod, observed).await.err() {
            tracing::warn!(pod = spec::label(pod), error = describe(&error), "host ports not set");
        }
        if plan.steps.is_empty() {
            return Next::Wait(plan.wake_at);
        }
        for step in plan.steps {
            let outcome = self.step(pod, observed, step).await;
            if let Err(again) = outcome {
                return Next::Wait(Some(plan.wake_at.map_or(again, |wake| wake.min(again))));
            }
        }
        Next::Again
    }

    /// Does one step; gives the time of the next try if it failed.
    async fn step(&mut self, pod: &Pod, observed: &Observed, step: Step) -> Result<(), Timestamp> {
        let runtime = self.context.runtime.clone();
        let result = match step {
            Step::Stop { id, name, message } => {
                self.killing(pod, &name, message);
                let container = observed.containers.iter().find(|container| container.id == id);
                let signal = container.map_or("SIGTERM", |c| c.stop_signal.as_str());
                self.stopping
                    .insert(id.clone(), Stopping { since: Timestamp::now(), killed: false });
                runtime.signal(&id, signal).await
            }
            Step::Kill { id, name, message } => {
                if let Some(message) = message {
                    self.killing(pod, &name, message);
                }
                self.stopping
                    .insert(id.clone(), Stopping { since: Timestamp::now(), killed: true });
                runtime.signal(&id, "SIGKILL").await
            }
            Step::RemoveContainer { id } => runtime.remove(&id).await,
            Step::RunSandbox { attempt } => return self.run_sandbox(pod, attempt).await,
            Step::RemoveSandbox { id } => return self.remove_sandbox(pod, &id).await,
            Step::Start { name, attempt } => {
                self.start(pod, observed, &name, attempt).await;
                Ok(())
            }
        };
        result.map_err(|error| retry(pod, &error))
    }

    fn killing(&self, pod: &Pod, container: &str, message: String) {
        self.context.container_event(pod, container, EventType::Normal, "Killing", message);
    }

    async fn start(&mut self, pod: &Pod, observed: &Observed, name: &str, attempt: u32) {
        let Some(wanted) = spec::container(pod, name) else { return };
        let Some(sandbox) = observed.sandbox() else { return };
        let pod_ip = self.pod_ip(pod, observed).unwrap_or_default();
        if observed.latest(name).and_then(Container::exit).is_some() {
            self.restarts.next(name, Timestamp::now());
        }
        let cancelled = stopped(self.updates.clone());
        let mut starter = Starter {
            context: &self.context,
            pod,
            sandbox_id: &sandbox.id,
            pod_ip: &pod_ip,
            pulls: &mut self.pulls,
        };
        match starter.start(wanted, attempt, cancelled).await {
            Ok(()) => self.failures.remove(name),
            Err(failure) => self.failures.insert(name.to_owned(), failure),
        };
    }

    // --- Sandbox ---

    async fn run_sandbox(&mut self, pod: &Pod, attempt: u32) -> Result<(), Timestamp> {
        let now = Timestamp::now();
        if let Some(not_before) = self.sandboxes.until_since_try(SANDBOX, now) {
            return Err(not_before);
        }
        if !spec::host_network(pod) && !self.context.network.is_ready() {
            return Err(now + NETWORK_LOOK);
        }
        match self.try_sandbox(pod, attempt).await {
            Ok(id) => {
                self.connected = Some(id);
                Ok(())
            }
            Err(SandboxError::Runtime(error @ RuntimeError::Unreachable(_))) => {
                Err(retry(pod, &error))
            }
            Err(error) => Err(self.sandbox_failed(pod, &error)),
        }
    }

    fn sandbox_failed(&mut self, pod: &Pod, error: &SandboxError) -> Timestamp {
        let message = format!("Failed to create pod sandbox: {}", describe(error));
        self.context.pod_event(pod, EventType::Warning, "FailedCreatePodSandBox", message);
        let now = Timestamp::now();
        self.sandboxes.next(SANDBOX, now);
        now + self.sandboxes.delay(SANDBOX)
    }

    /// Gives the id of the sandbox once it is connected.
    async fn try_sandbox(&self, pod: &Pod, attempt: u32) -> Result<String, SandboxError> {
        let (context, identity) = (&self.context, spec::identity(pod));
        let network = if spec::host_network(pod) {
            SandboxNetwork::Host
        } else {
            SandboxNetwork::Private(context.network.reserve(&identity.uid)?)
        };
        let uid = identity.uid.clone();
        let id = context.runtime.run_sandbox(&sandbox_spec(pod, attempt, network.clone())).await?;
        let SandboxNetwork::Private(address) = network else { return Ok(id) };
        if let Err(error) = self.attach(&uid, &id, address).await {
            // Half connected is worse than missing: the next try starts from nothing.
            context.runtime.remove(&id).await?;
            return Err(error);
        }
        Ok(id)
    }

    async fn attach(&self, uid: &str, id: &str, address: Ipv4Addr) -> Result<(), SandboxError> {
        let found = self.context.runtime.list(Some(uid)).await?;
        let sandbox = found.iter().find(|container| container.id == id);
        let pid = sandbox.and_then(|sandbox| sandbox.pid).ok_or(SandboxError::Died)?;
        Ok(self.context.network.attach(uid, address, pid).await?)
    }

    async fn remove_sandbox(&self, pod: &Pod, id: &str) -> Result<(), Timestamp> {
        if !spec::host_network(pod) {
            let detached = self.context.network.detach(&spec::identity(pod).uid).await;
            detached.map_err(|error| retry(pod, &error))?;
        }
        self.context.runtime.remove(id).await.map_err(|error| retry(pod, &error))
    }

    async fn publish_ports(&self, pod: &Pod, observed: &Observed) -> Result<(), NetworkError> {
        let Some(address) = observed.sandbox().and_then(|sandbox| sandbox.address) else {
            return Ok(());
        };
        let uid = spec::identity(pod).uid;
        self.context.network.host_ports(&uid, host_ports(pod, address)).await
    }

    /// Nothing runs any more: what is left are files, the address, and the object.
    async fn finish(&self, update: &Update, uid: &str) -> Next {
        if let Err(error) = self.context.network.detach(uid).await {
            return Next::Wait(Some(retry(&update.pod, &error)));
        }
        self.context.network.release(uid);
        if let Err(error) = volumes::tear_down(&self.context.pod_dir(uid)) {
            return Next::Wait(Some(retry(&update.pod, &error)));
        }
        if update.gone {
            return Next::Done;
        }
        self.writer.delete();
        Next::Wait(None)
    }
}

/// Ends when the pod must stop.
async fn stopped(mut updates: watch::Receiver<Update>) {
    // The manager keeps the sender while the worker runs.
    let _ = updates.wait_for(Update::stops).await;
}

fn retry(pod: &Pod, error: &dyn std::error::Error) -> Timestamp {
    tracing::warn!(pod = spec::label(pod), error = describe(error), "step failed, trying again");
    Timestamp::now() + RETRY
}

fn sandbox_spec(pod: &Pod, attempt: u32, network: SandboxNetwork) -> SandboxSpec {
    let pod_spec = spec::spec(pod).cloned().unwrap_or_default();
    let sysctls = pod_spec.security_context.and_then(|context| context.sysctls);
    SandboxSpec {
        pod: spec::identity(pod),
        attempt,
        hostname: spec::hostname(pod),
        network,
        host_ipc: pod_spec.host_ipc.unwrap_or_default(),
        host_pid: pod_spec.host_pid.unwrap_or_default(),
        sysctls: sysctls.into_iter().flatten().map(|s| (s.name, s.value)).collect(),
    }
}

fn host_ports(pod: &Pod, address: Ipv4Addr) -> Vec<HostPort> {
    let ports = spec::containers(pod).flat_map(|container| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            Some(HostPort {
                protocol: port.protocol.as_deref().unwrap_or("TCP").to_lowercase(),
                host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?,
                pod_ip: address,
                pod_port: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}
