//! The part of a pod's worker that makes and removes its sandbox, and connects it.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use api_types::{api::core::v1::Pod, jiff::Timestamp};
use component::events::EventType;
use tokio::sync::watch;

use super::{act::retry, next_step::Step, worker::Worker};
use crate::{
    describe::describe,
    network::{HostPort, NetworkError},
    runtime::{RuntimeError, SandboxNetwork, SandboxSpec, observed::Observed},
    spec,
};

/// Until a pod looks again whether the node's network is up.
const NETWORK_LOOK: Duration = Duration::from_millis(500);
/// The key of the delays of sandboxes: a pod has one at a time.
const SANDBOX: &str = "sandbox";

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

/// A pod's sandbox, as far as it has come: the start of a container waits for what it needs of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Place {
    /// Its id, once it is made.
    pub(super) id: Option<String>,
    /// The pod's address, once it is known.
    pub(super) pod_ip: Option<String>,
    /// Whether it runs and is connected.
    pub(super) connected: bool,
}

impl Place {
    /// One where containers can run.
    pub(super) fn new(id: String, pod_ip: String) -> Self {
        Self { id: Some(id), pod_ip: Some(pod_ip), connected: true }
    }
}

impl Worker {
    /// Begins with these starts meanwhile.
    pub(super) async fn run_sandbox(
        &mut self,
        pod: &Arc<Pod>,
        attempt: u32,
        starts: &[Step],
    ) -> Result<(), Timestamp> {
        let now = Timestamp::now();
        if let Some(not_before) = self.sandboxes.until_since_try(SANDBOX, now) {
            return Err(not_before);
        }
        if !spec::host_network(pod) && !self.context.network.is_ready() {
            return Err(now + NETWORK_LOOK);
        }
        match self.try_sandbox(pod, attempt, starts).await {
            Ok(id) => {
                self.containers.made(id.clone());
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

    /// Gives the id of the sandbox once it is connected. Otherwise the starts end with it.
    async fn try_sandbox(
        &mut self,
        pod: &Arc<Pod>,
        attempt: u32,
        starts: &[Step],
    ) -> Result<String, SandboxError> {
        let network = self.sandbox_network(pod)?;
        let pod_ip = match network {
            SandboxNetwork::Host => Some(self.context.host_ip.clone()),
            SandboxNetwork::Private(address) => address.map(|address| address.to_string()),
        };
        let place = watch::Sender::new(Place { pod_ip, ..Place::default() });
        for step in starts {
            if let Step::Start { name, attempt } = step {
                self.start(pod, name, *attempt, place.subscribe());
            }
        }
        let runtime = self.context.runtime.clone();
        let id = runtime.create_sandbox(&sandbox_spec(pod, attempt, network)).await?;
        place.send_modify(|place| place.id = Some(id.clone()));
        match self.connect(pod, &id).await {
            Ok(pod_ip) => {
                place.send_replace(Place::new(id.clone(), pod_ip));
                Ok(id)
            }
            Err(error) => {
                // Half connected is worse than missing: the next try starts from nothing.
                runtime.remove(&id).await?;
                Err(error)
            }
        }
    }

    fn sandbox_network(&self, pod: &Pod) -> Result<SandboxNetwork, NetworkError> {
        if spec::host_network(pod) {
            return Ok(SandboxNetwork::Host);
        }
        self.context.network.reserve(&spec::identity(pod).uid).map(SandboxNetwork::Private)
    }

    /// Starts the sandbox; gives the pod's address.
    async fn connect(&self, pod: &Pod, id: &str) -> Result<String, SandboxError> {
        let context = &self.context;
        context.runtime.start(id).await?;
        if spec::host_network(pod) {
            return Ok(context.host_ip.clone());
        }
        let found = context.runtime.inspect(&[id.to_owned()].into()).await?;
        let pid = found.first().and_then(|sandbox| sandbox.pid).ok_or(SandboxError::Died)?;
        Ok(context.network.attach(&spec::identity(pod).uid, pid).await?.to_string())
    }

    pub(super) async fn remove_sandbox(
        &self,
        pod: &Pod,
        observed: &Observed,
        id: &str,
    ) -> Result<(), Timestamp> {
        // Link and ports are the pod's: beside a sandbox that lives they are that one's.
        let replaced = observed.sandbox().is_some_and(|living| living.id != id);
        if !spec::host_network(pod) && !replaced {
            let detached = self.context.network.detach(&spec::identity(pod).uid).await;
            detached.map_err(|error| retry(pod, &error))?;
        }
        self.context.runtime.remove(id).await.map_err(|error| retry(pod, &error))
    }

    pub(super) async fn publish_ports(
        &self,
        pod: &Pod,
        observed: &Observed,
    ) -> Result<(), NetworkError> {
        let Some(address) = self.address(pod, observed) else { return Ok(()) };
        let uid = spec::identity(pod).uid;
        self.context.network.host_ports(&uid, host_ports(pod, address)).await
    }
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
    let sidecars = spec::init_containers(pod).filter(|container| spec::is_sidecar(container));
    spec::containers(pod)
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
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
