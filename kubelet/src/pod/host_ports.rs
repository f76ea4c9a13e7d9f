//! The ports of the node that a pod asks for. Pure.

use std::net::Ipv4Addr;

use api_types::api::core::v1::Pod;

use crate::{network::PortMapping, spec};

/// Those that lead to the pod at this address.
pub(super) fn host_ports(pod: &Pod, address: Ipv4Addr) -> Vec<PortMapping> {
    let sidecars = spec::init_containers(pod).filter(|container| spec::is_sidecar(container));
    spec::containers(pod)
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            Some(PortMapping {
                protocol: port.protocol.as_deref().unwrap_or("TCP").to_lowercase(),
                host_ip: port.host_ip.as_deref().and_then(|ip| ip.parse().ok()),
                host_port: u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?,
                pod_ip: address,
                pod_port: u16::try_from(port.container_port).ok()?,
            })
        })
        .collect()
}
