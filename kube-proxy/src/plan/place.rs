//! Where a plan is made for.

use std::{collections::BTreeSet, net::Ipv4Addr};

use ipnet::Ipv4Net;

/// Where the plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The nodes that are this host, for `internalTrafficPolicy: Local`: several kubelets may share it.
    pub nodes: BTreeSet<String>,
    /// The range of virtual IPs. An address outside of it is never taken: nothing would clean it up.
    pub service_cidr: Ipv4Net,
    /// The one of them at which kube-proxy itself answers: there is no nginx for the Service that has it, `kube-dns`.
    pub cluster_dns: Option<Ipv4Addr>,
    /// The zone of this host, for hints.
    pub zone: Option<String>,
    /// The addresses of this host, but for virtual IPs.
    pub addresses: BTreeSet<Ipv4Addr>,
    /// Those of them at which there are node ports.
    pub node_addresses: BTreeSet<Ipv4Addr>,
}
