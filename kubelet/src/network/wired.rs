//! A network whose pods have addresses of the node's own range: which has which, the packet filter's rules, and the host
//! ports. How the pods' links are made is a [`Wiring`]'s matter.

use std::collections::BTreeMap;

use async_trait::async_trait;
use component::{check::Difference, dual_stack::DualStack};
use ipnet::IpNet;
use packet_filter::{Family, Table};
use parking_lot::Mutex;

use super::{
    Attachment, Held, NetworkError, NodeNetwork, PodAddresses, PodNetwork, PortMapping,
    choice::Choices,
    flows::Begun,
    former,
    ipam::Ipam,
    links::{Links, inside},
    loopback::Loopback,
    rules::{self, Chains, Networks},
};

/// The links of a node and its pods.
#[async_trait]
pub trait Wiring: Send + Sync + std::fmt::Debug {
    /// The name of the node's link that leads to its pods.
    fn link(&self) -> &str;
    /// Whatever is missing of the links of the node and of these pods.
    async fn keep(&self, cidr: DualStack, pods: &[Held]) -> Result<(), NetworkError>;
    /// Connects a pod, which gets these addresses of the node's ranges.
    async fn connect(
        &self,
        pod: &Attachment,
        addresses: PodAddresses,
        cidr: DualStack,
    ) -> Result<(), NetworkError>;
    /// Whether it gives pods addresses of IPv6, too, if the node has some.
    fn speaks_ipv6(&self) -> bool {
        false
    }
    /// What is not as it should be.
    async fn differences(&self, node: &NodeNetwork) -> Result<Vec<Difference>, NetworkError>;
    /// Disconnects a pod, which may not be connected.
    async fn disconnect(&self, pod: &Held) -> Result<(), NetworkError>;
    /// Keeps nothing of a pod that has no address any more.
    fn forget(&self, _pod: &str) {}
}

/// The node's range of addresses, and what is behind them.
#[derive(Debug)]
pub struct Wired<W> {
    pub(super) wiring: W,
    chains: Chains,
    pods: DualStack,
    services: DualStack,
    ipam: Mutex<Option<Ipam>>,
    /// The sandboxes that hold the addresses, by pod, as far as they are known.
    sandboxes: Mutex<BTreeMap<String, Held>>,
    /// Held while the rules are replaced, so that they never go back in time.
    ports: tokio::sync::Mutex<Ports>,
    choices: Mutex<Choices>,
    loopback: Loopback,
}

/// The host ports of all pods.
#[derive(Debug, Default)]
struct Ports {
    /// By pod.
    wanted: BTreeMap<String, Vec<PortMapping>>,
    /// Whether the kernel may not have them: writing failed.
    unwritten: bool,
    /// Whether rules were not there, though what follows from that may not be done yet.
    changed: bool,
    begun: Begun,
}

impl Ports {
    /// Whether nothing is to do for these ports of a pod.
    fn has(&self, pod: &str, ports: &[PortMapping]) -> bool {
        !self.unwritten && self.of(pod) == ports
    }

    fn of(&self, pod: &str) -> &[PortMapping] {
        self.wanted.get(pod).map(Vec::as_slice).unwrap_or_default()
    }

    /// Those of other pods.
    fn of_others(&self, pod: &str) -> Vec<u16> {
        let others = self.wanted.iter().filter(|(other, _)| *other != pod);
        others.flat_map(|(_, ports)| ports).map(|port| port.host_port).collect()
    }

    fn set(&mut self, pod: &str, ports: Vec<PortMapping>) {
        if ports.is_empty() {
            self.wanted.remove(pod);
        } else {
            self.wanted.insert(pod.to_owned(), ports);
        }
    }
}

impl<W: Wiring> Wired<W> {
    /// Nothing is made before `start`. `pods` and `services` are the cluster's networks.
    pub(super) fn with(wiring: W, node: &str, pods: DualStack, services: DualStack) -> Self {
        let chains = Chains::of(pods, services, node);
        let (pods, services) = match wiring.speaks_ipv6() {
            true => (pods, services),
            false => (pods.v4.into(), services.v4.into()),
        };
        Self {
            wiring,
            chains,
            pods,
            services,
            ipam: Mutex::new(None),
            sandboxes: Mutex::default(),
            ports: tokio::sync::Mutex::default(),
            choices: Mutex::default(),
            loopback: Loopback::default(),
        }
    }

    fn network(&self) -> Result<DualStack, NetworkError> {
        self.ipam.lock().as_ref().map(Ipam::cidr).ok_or(NetworkError::NotReady)
    }

    fn choose(&self, pod: &str) -> Result<PodAddresses, NetworkError> {
        let mut ipam = self.ipam.lock();
        let ipam = ipam.as_mut().ok_or(NetworkError::NotReady)?;
        ipam.reserve(pod).ok_or(NetworkError::Exhausted(ipam.cidr().v4))
    }

    /// What is known of the sandbox of a pod that holds an address.
    fn held(&self, pod: &str) -> Held {
        let known = self.sandboxes.lock().get(pod).cloned();
        let held = known.unwrap_or_else(|| Held { pod: pod.to_owned(), ..Held::default() });
        Held { addresses: self.addresses(pod).or(held.addresses), ..held }
    }

    /// With the addresses that pods have still. Of several of one pod the one that runs is the last.
    fn known(&self, sandboxes: &[Held]) -> Vec<Held> {
        let mut known: Vec<Held> = sandboxes.iter().map(|held| self.with_valid(held)).collect();
        known.sort_by_key(|held| held.pid.is_some());
        known
    }

    /// With the addresses of it that pods have still.
    fn with_valid(&self, held: &Held) -> Held {
        let addresses = held.addresses.map(|made_for| self.valid(made_for));
        Held { addresses, ..held.clone() }
    }

    /// Nothing of a range that was the cluster's before.
    async fn leave_ipv6(&self, sandboxes: &[Held]) -> Result<(), NetworkError> {
        if self.pods.v6.is_none() {
            former::take_back(&self.chains, &Links::open()?).await;
        }
        let is_former = |held: &&Held| self.with_valid(held).addresses != held.addresses;
        let silenced: Vec<&Held> = sandboxes.iter().filter(is_former).collect();
        former::silence(&silenced).await;
        Ok(())
    }

    /// Whatever of the node's links, routes and flags is missing.
    async fn links(&self, cidr: DualStack, pods: &[Held]) -> Result<(), NetworkError> {
        let links = Links::open()?;
        // Before the first address exists: nothing for a pod or service may leave the host by the
        // default route.
        for network in self.fenced() {
            links.blackhole(network).await?;
        }
        self.wiring.keep(cidr, pods).await?;
        self.flags().iter().try_for_each(|flag| set_kernel_flag(flag))
    }

    fn fenced(&self) -> Vec<IpNet> {
        self.pods.iter().chain(self.services.iter()).collect()
    }

    /// Those of the kernel that are on: the second is for host ports on 127.0.0.1.
    fn flags(&self) -> Vec<String> {
        let localnet = format!("ipv4/conf/{}/route_localnet", self.wiring.link());
        let v6 = self.pods.v6.map(|_| "ipv6/conf/all/forwarding".to_owned());
        ["ipv4/ip_forward".to_owned(), localnet].into_iter().chain(v6).collect()
    }

    /// Of each family that pods have.
    fn tables<'a>(
        &self,
        cidr: Option<&DualStack>,
        ports: impl Iterator<Item = &'a PortMapping> + Clone,
    ) -> Vec<(Family, [Table; 2])> {
        let (pods, services) = (self.pods.v4, self.services.v4);
        let networks = Networks { node: cidr.map_or(pods, |cidr| cidr.v4), pods, services };
        let v4 = rules::tables(&self.chains, networks, ports.clone());
        let v6 = self.pods.v6.zip(self.services.v6).map(|(pods, services)| {
            let node = cidr.and_then(|cidr| cidr.v6).unwrap_or(pods);
            let networks = Networks { node, pods, services };
            (Family::Ipv6, rules::tables_v6(&self.chains, self.wiring.link(), networks, ports))
        });
        [(Family::Ipv4, v4)].into_iter().chain(v6).collect()
    }

    /// Tells whether the rules were not there.
    async fn firewall(&self, cidr: &DualStack) -> Result<bool, NetworkError> {
        self.write(Some(cidr), &mut *self.ports.lock().await).await
    }

    /// The families that pods have.
    fn families(&self) -> impl Iterator<Item = Family> + use<W> {
        [Family::Ipv4].into_iter().chain(self.pods.v6.map(|_| Family::Ipv6))
    }

    async fn saved_ports(&self) -> Result<Vec<PortMapping>, NetworkError> {
        let mut saved = Vec::new();
        for family in self.families() {
            saved.extend(rules::saved_ports(&self.chains, family).await?);
        }
        Ok(saved)
    }

    /// Until their workers have looked at them, running pods keep the host ports that they have.
    async fn adopt_ports(&self, running: &[(String, PodAddresses)]) -> Result<(), NetworkError> {
        let mut ports = self.ports.lock().await;
        if !ports.wanted.is_empty() {
            return Ok(());
        }
        let saved = self.saved_ports().await?;
        ports.begun.adopt(&saved);
        for (pod, addresses) in running {
            let is_own = |port: &&PortMapping| addresses.iter().any(|own| own == port.pod_ip);
            ports.set(pod, saved.iter().filter(is_own).cloned().collect());
        }
        Ok(())
    }

    async fn write(
        &self,
        cidr: Option<&DualStack>,
        ports: &mut Ports,
    ) -> Result<bool, NetworkError> {
        let tables = self.tables(cidr, ports.wanted.values().flatten());
        // Until it is known: the caller may be dropped meanwhile.
        ports.unwritten = true;
        for (family, tables) in &tables {
            ports.changed |= packet_filter::ensure(*family, tables).await?;
        }
        ports.unwritten = false;
        self.loopback.serve(ports.wanted.values().flatten());
        ports.begun.renew(ports.wanted.values().flatten(), ports.changed).await;
        Ok(std::mem::take(&mut ports.changed))
    }
}

fn path_of(flag: &str) -> String {
    format!("/proc/sys/net/{flag}")
}

fn is_on(flag: &str) -> bool {
    std::fs::read_to_string(path_of(flag)).is_ok_and(|value| value.trim() == "1")
}

fn set_kernel_flag(flag: &str) -> Result<(), NetworkError> {
    if is_on(flag) {
        return Ok(());
    }
    std::fs::write(path_of(flag), "1")
        .map_err(|source| NetworkError::Io { step: "set a flag of the kernel's network", source })
}

// === impl PodNetwork ===

#[async_trait]
impl<W: Wiring> PodNetwork for Wired<W> {
    async fn start(&self, cidr: DualStack, sandboxes: &[Held]) -> Result<(), NetworkError> {
        let cidr = cidr.within(&self.pods);
        self.leave_ipv6(sandboxes).await?;
        let sandboxes = self.known(sandboxes);
        self.links(cidr, &sandboxes).await?;
        let addressed = |held: &Held| Some((held.pod.clone(), held.addresses?));
        let addresses: Vec<_> = sandboxes.iter().filter_map(addressed).collect();
        self.adopt_ports(&addresses).await?;
        self.firewall(&cidr).await?;
        self.sandboxes.lock().extend(sandboxes.into_iter().map(|held| (held.pod.clone(), held)));
        let mut ipam = self.ipam.lock();
        if ipam.as_ref().map(Ipam::cidr) != Some(cidr) {
            *ipam = Some(Ipam::new(cidr, &addresses));
        }
        Ok(())
    }

    async fn reconcile(&self) -> Result<(), NetworkError> {
        let held = self.ipam.lock().as_ref().map(|ipam| (ipam.cidr(), ipam.pods()));
        let Some((cidr, pods)) = held else { return Ok(()) };
        let pods: Vec<Held> = pods.iter().map(|pod| self.held(pod)).collect();
        let linked = self.links(cidr, &pods).await;
        // Those that have gone meanwhile.
        for gone in pods.iter().filter(|held| self.addresses(&held.pod).is_none()) {
            self.wiring.forget(&gone.pod);
        }
        linked?;
        if self.firewall(&cidr).await? {
            tracing::warn!("somebody had changed our rules of the packet filter; they are back");
        }
        Ok(())
    }

    async fn differences(&self, node: &NodeNetwork) -> Result<Vec<Difference>, NetworkError> {
        let links = Links::open()?;
        let cidr = node.cidr.within(&self.pods);
        let mut found = links.unfenced(&self.fenced()).await?;
        found.extend(self.wiring.differences(&NodeNetwork { cidr, ..node.clone() }).await?);
        let off = self.flags().into_iter().filter(|flag| !is_on(flag));
        found.extend(off.map(|flag| Difference::new("flag", format!("{} is off", path_of(&flag)))));
        for pod in &node.running {
            found.extend(inside(pod, &cidr).await?);
        }
        let ports: Vec<_> = node.running.iter().flat_map(|pod| pod.ports.clone()).collect();
        let saved = self.saved_ports().await?;
        let ports = rules::with_unsettled(ports, saved, &node.unsettled);
        for (family, tables) in self.tables(Some(&cidr), ports.iter()) {
            let rules = packet_filter::differences(family, &tables).await?;
            found.extend(rules.into_iter().map(|message| Difference::new("rule", message)));
        }
        Ok(found)
    }

    fn is_ready(&self) -> bool {
        self.ipam.lock().is_some()
    }

    fn reserve(&self, pod: &str) -> Result<Option<PodAddresses>, NetworkError> {
        self.choose(pod).map(Some)
    }

    async fn attach(&self, pod: &Attachment) -> Result<PodAddresses, NetworkError> {
        let (network, addresses) = (self.network()?, self.choose(&pod.pod.uid)?);
        // Before it is connected: whoever is dropped meanwhile leaves something to disconnect.
        let held = Held::new(&pod.pod.uid, &pod.sandbox, Some(pod.pid), Some(addresses));
        self.sandboxes.lock().insert(held.pod.clone(), held);
        self.wiring.connect(pod, addresses, network).await?;
        Ok(addresses)
    }

    fn addresses(&self, pod: &str) -> Option<PodAddresses> {
        self.ipam.lock().as_ref()?.get(pod)
    }

    fn valid(&self, made_for: PodAddresses) -> PodAddresses {
        let v6 = made_for.v6.filter(|v6| self.pods.contains((*v6).into()));
        PodAddresses { v6, ..made_for }
    }

    async fn detach(&self, pod: &str) -> Result<(), NetworkError> {
        self.host_ports(pod, Vec::new()).await?;
        self.wiring.disconnect(&self.held(pod)).await?;
        self.sandboxes.lock().remove(pod);
        Ok(())
    }

    fn release(&self, pod: &str) {
        if let Some(ipam) = self.ipam.lock().as_mut() {
            ipam.release(pod);
        }
        self.wiring.forget(pod);
        self.sandboxes.lock().remove(pod);
        self.choices.lock().release(pod);
    }

    async fn host_ports(
        &self,
        pod: &str,
        wanted: Vec<PortMapping>,
    ) -> Result<Vec<PortMapping>, NetworkError> {
        // Until then it is not known which ports an earlier kubelet has chosen.
        if !wanted.is_empty() && !self.is_ready() {
            return Err(NetworkError::NotReady);
        }
        let mut ports = self.ports.lock().await;
        let settled = self.choices.lock().settle(pod, wanted, ports.of(pod), &ports.of_others(pod));
        let settled =
            settled.map_err(|source| NetworkError::Io { step: "find a free host port", source })?;
        let led: Vec<_> = settled.iter().filter(|port| port.host_port > 0).cloned().collect();
        if !ports.has(pod, &led) {
            ports.set(pod, led);
            let cidr = self.ipam.lock().as_ref().map(Ipam::cidr);
            self.write(cidr.as_ref(), &mut ports).await?;
        }
        Ok(settled)
    }
}
