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
    HostPort, NetworkError, PodNetwork,
    firewall::{self, Chains},
    ipam::{self, Ipam},
    netlink,
    netlink::Links,
};

/// The node's bridge and the addresses behind it.
#[derive(Debug)]
pub struct Bridge {
    name: String,
    chains: Chains,
    pods: Ipv4Net,
    services: Ipv4Net,
    ipam: Mutex<Option<Ipam>>,
    /// By pod. Held while the rules are replaced, so that they never go back in time.
    ports: tokio::sync::Mutex<BTreeMap<String, Vec<HostPort>>>,
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
        }
    }

    /// The bridge's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn network(&self) -> Result<Ipv4Net, NetworkError> {
        self.ipam.lock().as_ref().map(Ipam::cidr).ok_or(NetworkError::NotReady)
    }

    async fn firewall(&self) -> Result<(), NetworkError> {
        firewall::restore(&firewall::forwarding(&self.chains, self.pods, self.services)).await?;
        let ports = self.ports.lock().await;
        self.write_ports(&ports).await?;
        for jump in firewall::jumps(&self.chains, self.services) {
            firewall::ensure_jump(&jump).await?;
        }
        Ok(())
    }

    async fn write_ports(
        &self,
        ports: &BTreeMap<String, Vec<HostPort>>,
    ) -> Result<(), NetworkError> {
        firewall::restore(&firewall::host_ports(&self.chains, ports.values().flatten())).await
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
        let links = Links::open()?;
        // Before the first address exists: nothing for a pod or service may leave the host by the
        // default route.
        links.blackhole(self.pods).await?;
        links.blackhole(self.services).await?;
        links.bridge(&self.name, ipam::gateway(cidr), cidr.prefix_len()).await?;
        set_kernel_flag("ip_forward")?;
        // For host ports on 127.0.0.1.
        set_kernel_flag(&format!("conf/{}/route_localnet", self.name))?;
        self.firewall().await?;
        for (pod, _) in running {
            let link = link_name(pod);
            if links.index(&link).await?.is_some() {
                links.join(&link, &self.name).await?;
            }
        }
        let mut ipam = self.ipam.lock();
        if ipam.as_ref().map(Ipam::cidr) != Some(cidr) {
            *ipam = Some(Ipam::new(cidr, running));
        }
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.ipam.lock().is_some()
    }

    fn reserve(&self, pod: &str) -> Result<Ipv4Addr, NetworkError> {
        let mut ipam = self.ipam.lock();
        let ipam = ipam.as_mut().ok_or(NetworkError::NotReady)?;
        ipam.reserve(pod).ok_or(NetworkError::Exhausted(ipam.cidr()))
    }

    async fn attach(&self, pod: &str, address: Ipv4Addr, pid: i32) -> Result<(), NetworkError> {
        let network = self.network()?;
        let namespace = File::open(format!("/proc/{pid}/ns/net")).map_err(|source| {
            NetworkError::Io { step: "open the pod's network namespace", source }
        })?;
        let (links, link) = (Links::open()?, link_name(pod));
        links.delete(&link).await?;
        links.veth(&link, &self.name, &namespace).await?;
        netlink::configure_pod(namespace, address, network).await
    }

    async fn detach(&self, pod: &str) -> Result<(), NetworkError> {
        self.host_ports(pod, Vec::new()).await?;
        Links::open()?.delete(&link_name(pod)).await
    }

    fn release(&self, pod: &str) {
        if let Some(ipam) = self.ipam.lock().as_mut() {
            ipam.release(pod);
        }
    }

    async fn host_ports(&self, pod: &str, wanted: Vec<HostPort>) -> Result<(), NetworkError> {
        let mut ports = self.ports.lock().await;
        if ports.get(pod).map(Vec::as_slice).unwrap_or_default() == wanted {
            return Ok(());
        }
        ports.insert(pod.to_owned(), wanted);
        ports.retain(|_, ports| !ports.is_empty());
        self.write_ports(&ports).await
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
