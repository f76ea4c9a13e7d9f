//! How pods get addresses and reach each other. `bridge` is the only network so far; others fit behind
//! the same trait.

pub mod bridge;
mod choice;
#[cfg(test)]
pub(crate) mod fake;
pub mod ipam;
pub mod keeper;
mod links;
mod rules;

use std::net::Ipv4Addr;

use async_trait::async_trait;
use ipnet::Ipv4Net;

pub use rules::PortMapping;

/// A step of the pod network that failed.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// The node has no pod CIDR yet.
    #[error("network is not ready: the node has no pod CIDR yet")]
    NotReady,
    /// All addresses of the node are in use.
    #[error("no address left in {0}")]
    Exhausted(Ipv4Net),
    /// The kernel refused.
    #[error("cannot set up links")]
    Links(#[from] netlink::Error),
    /// A file or namespace could not be used.
    #[error("cannot {step}")]
    Io {
        /// What was tried.
        step: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The packet filter does not have what it should.
    #[error("cannot set the packet filter's rules")]
    Rules(#[from] packet_filter::Error),
    /// A link that was just made is not there.
    #[error("link {0} does not exist")]
    NoLink(String),
}

/// A network that connects the pods of this node.
#[async_trait]
pub trait PodNetwork: Send + Sync + std::fmt::Debug {
    /// Prepares the node for its pod CIDR. `running` are the pods that have an address already: they
    /// keep it. May be called again at any time.
    async fn start(
        &self,
        cidr: Ipv4Net,
        running: &[(String, Ipv4Addr)],
    ) -> Result<(), NetworkError>;
    /// Puts back what others took away from the node's network since `start`; nothing before it.
    async fn reconcile(&self) -> Result<(), NetworkError>;
    /// Whether pods can be connected.
    fn is_ready(&self) -> bool;
    /// The pod's address, chosen now if it has none, by a network that can tell before the pod is connected.
    /// It stays the pod's until `release`.
    fn reserve(&self, pod: &str) -> Result<Option<Ipv4Addr>, NetworkError>;
    /// Connects the network namespace of a process; gives the pod's address, the one reserved if one was.
    async fn attach(&self, pod: &str, pid: i32) -> Result<Ipv4Addr, NetworkError>;
    /// The address of a pod, as long as it has one.
    fn address(&self, pod: &str) -> Option<Ipv4Addr>;
    /// Disconnects a pod; one that is not connected is no error.
    async fn detach(&self, pod: &str) -> Result<(), NetworkError>;
    /// Gives the pod's address back.
    fn release(&self, pod: &str);
    /// Makes exactly these ports of the pod reachable on the node, and gives them: where the node's port is 0, with one
    /// that is free and stays the pod's until `release`, or with 0 still if the address is not this host's. After an error
    /// it may be called again.
    async fn host_ports(
        &self,
        pod: &str,
        ports: Vec<PortMapping>,
    ) -> Result<Vec<PortMapping>, NetworkError>;
}
