//! Making and connecting a pod's sandbox.

use std::sync::Arc;

use api_types::api::core::v1::Pod;
use tokio::sync::watch;

use super::{host_ports::host_ports, place::Place};
use crate::{
    addresses::Ips,
    context::Context,
    network::{Attachment, NetworkError},
    runtime::{RuntimeError, SandboxNetwork, SandboxSpec},
    spec::{self, NameTooLong},
};

/// Why a sandbox could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SandboxError {
    #[error("failed to set up network for pod")]
    Network(#[from] NetworkError),
    #[error("failed to start sandbox container")]
    Runtime(#[from] RuntimeError),
    #[error("the sandbox died at once")]
    Died,
    #[error(transparent)]
    Name(#[from] NameTooLong),
}

/// A sandbox to be.
#[derive(Debug)]
pub(super) struct Sandbox {
    context: Arc<Context>,
    pod: Arc<Pod>,
    attempt: u32,
    network: SandboxNetwork,
    place: watch::Sender<Place>,
}

impl Sandbox {
    /// The pod's addresses are chosen now, by a network that can.
    pub(super) fn new(
        context: &Arc<Context>,
        pod: &Arc<Pod>,
        attempt: u32,
    ) -> Result<Self, NetworkError> {
        let network = if spec::host_network(pod) {
            SandboxNetwork::Host
        } else {
            SandboxNetwork::Private(context.network.reserve(&spec::identity(pod).uid)?)
        };
        let ips = match network {
            SandboxNetwork::Host => Some(context.host_ips()),
            SandboxNetwork::Private(addresses) => addresses.map(Ips::from),
        };
        let place = watch::Sender::new(Place { ips, ..Place::default() });
        Ok(Self { context: context.clone(), pod: pod.clone(), attempt, network, place })
    }

    /// How far it has come.
    pub(super) fn place(&self) -> watch::Receiver<Place> {
        self.place.subscribe()
    }

    /// Gives its id once it is connected. Otherwise the starts that wait for its place end with it.
    pub(super) async fn run(self) -> Result<String, SandboxError> {
        let runtime = &self.context.runtime;
        let id = runtime.create_sandbox(&self.spec()?).await?;
        self.place.send_modify(|place| place.id = Some(id.clone()));
        match self.connect(&id).await {
            Ok(ips) => {
                self.place.send_replace(Place::new(id.clone(), ips));
                Ok(id)
            }
            Err(error) => {
                // Half connected is worse than missing: the next try starts from nothing.
                runtime.remove(&id).await?;
                Err(error)
            }
        }
    }

    /// Starts the sandbox; gives the pod's addresses.
    async fn connect(&self, id: &str) -> Result<Ips, SandboxError> {
        let context = &self.context;
        context.runtime.start(id).await?;
        if spec::host_network(&self.pod) {
            return Ok(context.host_ips());
        }
        let found = context.runtime.inspect(&[id.to_owned()].into()).await?;
        let pid = found.first().and_then(|sandbox| sandbox.pid).ok_or(SandboxError::Died)?;
        let attachment = Attachment {
            pod: spec::identity(&self.pod),
            sandbox: id.to_owned(),
            pid,
            ports: host_ports(&self.pod, None, context.publish_ports),
        };
        Ok(context.network.attach(&attachment).await?.into())
    }

    fn spec(&self) -> Result<SandboxSpec, NameTooLong> {
        let pod = &self.pod;
        let pod_spec = spec::spec(pod).cloned().unwrap_or_default();
        let sysctls = pod_spec.security_context.and_then(|context| context.sysctls);
        Ok(SandboxSpec {
            pod: spec::identity(pod),
            attempt: self.attempt,
            hostname: spec::kernel_hostname(pod, &self.context.dns.domain)?,
            network: self.network.clone(),
            host_ipc: pod_spec.host_ipc.unwrap_or_default(),
            host_pid: pod_spec.host_pid.unwrap_or_default(),
            sysctls: sysctls.into_iter().flatten().map(|s| (s.name, s.value)).collect(),
        })
    }
}
