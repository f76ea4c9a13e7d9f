//! For tests only: a whole control plane in process, real servers on free ports, objects to begin with,
//! and ways to wait for a condition instead of a time.
//!
//! What fails here fails the test: these functions panic with a message that says what to do.

mod apiserver;
mod authority;
mod builders;
mod connections;
mod control_plane;
mod dockerd;
mod gate;
mod output;
mod pod_ranges;
mod process;
mod proxy;
mod registry;
mod servers;
mod slurm;
mod tls;
pub mod wait;

pub use apiserver::Apiserver;
pub use authority::Authority;
pub use builders::{
    NodeBuilder, PodBuilder, ReplicaSetBuilder, ServiceBuilder, node, pod, replica_set, service,
};
pub use connections::Connections;
pub use control_plane::{Builder, ControlPlane};
pub use dockerd::Dockerd;
pub use gate::Obstacle;
pub use output::without_ages;
pub use pod_ranges::remove_pod_ranges;
pub use proxy::Proxy;
pub use registry::Registry;
pub use servers::{Etcd, EtcdMembers, Redis};
pub use slurm::Slurm;

/// All programs there are, each of a crate of that name.
pub const PROGRAMS: [&str; 8] = [
    "apiserver",
    "controller-manager",
    "gpu-server",
    "kube-proxy",
    "kubectl",
    "kubelet",
    "scheduler",
    "serverless-gateway",
];
