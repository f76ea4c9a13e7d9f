//! How pods get addresses and reach each other: over a bridge of the node (`bridge`), over Weave Net (`weave`), or as
//! the plugins of a CNI configuration have it (`cni`).

pub mod bridge;
mod choice;
pub mod cni;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod flows;
mod former;
pub mod ipam;
pub mod keeper;
mod links;
mod loopback;
mod rules;
mod sources;
mod tool;
pub mod weave;
mod wired;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::MetadataExt,
};

use async_trait::async_trait;
use component::{check::Difference, dual_stack::DualStack};

use crate::{addresses::PodAddresses, runtime::PodIdentity};

pub use error::{CniError, NetworkError};
pub use rules::PortMapping;

/// A pod's sandbox that is to be connected.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Whose it is.
    pub pod: PodIdentity,
    /// The runtime's id of it.
    pub sandbox: String,
    /// The process that has its network namespace.
    pub pid: i32,
    /// The ports of the node that are to lead to the pod, at an address that may not be known yet.
    pub ports: Vec<PortMapping>,
}

impl Attachment {
    fn namespace(&self) -> Result<File, NetworkError> {
        namespace_of(self.pid)
    }
}

/// The path of the network namespace of a process.
fn namespace_path(pid: i32) -> String {
    format!("/proc/{pid}/ns/net")
}

/// Whether two paths lead to the same namespace is told by its number.
fn namespace_number(path: &str) -> Option<u64> {
    fs::metadata(path).ok().map(|found| found.ino())
}

fn namespace_of(pid: i32) -> Result<File, NetworkError> {
    let step = "open the pod's network namespace";
    File::open(namespace_path(pid)).map_err(|source| NetworkError::Io { step, source })
}

/// A pod's sandbox that there is already, dead ones included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub pod: String,
    /// The runtime's id of it; empty if it is not known.
    pub sandbox: String,
    /// The process that has its network namespace, if it runs.
    pub pid: Option<i32>,
    /// The number of that namespace, by which a process is told from a later one with its id.
    pub namespace: Option<u64>,
    /// The addresses that it was made for, by a network that knew them before.
    pub addresses: Option<PodAddresses>,
}

impl Held {
    /// Of a process that the runtime names now.
    pub fn new(
        pod: &str,
        sandbox: &str,
        pid: Option<i32>,
        addresses: Option<PodAddresses>,
    ) -> Self {
        let namespace = pid.and_then(|pid| namespace_number(&namespace_path(pid)));
        Self { pod: pod.to_owned(), sandbox: sandbox.to_owned(), pid, namespace, addresses }
    }

    /// Its process, as long as it has that namespace.
    fn running(&self) -> Option<i32> {
        let number = self.namespace?;
        self.pid.filter(|pid| namespace_number(&namespace_path(*pid)) == Some(number))
    }
}

/// The network of a node as it should be, by what the API server and the runtime say.
#[derive(Clone, Debug)]
pub struct NodeNetwork {
    /// The node's ranges of addresses.
    pub cidr: DualStack,
    /// The pods that are to be connected, in the order of their uids.
    pub running: Vec<Expected>,
    /// Ports that may lead to pods that come or go: the number and the pod's address may not be known.
    pub unsettled: Vec<PortMapping>,
    /// All pods of the node, by uid, with those that come or go.
    pub all: BTreeSet<String>,
}

/// A pod that is to be connected.
#[derive(Clone, Debug)]
pub struct Expected {
    /// Its uid.
    pub pod: String,
    /// Its name, for people.
    pub label: String,
    /// The process that has its network namespace.
    pub pid: i32,
    /// Its addresses.
    pub addresses: PodAddresses,
    /// The ports of the node that lead to it.
    pub ports: Vec<PortMapping>,
}

impl Expected {
    /// Whether it has ended since it was listed.
    fn is_gone(&self) -> bool {
        namespace_number(&namespace_path(self.pid)).is_none()
    }
}

/// A network that connects the pods of this node.
#[async_trait]
pub trait PodNetwork: Send + Sync + std::fmt::Debug {
    /// Prepares the node for its pod CIDR. `sandboxes` are all that there are: pods that have an address already
    /// keep it. May be called again at any time.
    async fn start(&self, cidr: DualStack, sandboxes: &[Held]) -> Result<(), NetworkError>;
    /// Puts back what others took away from the node's network since `start`; nothing before it.
    async fn reconcile(&self) -> Result<(), NetworkError>;
    /// What is not as it should be. Nothing is changed, and nothing needs to be started.
    async fn differences(&self, node: &NodeNetwork) -> Result<Vec<Difference>, NetworkError>;
    /// Whether pods can be connected.
    fn is_ready(&self) -> bool;
    /// The pod's addresses, chosen now if it has none, by a network that can tell before the pod is connected.
    /// They stay the pod's until `release`.
    fn reserve(&self, pod: &str) -> Result<Option<PodAddresses>, NetworkError>;
    /// Connects a sandbox; gives the pod's addresses, those reserved if some were.
    async fn attach(&self, pod: &Attachment) -> Result<PodAddresses, NetworkError>;
    /// The addresses of a pod, as long as it has some.
    fn addresses(&self, pod: &str) -> Option<PodAddresses>;
    /// Of the addresses that a sandbox was made for those that pods can have here still.
    fn valid(&self, made_for: PodAddresses) -> PodAddresses {
        made_for
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sandbox_runs_as_long_as_its_process_has_its_namespace() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let sandbox = Held::new("a", "sandbox-a", Some(pid), None);
        assert_eq!(sandbox.running(), Some(pid));
        let namespace = sandbox.namespace.map(|number| number + 1);
        assert_eq!(Held { namespace, ..sandbox }.running(), None);
        assert_eq!(Held::new("a", "sandbox-a", None, None).running(), None);
    }
}
