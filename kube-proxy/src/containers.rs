//! The containers of nginxes, as kube-proxy needs them: few verbs, so that tests can stand in for Docker.

use std::io;

use async_trait::async_trait;

pub use crate::instance::Found;
use crate::{configs::Directory, instance::InstanceSpec, status::InForce, workers::OldWorkers};

/// Names the Service, as `<namespace>/<name>`, on its container.
pub const SERVICE_LABEL: &str = "io.minik8s.service";
/// Tells of any container for which object it is, for people.
pub const OWNER_LABEL: &str = "io.minik8s.owner";
/// Tells of any container of which kind that object is; without it, it is a Service.
pub const KIND_LABEL: &str = "io.minik8s.owner-kind";
/// Holds the object's uid on its container: what it is found by.
pub const UID_LABEL: &str = "io.minik8s.service-uid";
/// Holds the virtual IPs that it was made for on its container, for a start without an API server.
pub const IP_LABEL: &str = "io.minik8s.service-ip";
/// Names the node: several may share one Docker daemon in tests.
pub const NODE_LABEL: &str = "io.minik8s.node";
/// Tells how the container was made. One that was made in another way is made anew.
pub const FORMAT_LABEL: &str = "io.minik8s.service-format";
/// The present way: with a directory for sockets.
pub const FORMAT: &str = "2";

/// What went wrong with a container.
#[derive(Debug, thiserror::Error)]
#[error("{step} a container")]
pub struct ContainerError {
    step: &'static str,
    #[source]
    source: docker::Error,
}

/// Names the step.
pub fn failed(step: &'static str) -> impl FnOnce(docker::Error) -> ContainerError {
    move |source| ContainerError { step, source }
}

/// The verbs.
#[async_trait]
pub trait Containers: Send + Sync {
    /// All of this node, whatever their state.
    async fn list(&self) -> Result<Vec<Found>, ContainerError>;

    /// Makes and starts the container of one whose configuration lies in `directory`; its id.
    async fn create(
        &self,
        spec: &InstanceSpec,
        directory: &Directory,
    ) -> Result<String, ContainerError>;

    /// Starts one that has ended.
    async fn start(&self, id: &str) -> Result<(), ContainerError>;

    /// Makes a running nginx read its configuration again, without losing a connection. Whether it can
    /// use it, only [`Containers::in_force`] tells.
    async fn reload(&self, id: &str) -> Result<(), ContainerError>;

    /// Ends and deletes it.
    async fn remove(&self, id: &str) -> Result<(), ContainerError>;

    /// The last lines it wrote: why it ended, or does not take a configuration.
    async fn last_words(&self, id: &str) -> Result<String, ContainerError>;

    /// What the nginx of `directory` goes by; nothing if it does not answer.
    async fn in_force(&self, directory: &Directory) -> Option<InForce>;

    /// Ends workers of earlier configurations beyond so many.
    async fn end_surplus_workers(&self, nginx: &InForce, limit: usize) -> io::Result<OldWorkers>;
}
