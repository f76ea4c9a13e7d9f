//! What DNS tells of one Service: a function from it and its EndpointSlices.
//! <https://github.com/kubernetes/dns/blob/master/docs/specification.md>

use std::{collections::BTreeSet, net::IpAddr};

use api_types::api::{
    core::v1::{Service, ServicePort, ServiceSpec},
    discovery::v1::{Endpoint, EndpointSlice},
};

/// What a Service's names lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// Its virtual IPs.
    Virtual {
        /// As written.
        addresses: BTreeSet<IpAddr>,
        /// Those of the Service with a name.
        ports: BTreeSet<NamedPort>,
    },
    /// Its ready endpoints themselves; without any, there is no such name.
    Headless(BTreeSet<EndpointRecord>),
    /// Another name.
    External(String),
}

/// One address of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointRecord {
    /// Its host name, or what stands for one that has none: `10-244-0-5`, `fd00-10-244--5`.
    pub hostname: String,
    /// Its address.
    pub address: IpAddr,
    /// Its ports that have names.
    pub ports: BTreeSet<NamedPort>,
}

/// What an SRV record tells of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NamedPort {
    /// The port's name.
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// Its number.
    pub number: u16,
}

/// Nothing: a Service that has no address yet.
pub fn records<'a>(
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Option<Records> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") {
        return spec.external_name.clone().map(Records::External);
    }
    match spec.cluster_ip.as_deref() {
        Some("None") => Some(Records::Headless(endpoints(spec, slices))),
        None | Some("") => None,
        Some(_) => Some(Records::Virtual {
            addresses: virtual_ips(spec),
            ports: spec.ports.iter().flatten().filter_map(service_port).collect(),
        }),
    }
}

impl Records {
    /// Those of which the name of this Service, or of one of its endpoints, is told when they are asked for.
    pub(super) fn addresses(&self) -> impl Iterator<Item = (IpAddr, Option<&str>)> {
        let (own, endpoints) = match self {
            Records::Virtual { addresses, .. } => (Some(addresses), None),
            Records::Headless(endpoints) => (None, Some(endpoints)),
            Records::External(_) => (None, None),
        };
        let own = own.into_iter().flatten().map(|address| (*address, None));
        let endpoints = endpoints.into_iter().flatten();
        own.chain(endpoints.map(|endpoint| (endpoint.address, Some(endpoint.hostname.as_str()))))
    }

    /// All ports with a name.
    pub(super) fn ports(&self) -> impl Iterator<Item = &NamedPort> {
        let (own, endpoints) = match self {
            Records::Virtual { ports, .. } => (Some(ports), None),
            Records::Headless(endpoints) => (None, Some(endpoints)),
            Records::External(_) => (None, None),
        };
        let endpoints = endpoints.into_iter().flatten();
        own.into_iter().flatten().chain(endpoints.flat_map(|endpoint| &endpoint.ports))
    }
}

fn virtual_ips(spec: &ServiceSpec) -> BTreeSet<IpAddr> {
    let written = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    written.filter_map(|ip| ip.parse().ok()).collect()
}

fn service_port(port: &ServicePort) -> Option<NamedPort> {
    named_port(port.name.as_deref(), port.protocol.as_deref(), port.port)
}

/// Ports without a name have no SRV record.
fn named_port(name: Option<&str>, protocol: Option<&str>, number: i32) -> Option<NamedPort> {
    let name = name.filter(|name| !name.is_empty())?.to_ascii_lowercase();
    let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
    Some(NamedPort { name, protocol, number: number.try_into().ok()? })
}

fn endpoints<'a>(
    spec: &ServiceSpec,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> BTreeSet<EndpointRecord> {
    let all = spec.publish_not_ready_addresses.unwrap_or_default();
    let slices = slices.into_iter().filter(|slice| slice.address_type != "FQDN");
    slices.flat_map(|slice| endpoints_of(slice, all)).collect()
}

fn endpoints_of(slice: &EndpointSlice, all: bool) -> impl Iterator<Item = EndpointRecord> {
    let ports =
        slice.ports.iter().flatten().filter_map(|port| {
            named_port(port.name.as_deref(), port.protocol.as_deref(), port.port?)
        });
    let ports: BTreeSet<_> = ports.collect();
    let told = slice.endpoints.iter().flatten().filter(move |endpoint| all || is_ready(endpoint));
    told.flat_map(move |endpoint| {
        let addresses = endpoint.addresses.iter().filter_map(|address| address.parse().ok());
        let ports = ports.clone();
        addresses.map(move |address: IpAddr| EndpointRecord {
            hostname: hostname(endpoint, address),
            address,
            ports: ports.clone(),
        })
    })
}

/// Absent means ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn hostname(endpoint: &Endpoint, address: IpAddr) -> String {
    let given = endpoint.hostname.as_ref().filter(|name| !name.is_empty());
    given.map_or_else(
        || address.to_string().replace(['.', ':'], "-"),
        |name| name.to_ascii_lowercase(),
    )
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;
