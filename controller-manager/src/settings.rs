//! What the controllers are told, whoever tells them.

use std::net::IpAddr;

use component::network::Networks;

use crate::eviction::EvictionArgs;
use crate::functions::FunctionArgs;
use crate::gpu_jobs::GpuJobArgs;
use crate::load_balancer_pool::Pool;
use crate::network::Network;
use crate::signing::Signing;
use crate::workers::WorkersArgs;

/// What the controllers are told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where pod addresses come from.
    pub pod_network: Network,
    /// The API servers' own range of Services' virtual IPs.
    pub service_cidr: Networks,
    /// The authority of the API server's certificate, as PEM. Without one it is not published.
    pub root_ca: Option<String>,
    /// Addresses that kubelets get no certificates for, though they say that they have them.
    pub reserved_addresses: Vec<IpAddr>,
    /// Who signs certificates. Without one, nobody here does.
    pub signing: Option<Signing>,
    /// How nodes are given up, and which pods are removed for good.
    pub eviction: EvictionArgs,
    /// How many objects controllers look at at a time.
    pub workers: WorkersArgs,
    /// How functions' images are made, and where functions are called.
    pub functions: FunctionArgs,
    /// What the pods of GPU jobs are made from.
    pub gpu_jobs: GpuJobArgs,
    /// The addresses that Services of the type LoadBalancer are given. Without any, nobody here gives them some.
    pub load_balancer_pool: Pool,
    /// Whom to ask for what autoscalers go by beside resources.
    pub prometheus_url: Option<String>,
}
