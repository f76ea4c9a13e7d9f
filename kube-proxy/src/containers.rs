//! The containers that carry the Services, as kube-proxy needs them: few verbs, so that tests can
//! stand in for Docker.

use std::{net::Ipv4Addr, path::Path};

use async_trait::async_trait;

use crate::plan::ServicePlan;

/// Names the Service, as `<namespace>/<name>`, on its container.
pub const SERVICE_LABEL: &str = "io.minik8s.service";
/// Holds the Service's uid on its container: what it is found by.
pub const UID_LABEL: &str = "io.minik8s.service-uid";
/// Holds the Service's virtual IP on its container, for a start without an API server.
pub const IP_LABEL: &str = "io.minik8s.service-ip";
/// Names the node: several may share one Docker daemon in tests.
pub const NODE_LABEL: &str = "io.minik8s.node";

/// A container of this node that carries a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Docker's id.
    pub id: String,
    /// `<namespace>/<name>` of the Service.
    pub service: String,
    /// The Service's uid.
    pub uid: String,
    /// The virtual IP that it was made for.
    pub ip: Option<Ipv4Addr>,
    /// Whether its nginx runs.
    pub running: bool,
}

/// What went wrong with a container.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// The command line tool could not be started.
    #[error("running docker")]
    Run(#[source] std::io::Error),
    /// The command did not end.
    #[error("docker {command} did not end within {seconds} s")]
    Timeout {
        /// The verb.
        command: String,
        /// How long it was given.
        seconds: u64,
    },
    /// Docker refused.
    #[error("docker {command}: {message}")]
    Refused {
        /// The verb.
        command: String,
        /// What it said.
        message: String,
    },
}

/// The verbs.
#[async_trait]
pub trait Containers: Send + Sync {
    /// All of this node, whatever their state.
    async fn list(&self) -> Result<Vec<Found>, ContainerError>;

    /// Makes and starts the container of a Service whose configuration lies in `config`.
    async fn create(&self, plan: &ServicePlan, config: &Path) -> Result<(), ContainerError>;

    /// Starts one that has ended.
    async fn start(&self, id: &str) -> Result<(), ContainerError>;

    /// Makes a running nginx read its configuration again, without losing a connection.
    async fn reload(&self, id: &str) -> Result<(), ContainerError>;

    /// Ends and deletes it.
    async fn remove(&self, id: &str) -> Result<(), ContainerError>;

    /// The last lines it wrote: why it ended.
    async fn last_words(&self, id: &str) -> Result<String, ContainerError>;
}
