//! Where a plan is made for.

use std::{collections::BTreeSet, net::IpAddr};

use component::dual_stack::DualStack;

/// Where the plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The nodes that are this host, for `internalTrafficPolicy: Local`: several kubelets may share it.
    pub nodes: BTreeSet<String>,
    /// The ranges of virtual IPs. An address outside of them is never taken: nothing would clean it up. There are no
    /// Services of a family that has none.
    pub service_cidr: DualStack,
    /// The one of them at which kube-proxy itself answers: there is no nginx for the Service that has it, `kube-dns`.
    pub cluster_dns: Option<IpAddr>,
    /// The zone of this host, for hints.
    pub zone: Option<String>,
    /// The addresses of this host, but for virtual IPs, of the families that Services have.
    pub addresses: BTreeSet<IpAddr>,
    /// Those of them at which there are node ports.
    pub node_addresses: BTreeSet<IpAddr>,
}

/// Whether any of the virtual IPs is of the family of this address.
pub(super) fn has_family(ips: &BTreeSet<IpAddr>, address: IpAddr) -> bool {
    ips.iter().any(|ip| ip.is_ipv4() == address.is_ipv4())
}
