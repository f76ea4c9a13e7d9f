//! One bridge per node, and a veth pair per pod, made through netlink.
//!
//! The bridge's name comes from the node's name: several kubelets on one host have a bridge each, and
//! the host routes between them.

use std::{collections::BTreeMap, fs::File, net::Ipv4Addr};

use async_trait::async_trait;
use ipnet::Ipv4Net;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    NetworkError, PodNetwork, PortMapping,
    choice::Choices,
    ipam::{self, Ipam},
    links::Links,
    rules::{self, Chains},
};

/// The node's bridge and the addresses behind it.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    chains: Chains,
    pods: Ipv4Net,
    services: Ipv4Net,
    ipam: Mutex<Option<Ipam>>,
    /// Held while the rules are replaced, so that they never go back in time.
    ports: tokio::sync::Mutex<Ports>,
    choices: Mutex<Choices>,
}

/// The host ports of all pods.
#[derive(Debug, Default)]
struct Ports {
    /// By pod.
    wanted: BTreeMap<String, Vec<PortMapping>>,
    /// Whether the kernel may not have them: writing failed.
    unwritten: bool,
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

impl Bridge {
    /// Nothing is made before `start`. `pods` and `services` are the cluster's networks.
    pub fn new(node: &str, pods: Ipv4Net, services: Ipv4Net) -> Self {
        let mark = short_hash(node);
        Self {
            name: format!("mk8s{mark}"),
            chains: Chains::new(&short_hash(&format!("{pods} {services}")), &mark),
            pods,
            services,
            ipam: Mutex::new(None),
            ports: tokio::sync::Mutex::default(),
            choices: Mutex::default(),
        }
    }

    /// The bridge's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn network(&self) -> Result<Ipv4Net, NetworkError> {
        self.ipam.lock().as_ref().map(Ipam::cidr).ok_or(NetworkError::NotReady)
    }

    fn choose(&self, pod: &str) -> Result<Ipv4Addr, NetworkError> {
        let mut ipam = self.ipam.lock();
        let ipam = ipam.as_mut().ok_or(NetworkError::NotReady)?;
        ipam.reserve(pod).ok_or(NetworkError::Exhausted(ipam.cidr()))
    }

    /// Whatever of the node's links, routes and flags is missing.
    async fn links(&self, cidr: Ipv4Net, pods: Vec<String>) -> Result<(), NetworkError> {
        let links = Links::open()?;
        // Before the first address exists: nothing for a pod or service may leave the host by the
        // default route.
        links.blackhole(self.pods).await?;
        links.blackhole(self.services).await?;
        links.bridge(&self.name, ipam::gateway(cidr), cidr.prefix_len()).await?;
        set_kernel_flag("ip_forward")?;
        // For host ports on 127.0.0.1.
        set_kernel_flag(&format!("conf/{}/route_localnet", self.name))?;
        links.join_all(&pods.iter().map(|pod| link_name(pod)).collect(), &self.name).await
    }

    /// Tells whether the rules were not there.
    async fn firewall(&self) -> Result<bool, NetworkError> {
        self.write(&mut *self.ports.lock().await).await
    }

    /// Until their workers have looked at them, running pods keep the host ports that they have.
    async fn adopt_ports(&self, running: &[(String, Ipv4Addr)]) -> Result<(), NetworkError> {
        let mut ports = self.ports.lock().await;
        if !ports.wanted.is_empty() {
            return Ok(());
        }
        let saved = rules::saved_ports(&self.chains).await?;
        for (pod, address) in running {
            let own = saved.iter().filter(|port| port.pod_ip == *address).cloned().collect();
            ports.set(pod, own);
        }
        Ok(())
    }

    async fn write(&self, ports: &mut Ports) -> Result<bool, NetworkError> {
        let all = ports.wanted.values().flatten();
        let tables = rules::tables(&self.chains, self.pods, self.services, all);
        // Until it is known: the caller may be dropped meanwhile.
        ports.unwritten = true;
        let changed = packet_filter::ensure(&tables).await?;
        ports.unwritten = false;
        Ok(changed)
    }
}

/// The host's end of a pod's pair.
fn link_name(pod: &str) -> String {
    format!("veth{}", short_hash(pod))
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(4).map(|byte| format!("{byte:02x}")).collect()
}

fn set_kernel_flag(path: &str) -> Result<(), NetworkError> {
    let path = format!("/proc/sys/net/ipv4/{path}");
    if std::fs::read_to_string(&path).is_ok_and(|value| value.trim() == "1") {
        return Ok(());
    }
    std::fs::write(path, "1")
        .map_err(|source| NetworkError::Io { step: "set a flag of the kernel's network", source })
}

// === impl PodNetwork ===

#[async_trait]
impl PodNetwork for Bridge {
    async fn start(
        &self,
        cidr: Ipv4Net,
        running: &[(String, Ipv4Addr)],
    ) -> Result<(), NetworkError> {
        self.links(cidr, running.iter().map(|(pod, _)| pod.clone()).collect()).await?;
        self.adopt_ports(running).await?;
        self.firewall().await?;
        let mut ipam = self.ipam.lock();
        if ipam.as_ref().map(Ipam::cidr) != Some(cidr) {
            *ipam = Some(Ipam::new(cidr, running));
        }
        Ok(())
    }

    async fn reconcile(&self) -> Result<(), NetworkError> {
        let held = self.ipam.lock().as_ref().map(|ipam| (ipam.cidr(), ipam.pods()));
        let Some((cidr, pods)) = held else { return Ok(()) };
        self.links(cidr, pods).await?;
        if self.firewall().await? {
            tracing::warn!("somebody had changed our rules of the packet filter; they are back");
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.ipam.lock().is_some()
    }

    fn reserve(&self, pod: &str) -> Result<Option<Ipv4Addr>, NetworkError> {
        self.choose(pod).map(Some)
    }

    async fn attach(&self, pod: &str, pid: i32) -> Result<Ipv4Addr, NetworkError> {
        let (network, address) = (self.network()?, self.choose(pod)?);
        let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(|source| {
            NetworkError::Io { step: "open the pod's network namespace", source }
        })?;
        let (links, link) = (Links::open()?, link_name(pod));
        links.delete(&link).await?;
        let mtu = links.mtu(self.pods).await?;
        links.connect(&link, &self.name, namespace, address, network, mtu).await?;
        Ok(address)
    }

    fn address(&self, pod: &str) -> Option<Ipv4Addr> {
        self.ipam.lock().as_ref()?.get(pod)
    }

    async fn detach(&self, pod: &str) -> Result<(), NetworkError> {
        self.host_ports(pod, Vec::new()).await?;
        Links::open()?.delete(&link_name(pod)).await
    }

    fn release(&self, pod: &str) {
        if let Some(ipam) = self.ipam.lock().as_mut() {
            ipam.release(pod);
        }
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
            self.write(&mut ports).await?;
        }
        Ok(settled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernels_fifteen_bytes_and_differ_by_node() {
        let bridge = |node: &str| {
            let pods = "10.244.0.0/16".parse().unwrap();
            Bridge::new(node, pods, "10.96.0.0/16".parse().unwrap()).name
        };
        assert!(bridge(&"n".repeat(200)).len() <= 15);
        assert_ne!(bridge("n1"), bridge("n2"));
        assert!(link_name("0bf5d6f4-9c55-4b3d").len() <= 15);
    }
}
