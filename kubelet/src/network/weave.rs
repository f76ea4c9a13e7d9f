//! Weave Net as the pod network, as the original of minik8s had it: the node launches its router, joins by `weave expose`, and
//! each sandbox by `weave attach`, with an address of the node's own range. All pods are on one segment, whatever host they are
//! on; what is for no pod leaves by the node, whose address there is the pods' gateway.

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf};

use async_trait::async_trait;
use component::check::Difference;
use component::dual_stack::DualStack;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use tokio::process::Command;

use super::{
    Attachment, Held, NetworkError, NodeNetwork, PodAddresses, ipam,
    links::{Links, lead_outside, without_ipv6_inside},
    namespace_of, tool,
    wired::{Wired, Wiring},
};
use crate::describe::describe;

/// Its program, looked for as programs are, and the bridge that it makes.
pub const WEAVE: &str = "weave";

/// The node's part of Weave Net.
pub type Weave = Wired<WeaveWiring>;

/// Weave Net's program.
#[derive(Debug)]
pub struct WeaveWiring {
    program: PathBuf,
    /// Hosts that the router connects to.
    peers: Vec<String>,
    /// The cluster's pods, which are the segment.
    pods: Ipv4Net,
    /// Sandboxes that have lost their links and could not be connected again yet.
    unconnected: Mutex<BTreeSet<String>>,
}

impl Weave {
    /// Nothing is made before `start`. `pods` and `services` are the cluster's networks.
    pub fn new(
        program: impl Into<PathBuf>,
        peers: &[String],
        node: &str,
        pods: DualStack,
        services: DualStack,
    ) -> Self {
        let wiring = WeaveWiring {
            program: program.into(),
            peers: peers.to_vec(),
            pods: pods.v4,
            unconnected: Mutex::default(),
        };
        Self::with(wiring, node, pods, services)
    }
}

impl WeaveWiring {
    async fn ask(&self, arguments: &[&str]) -> Result<(), NetworkError> {
        let (program, mut command) = (self.program.display(), Command::new(&self.program));
        let run = tool::output(command.args(arguments), &[]).await;
        let output =
            run.map_err(|source| NetworkError::Run { program: program.to_string(), source })?;
        if output.status.success() {
            return Ok(());
        }
        // Some of its complaints go to the standard output.
        let said = [&output.stderr, &output.stdout].map(|text| tool::said(text));
        let said = said.into_iter().find(|said| !said.is_empty()).unwrap_or_default();
        Err(NetworkError::Refused { command: format!("{program} {}", arguments.join(" ")), said })
    }

    /// As Weave Net is told of it, so that the segment is everybody's.
    fn on_segment(&self, address: Ipv4Addr) -> String {
        format!("{address}/{}", self.pods.prefix_len())
    }

    async fn launch(&self) -> Result<(), NetworkError> {
        if self.ask(&["status"]).await.is_ok() {
            return Ok(());
        }
        let peers = self.peers.iter().map(String::as_str);
        self.ask(&["launch"].into_iter().chain(peers).collect::<Vec<_>>()).await
    }

    async fn connect_sandbox(
        &self,
        sandbox: &str,
        pid: i32,
        address: Ipv4Addr,
        cidr: Ipv4Net,
    ) -> Result<(), NetworkError> {
        without_ipv6_inside(namespace_of(pid)?).await?;
        self.ask(&["attach", &self.on_segment(address), sandbox]).await?;
        lead_outside(namespace_of(pid)?, ipam::gateway(cidr)).await?;
        self.unconnected.lock().remove(sandbox);
        Ok(())
    }

    /// One that can't be connected must not be in the way of the others.
    async fn connect_again(&self, pod: &Held, cidr: Ipv4Net) {
        let (Some(pid), Some(addresses)) = (pod.running(), pod.addresses) else {
            self.unconnected.lock().remove(&pod.sandbox);
            return;
        };
        if let Err(error) = self.connect_sandbox(&pod.sandbox, pid, addresses.v4, cidr).await {
            let (uid, error) = (&pod.pod, describe(&error));
            tracing::warn!(uid, error, "cannot connect a pod again");
        }
    }
}

#[async_trait]
impl Wiring for WeaveWiring {
    fn link(&self) -> &str {
        WEAVE
    }

    /// Sandboxes are connected again where the node itself had to be: they have lost their links with it. What does not succeed
    /// is tried at each look.
    async fn keep(&self, cidr: DualStack, pods: &[Held]) -> Result<(), NetworkError> {
        let cidr = cidr.v4;
        let (links, gateway) = (Links::open()?, ipam::gateway(cidr));
        let joined = links.has(WEAVE, gateway.into()).await?;
        if !joined {
            self.launch().await?;
            *self.unconnected.lock() = pods.iter().map(|pod| pod.sandbox.clone()).collect();
        }
        let unconnected = self.unconnected.lock().clone();
        for pod in pods.iter().filter(|pod| unconnected.contains(&pod.sandbox)) {
            self.connect_again(pod, cidr).await;
        }
        if !joined {
            // Last: who is stopped on the way does all again.
            self.ask(&["expose", &self.on_segment(gateway)]).await?;
        }
        // The segment's own route stands behind the one that keeps packets for nobody on the host.
        links.lead(cidr, WEAVE).await
    }

    async fn connect(
        &self,
        pod: &Attachment,
        addresses: PodAddresses,
        cidr: DualStack,
    ) -> Result<(), NetworkError> {
        self.connect_sandbox(&pod.sandbox, pod.pid, addresses.v4, cidr.v4).await
    }

    /// Which links of pods lead to it, Weave Net knows.
    async fn differences(&self, node: &NodeNetwork) -> Result<Vec<Difference>, NetworkError> {
        let gateway = ipam::gateway(node.cidr.v4);
        let has = Links::open()?.has(WEAVE, gateway.into()).await?;
        let message = format!("link {WEAVE} has not the address {gateway}");
        Ok((!has).then(|| Difference::new("link", message)).into_iter().collect())
    }

    /// Of a sandbox that has ended there is nothing left to detach.
    async fn disconnect(&self, pod: &Held) -> Result<(), NetworkError> {
        match (pod.running(), pod.addresses) {
            (Some(_), Some(addresses)) => {
                self.ask(&["detach", &self.on_segment(addresses.v4), &pod.sandbox]).await
            }
            _ => Ok(()),
        }
    }
}
