//! How a Service is reached beside its virtual IP: by ports of this host, and by addresses that lead here.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use api_types::api::{
    core::v1::{Service, ServicePort, ServiceSpec},
    discovery::v1::EndpointSlice,
};
use ipnet::IpNet;

use super::{
    endpoints::{Offered, is_here, is_ready},
    place::{Place, has_family},
};

/// Ways to a Service for those who come from outside. Its node ports are its ports' ([`super::PortPlan::node_port`]).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outside {
    /// `externalTrafficPolicy: Local`: who comes so is led to endpoints of this host alone.
    pub local_only: bool,
    /// The addresses of this host at which there are node ports and the health check; none if the Service has neither.
    pub node_addresses: BTreeSet<IpAddr>,
    /// `externalIPs`. None of them is a virtual IP, nor the host's own loopback.
    pub external_ips: BTreeSet<IpAddr>,
    /// The addresses of load balancers that lead the packets here as they are (`ipMode: VIP`), if they are not
    /// external IPs as well.
    pub balancer_ips: BTreeSet<IpAddr>,
    /// Who may come by the latter (`loadBalancerSourceRanges`); nothing: everybody.
    pub source_ranges: Option<BTreeSet<IpNet>>,
    /// Of the external and the balancers' addresses those that this host has.
    pub held: BTreeSet<IpAddr>,
    /// What load balancers ask whether there are endpoints here.
    pub health_check: Option<HealthCheck>,
}

/// The `healthCheckNodePort` of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The port.
    pub port: u16,
    /// How many ready endpoints this host has.
    pub endpoints: usize,
}

impl Outside {
    /// `ips`: its virtual IPs. There is nothing of a family of which it has none. `slices`: by family.
    pub(super) fn plan(
        place: &Place,
        service: &Service,
        ips: &BTreeSet<IpAddr>,
        slices: &[Vec<&EndpointSlice>],
    ) -> Self {
        let Some(spec) = service.spec.as_ref().filter(|spec| is_exposed(spec)) else {
            return Outside::default();
        };
        let external_ips = usable(place, ips, spec.external_ips.iter().flatten());
        let balancer_ips = usable(place, ips, balancers(service));
        let balancer_ips: BTreeSet<_> = balancer_ips.difference(&external_ips).copied().collect();
        let all = external_ips.union(&balancer_ips);
        let health_check = health_check(place, spec, slices);
        let has_node_ports = spec.ports.iter().flatten().any(|it| node_port(spec, it).is_some());
        let is_at_nodes = has_node_ports || health_check.is_some();
        let node_addresses = place.node_addresses.iter().copied();
        Outside {
            local_only: policy(spec) == Some("Local"),
            node_addresses: node_addresses
                .filter(|address| is_at_nodes && has_family(ips, *address))
                .collect(),
            held: all.filter(|ip| place.addresses.contains(ip)).copied().collect(),
            external_ips,
            balancer_ips,
            source_ranges: source_ranges(spec, ips),
            health_check,
        }
    }
}

/// Whether anything leads to it from outside.
fn is_exposed(spec: &ServiceSpec) -> bool {
    has_node_ports(spec) || spec.external_ips.as_ref().is_some_and(|ips| !ips.is_empty())
}

fn has_node_ports(spec: &ServiceSpec) -> bool {
    matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"))
}

fn policy(spec: &ServiceSpec) -> Option<&str> {
    spec.external_traffic_policy.as_deref()
}

pub(super) fn node_port(spec: &ServiceSpec, port: &ServicePort) -> Option<u16> {
    let number = port.node_port.filter(|_| has_node_ports(spec))?;
    u16::try_from(number).ok().filter(|number| *number != 0)
}

pub(super) fn endpoints(spec: &ServiceSpec, offered: &Offered<'_>) -> BTreeSet<SocketAddr> {
    match is_exposed(spec) {
        true => offered.under(policy(spec)),
        false => BTreeSet::new(),
    }
}

/// Who may write a Service must not take other Services' addresses by it, nor the host's own servers'.
fn usable<'a>(
    place: &Place,
    own: &BTreeSet<IpAddr>,
    ips: impl Iterator<Item = &'a String>,
) -> BTreeSet<IpAddr> {
    let ips = ips.filter_map(|ip| ip.parse::<IpAddr>().ok());
    let is_usable = |ip: &IpAddr| {
        has_family(own, *ip)
            && !place.service_cidr.contains(*ip)
            && !ip.is_loopback()
            && !ip.is_unspecified()
            && !ip.is_multicast()
    };
    ips.filter(is_usable).collect()
}

fn balancers(service: &Service) -> impl Iterator<Item = &String> {
    let is_balanced =
        service.spec.as_ref().is_some_and(|it| it.type_.as_deref() == Some("LoadBalancer"));
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.and_then(|it| it.ingress.as_ref()).into_iter().flatten();
    let whole = ingress.filter(move |it| is_balanced && it.ip_mode.as_deref() != Some("Proxy"));
    whole.filter_map(|ingress| ingress.ip.as_ref())
}

/// A list of which nothing can be read lets in nobody.
fn source_ranges(spec: &ServiceSpec, own: &BTreeSet<IpAddr>) -> Option<BTreeSet<IpNet>> {
    let ranges = spec.load_balancer_source_ranges.as_ref().filter(|ranges| !ranges.is_empty())?;
    let ranges = ranges.iter().filter_map(|range| range.trim().parse().ok());
    Some(ranges.filter(|range: &IpNet| has_family(own, range.addr())).collect())
}

fn health_check(
    place: &Place,
    spec: &ServiceSpec,
    slices: &[Vec<&EndpointSlice>],
) -> Option<HealthCheck> {
    let port = u16::try_from(spec.health_check_node_port?).ok().filter(|port| *port != 0)?;
    if policy(spec) != Some("Local") || spec.type_.as_deref() != Some("LoadBalancer") {
        return None;
    }
    let here = |slices: &Vec<&EndpointSlice>| {
        let all = slices.iter().flat_map(|slice| slice.endpoints.iter().flatten());
        let here = all.filter(|endpoint| is_ready(endpoint) && is_here(place, endpoint));
        let addresses = here.filter_map(|endpoint| endpoint.addresses.first());
        addresses.collect::<BTreeSet<_>>().len()
    };
    // A pod is one of them, by whichever of its addresses.
    let endpoints = slices.iter().map(here).max().unwrap_or_default();
    Some(HealthCheck { port, endpoints })
}
