//! One bridge per node, and a veth pair per pod, made through netlink.
//!
//! The bridge's name comes from the node's name: several kubelets on one host have a bridge each, and
//! the host routes between them.

use async_trait::async_trait;
use component::check::Difference;
use component::dual_stack::DualStack;

use super::{
    Attachment, Held, NetworkError, NodeNetwork, PodAddresses,
    links::Links,
    rules::short_hash,
    sources::Sources,
    wired::{Wired, Wiring},
};

/// The node's bridge and the addresses behind it.
pub type Bridge = Wired<BridgeWiring>;

/// The node's bridge and its ports.
#[derive(Debug)]
pub struct BridgeWiring {
    name: String,
    /// The cluster's pods, on other hosts too.
    pods: DualStack,
    sources: Sources,
}

impl Bridge {
    /// Nothing is made before `start`. `pods` and `services` are the cluster's networks.
    pub fn new(node: &str, pods: DualStack, services: DualStack) -> Self {
        let node_hash = short_hash(node);
        let (name, sources) = (format!("mk8s{node_hash}"), Sources::new(&node_hash));
        let wiring = BridgeWiring { name, pods, sources };
        Self::with(wiring, node, pods, services)
    }

    /// The bridge's name.
    pub fn name(&self) -> &str {
        self.wiring.link()
    }
}

/// The host's end of a pod's pair.
fn link_name(pod: &str) -> String {
    format!("veth{}", short_hash(pod))
}

#[async_trait]
impl Wiring for BridgeWiring {
    fn link(&self) -> &str {
        &self.name
    }

    async fn keep(&self, cidr: DualStack, pods: &[Held]) -> Result<(), NetworkError> {
        let links = Links::open()?;
        links.bridge(&self.name, &cidr).await?;
        let known = pods.iter().filter_map(|held| Some((link_name(&held.pod), held.addresses?)));
        self.sources.keep(known.collect()).await;
        links.join_all(&pods.iter().map(|held| link_name(&held.pod)).collect(), &self.name).await
    }

    async fn connect(
        &self,
        pod: &Attachment,
        addresses: PodAddresses,
        cidr: DualStack,
    ) -> Result<(), NetworkError> {
        let (links, link, namespace) = (Links::open()?, link_name(&pod.pod.uid), pod.namespace()?);
        links.delete(&link).await?;
        let mtu = links.mtu(self.pods.v4.into()).await?;
        self.sources.add(link.clone(), addresses).await;
        links.connect(&link, &self.name, namespace, addresses, cidr, mtu).await
    }

    async fn differences(&self, node: &NodeNetwork) -> Result<Vec<Difference>, NetworkError> {
        let ports = node.running.iter().map(|pod| (link_name(&pod.pod), pod.label.clone()));
        let others = node.all.iter().map(|pod| link_name(pod)).collect();
        let (links, ports) = (Links::open()?, ports.collect());
        let mut found =
            links.differences_of_bridge(&self.name, &node.cidr, &ports, &others).await?;
        let owners = node.running.iter().map(|pod| (link_name(&pod.pod), pod.addresses));
        found.extend(self.sources.differences(&owners.collect()).await);
        Ok(found)
    }

    fn speaks_ipv6(&self) -> bool {
        true
    }

    async fn disconnect(&self, pod: &Held) -> Result<(), NetworkError> {
        Links::open()?.delete(&link_name(&pod.pod)).await?;
        self.forget(&pod.pod);
        Ok(())
    }

    fn forget(&self, pod: &str) {
        self.sources.forget(&link_name(pod));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernels_fifteen_bytes_and_differ_by_node() {
        let bridge = |node: &str| {
            let pods = "10.244.0.0/16".parse().unwrap();
            Bridge::new(node, pods, "10.96.0.0/16".parse().unwrap()).name().to_owned()
        };
        assert!(bridge(&"n".repeat(200)).len() <= 15);
        assert_ne!(bridge("n1"), bridge("n2"));
        assert!(link_name("0bf5d6f4-9c55-4b3d").len() <= 15);
    }
}
