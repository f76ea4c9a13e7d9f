//! The pod network as plugins of CNI have it, by version 1.0 of its specification (and 0.3.0 to 0.4.0):
//! <https://www.cni.dev/docs/spec/>.
//!
//! What was asked for a pod is written down before it is done, with the configuration of that time, so that it can be taken
//! back by a kubelet that starts later, whatever the configuration says by then.

mod attachments;
mod configuration;
mod plugin;
mod result;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

use async_trait::async_trait;
use component::{check::Difference, dual_stack::DualStack};
use ipnet::IpNet;
use packet_filter::{Family, Table};
use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;

use self::{
    attachments::{Attached, Attachments},
    configuration::{Network, PORTS},
    plugin::{Plugins, Verb},
};
use super::{
    Attachment, CniError, Held, NetworkError, NodeNetwork, PodAddresses, PodNetwork, PortMapping,
    choice::Choices,
    former,
    links::Links,
    rules::{self, Chains},
};
use crate::describe::describe;

/// Where the plugins and what they are told are.
#[derive(Clone, Debug)]
pub struct Places {
    /// Configurations; the first by name counts.
    pub configurations: PathBuf,
    /// Plugins.
    pub plugins: Vec<PathBuf>,
    /// What was asked for the pods of this node.
    pub attachments: PathBuf,
}

/// The network that the configuration describes.
#[derive(Debug)]
pub struct Cni {
    configurations: PathBuf,
    plugins: Plugins,
    attachments: Attachments,
    /// The cluster's networks.
    pods: DualStack,
    services: DualStack,
    chains: Chains,
    state: Mutex<State>,
    choices: Mutex<Choices>,
    /// By pod: what is asked for one is done before the next is asked.
    turns: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct State {
    cidr: Option<DualStack>,
    network: Option<Network>,
    /// Pods that an earlier kubelet has connected, and whose sandboxes there are: they are looked at once.
    unchecked: BTreeSet<String>,
    /// Those whose sandboxes are gone, until they are disconnected: a pod that is connected again is none of them.
    leftovers: BTreeSet<String>,
}

impl Cni {
    /// Nothing is made before `start`. `pods` and `services` are the cluster's networks.
    ///
    /// # Errors
    /// What an earlier kubelet has written down cannot be read.
    pub fn new(
        places: Places,
        node: &str,
        pods: DualStack,
        services: DualStack,
    ) -> Result<Self, CniError> {
        let attachments = Attachments::read(places.attachments)?;
        Ok(Self {
            configurations: places.configurations,
            plugins: Plugins(places.plugins),
            attachments,
            pods,
            services,
            chains: Chains::of(pods, services, node),
            state: Mutex::default(),
            choices: Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// The first network that the configurations describe. Without one, the node is not ready.
    fn configure(&self) -> Result<(), CniError> {
        let found = configuration::find(&self.configurations, |plugin| self.plugins.has(plugin));
        let (network, outcome) = match found {
            Ok(network) => (Some(network), Ok(())),
            Err(error) => (None, Err(error)),
        };
        self.state.lock().network = network;
        outcome
    }

    fn network(&self) -> Result<(Network, DualStack), NetworkError> {
        let state = self.state.lock();
        state.network.clone().zip(state.cidr).ok_or(NetworkError::NotReady)
    }

    /// What the host has beside the plugins: nothing for a pod or service leaves it by the default route, and what is from
    /// or for pods passes Docker's policy.
    async fn host(&self) -> Result<(), NetworkError> {
        let links = Links::open()?;
        for network in self.fenced() {
            links.blackhole(network).await?;
        }
        for (family, table) in self.rules() {
            packet_filter::ensure(family, &[table]).await?;
        }
        Ok(())
    }

    fn fenced(&self) -> Vec<IpNet> {
        self.pods.iter().chain(self.services.iter()).collect()
    }

    fn rules(&self) -> Vec<(Family, Table)> {
        let of = |pods: IpNet| match pods {
            IpNet::V4(_) => (Family::Ipv4, rules::filter(&self.chains, pods)),
            IpNet::V6(_) => (Family::Ipv6, rules::filter(&self.chains, pods)),
        };
        self.pods.iter().map(of).collect()
    }

    // --- Pods ---

    /// Until it is dropped, nobody else connects or disconnects the pod.
    async fn turn(&self, pod: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.turns.lock();
            turns.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(turns.entry(pod.to_owned()).or_default())
        };
        turn.lock_owned().await
    }

    async fn add(&self, mut attached: Attached) -> Result<PodAddresses, NetworkError> {
        self.attachments.write(&attached)?;
        let mut result = None;
        for plugin in &attached.network.plugins {
            let told = attached.told(plugin, result.as_ref());
            result = self.plugins.call(Verb::Add, &attached, &told).await?.or(result);
        }
        let addresses = result.as_ref().and_then(result::addresses).ok_or(CniError::NoAddress)?;
        attached.result = result;
        self.attachments.write(&attached)?;
        Ok(addresses)
    }

    /// Takes back what was asked for a pod whose turn it is, in so far as there is something.
    async fn delete(&self, pod: &str) -> Result<(), NetworkError> {
        if let Some(attached) = self.attachments.get(pod) {
            let before = attached.result.as_ref().filter(|_| attached.network.knows_results());
            for plugin in attached.network.plugins.iter().rev() {
                self.plugins.call(Verb::Del, &attached, &attached.told(plugin, before)).await?;
            }
            self.attachments.remove(pod)?;
        }
        self.state.lock().leftovers.remove(pod);
        Ok(())
    }

    /// Unless its worker was faster.
    async fn delete_leftover(&self, pod: &str) -> Result<(), NetworkError> {
        let _turn = self.turn(pod).await;
        let is_left = self.state.lock().leftovers.contains(pod);
        if is_left { self.delete(pod).await } else { Ok(()) }
    }

    /// Tells whether the plugins find what they have made.
    async fn check(&self, attached: &Attached) -> Result<(), CniError> {
        if !attached.network.is_checked() || attached.result.is_none() {
            return Ok(());
        }
        for plugin in &attached.network.plugins {
            let told = attached.told(plugin, attached.result.as_ref());
            self.plugins.call(Verb::Check, attached, &told).await?;
        }
        Ok(())
    }

    /// Once for each pod that an earlier kubelet has connected.
    async fn look_back(&self) {
        let (leftovers, unchecked) = {
            let mut state = self.state.lock();
            (state.leftovers.clone(), std::mem::take(&mut state.unchecked))
        };
        for pod in leftovers {
            if let Err(error) = self.delete_leftover(&pod).await {
                let error = describe(&error);
                tracing::warn!(pod, error, "cannot disconnect a pod that is gone yet");
            }
        }
        for pod in unchecked {
            let _turn = self.turn(&pod).await;
            let Some(attached) = self.attachments.get(&pod) else { continue };
            if let Err(error) = self.check(&attached).await {
                let error = describe(&error);
                tracing::warn!(pod, error, "a pod's network is not as its plugins have made it");
            }
        }
    }

    /// With a number for each, as far as there are plugins that lead ports.
    fn settle(
        &self,
        pod: &str,
        network: &Network,
        wanted: Vec<PortMapping>,
    ) -> Result<Vec<PortMapping>, NetworkError> {
        if !network.has(PORTS) {
            return Ok(wanted);
        }
        let (known, taken) = (self.attachments.ports(pod), self.attachments.ports_of_others(pod));
        let settled = self.choices.lock().settle(pod, wanted, &known, &taken);
        settled.map_err(|source| NetworkError::Io { step: "find a free host port", source })
    }
}

// === impl PodNetwork ===

#[async_trait]
impl PodNetwork for Cni {
    async fn start(&self, cidr: DualStack, sandboxes: &[Held]) -> Result<(), NetworkError> {
        if self.pods.v6.is_none() {
            former::take_back(&self.chains, &Links::open()?).await;
        }
        self.host().await?;
        self.configure()?;
        let is_there = |pod: &Attached| sandboxes.iter().any(|held| held.sandbox == pod.sandbox);
        let (there, gone) = self.attachments.all().into_iter().partition::<Vec<_>, _>(is_there);
        let mut state = self.state.lock();
        // Later there may be some whose sandboxes have come since.
        if state.cidr.replace(cidr.within(&self.pods)).is_none() {
            state.unchecked = there.into_iter().map(|pod| pod.uid).collect();
            state.leftovers = gone.into_iter().map(|pod| pod.uid).collect();
        }
        Ok(())
    }

    async fn reconcile(&self) -> Result<(), NetworkError> {
        if self.state.lock().cidr.is_none() {
            return Ok(());
        }
        self.configure()?;
        self.host().await?;
        self.look_back().await;
        Ok(())
    }

    /// Links and ports of pods are as their plugins say (`CHECK`).
    async fn differences(&self, node: &NodeNetwork) -> Result<Vec<Difference>, NetworkError> {
        let mut found = Links::open()?.unfenced(&self.fenced()).await?;
        for (family, table) in self.rules() {
            let rules = packet_filter::differences(family, &[table]).await?;
            found.extend(rules.into_iter().map(|message| Difference::new("rule", message)));
        }
        for pod in &node.running {
            let label = &pod.label;
            let message = match self.attachments.get(&pod.pod) {
                None => format!("{label} is not connected"),
                Some(attached) => match self.check(&attached).await {
                    Ok(()) => continue,
                    Err(_) if pod.is_gone() => continue,
                    Err(error) => format!("{label}: {}", describe(&error)),
                },
            };
            found.push(Difference::new("plugin", message));
        }
        let left = self.attachments.all().into_iter().filter(|pod| !node.all.contains(&pod.uid));
        let message = |pod: Attached| format!("{} is connected, and no pod's", pod.sandbox);
        found.extend(left.map(|pod| Difference::new("plugin", message(pod))));
        Ok(found)
    }

    fn is_ready(&self) -> bool {
        self.network().is_ok()
    }

    /// The plugins choose.
    fn reserve(&self, _: &str) -> Result<Option<PodAddresses>, NetworkError> {
        self.network().map(|_| None)
    }

    async fn attach(&self, pod: &Attachment) -> Result<PodAddresses, NetworkError> {
        let (network, cidr) = self.network()?;
        let uid = &pod.pod.uid;
        let _turn = self.turn(uid).await;
        // Of a sandbox before this one, or of a try that has come to nothing.
        self.delete(uid).await?;
        let ports = self.settle(uid, &network, pod.ports.clone())?;
        let attached = Attached::new(pod, network, cidr, &ports)?;
        match self.add(attached).await {
            Ok(addresses) => Ok(addresses),
            Err(error) => {
                if let Err(error) = self.delete(uid).await {
                    let error = describe(&error);
                    tracing::warn!(uid, error, "cannot take back what was begun for a pod");
                }
                Err(error)
            }
        }
    }

    fn addresses(&self, pod: &str) -> Option<PodAddresses> {
        result::addresses(&self.attachments.get(pod)?.result?)
    }

    async fn detach(&self, pod: &str) -> Result<(), NetworkError> {
        let _turn = self.turn(pod).await;
        self.delete(pod).await
    }

    fn release(&self, pod: &str) {
        self.choices.lock().release(pod);
    }

    /// Those that plugins have led there when the pod was connected.
    async fn host_ports(
        &self,
        pod: &str,
        ports: Vec<PortMapping>,
    ) -> Result<Vec<PortMapping>, NetworkError> {
        match self.attachments.get(pod) {
            Some(attached) => self.settle(pod, &attached.network, ports),
            None => Ok(ports),
        }
    }
}
