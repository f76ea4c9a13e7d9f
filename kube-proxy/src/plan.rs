//! What each Service should look like on this node: a function from the API's objects to
//! [`ServicePlan`]s. It knows neither nginx nor Docker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
    time::Duration,
};

use api_machinery::host_routes::is_router;
use api_types::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    meta::ObjectMeta,
};
use ipnet::Ipv4Net;

/// The label by which an EndpointSlice names the Service that it belongs to.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Kubernetes' default for how long a client may be away.
const AFFINITY_SECONDS: i32 = 10_800;

/// Where the plan is made for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The nodes that are this host, for `internalTrafficPolicy: Local`: several kubelets may share it.
    pub nodes: BTreeSet<String>,
    /// The range of virtual IPs. An address outside of it is never taken: nothing would clean it up.
    pub service_cidr: Ipv4Net,
    /// The one of them at which kube-proxy itself answers: there is no nginx for the Service that has it, `kube-dns`.
    pub cluster_dns: Option<Ipv4Addr>,
}

/// One Service on this node: the address to hold and where each port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The Service's uid. A Service made anew under an old name is another one.
    pub uid: String,
    /// The virtual IP.
    pub ip: Ipv4Addr,
    /// `sessionAffinity: ClientIP`: a client stays with one endpoint, until it has been away for so
    /// long.
    pub affinity: Option<Duration>,
    /// All ports, those without an endpoint too; no two with the same number and protocol.
    pub ports: Vec<PortPlan>,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortPlan {
    /// The port of the virtual IP.
    pub port: u16,
    /// Its protocol.
    pub protocol: Protocol,
    /// Where connections go; empty means that they are refused.
    pub endpoints: BTreeSet<SocketAddrV4>,
}

/// The protocols that can be proxied. SCTP ports are left out of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// A stream of bytes.
    Tcp,
    /// Datagrams.
    Udp,
}

/// The plans of all Services that have a virtual IP in the range, by namespace and name.
pub fn plan<'a>(
    place: &Place,
    services: impl IntoIterator<Item = &'a Service>,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Vec<ServicePlan> {
    let slices = by_service(slices);
    let plan = |service: &'a Service| {
        plan_service(place, service, slices_of(&slices, &service.metadata).iter().copied())
    };
    let mut plans: Vec<_> = services.into_iter().filter_map(plan).collect();
    plans.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
    plans
}

/// The plan of one Service, of which these are the slices; nothing if it has no virtual IP in the range.
pub fn plan_service<'a>(
    place: &Place,
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Option<ServicePlan> {
    let ObjectMeta { namespace, name, uid, .. } = &service.metadata;
    let spec = service.spec.as_ref()?;
    let slices = slices.into_iter().filter(|slice| slice.address_type == "IPv4");
    let slices: Vec<_> = slices.collect();
    Some(ServicePlan {
        namespace: namespace.clone()?,
        name: name.clone()?,
        uid: uid.clone()?,
        ip: address(place, service).filter(|ip| !is_own(place, service, *ip))?,
        affinity: affinity(spec),
        ports: plan_ports(spec, &slices, local_only(spec).then_some(&place.nodes)),
    })
}

/// The virtual IP, if it is one in the range.
pub(crate) fn address(place: &Place, service: &Service) -> Option<Ipv4Addr> {
    virtual_ip(service.spec.as_ref()?, &place.service_cidr)
}

/// Where connections to a TCP port of a Service go, though it may have no virtual IP; nothing if there is no such port.
pub fn backends<'a>(
    place: &Place,
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    port: u16,
) -> Option<BTreeSet<SocketAddrV4>> {
    let spec = service.spec.as_ref()?;
    let slices = slices.into_iter().filter(|slice| slice.address_type == "IPv4");
    let ports =
        plan_ports(spec, &slices.collect::<Vec<_>>(), local_only(spec).then_some(&place.nodes));
    let port = ports.into_iter().find(|it| (it.port, it.protocol) == (port, Protocol::Tcp));
    port.map(|port| port.endpoints)
}

impl fmt::Display for ServicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

impl Protocol {
    /// The protocol by its name in a manifest; absent means TCP.
    pub fn named(name: Option<&str>) -> Option<Self> {
        match name.unwrap_or("TCP") {
            "TCP" => Some(Protocol::Tcp),
            "UDP" => Some(Protocol::Udp),
            _ => None,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// Namespace and name of a Service to its slices.
type Slices<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a EndpointSlice>>;

fn by_service<'a>(slices: impl IntoIterator<Item = &'a EndpointSlice>) -> Slices<'a> {
    let mut found = Slices::new();
    for slice in slices {
        if let Some(service) = owner(&slice.metadata) {
            found.entry(service).or_default().push(slice);
        }
    }
    found
}

fn slices_of<'a, 's>(slices: &'s Slices<'a>, service: &'a ObjectMeta) -> &'s [&'a EndpointSlice] {
    let name = service.namespace.as_deref().zip(service.name.as_deref());
    name.and_then(|name| slices.get(&name)).map_or(&[], Vec::as_slice)
}

/// Namespace and name of the Service of a slice.
pub(crate) fn owner(slice: &ObjectMeta) -> Option<(&str, &str)> {
    let name = slice.labels.as_ref()?.get(SERVICE_NAME_LABEL)?;
    Some((slice.namespace.as_deref()?, name))
}

/// The first IPv4 address among the cluster IPs that lies in the range. Headless Services ("None")
/// and ExternalName ones have none.
fn virtual_ip(spec: &ServiceSpec, range: &Ipv4Net) -> Option<Ipv4Addr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    let addresses = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    addresses.filter_map(|ip| ip.parse().ok()).find(|ip| range.contains(ip))
}

/// Whether the address is another server's: the cluster's DNS, or the router.
fn is_own(place: &Place, service: &Service, ip: Ipv4Addr) -> bool {
    let ObjectMeta { namespace, name, .. } = &service.metadata;
    let is_dns = (namespace.as_deref(), name.as_deref()) == (Some("kube-system"), Some("kube-dns"));
    is_router(service) || is_dns && place.cluster_dns == Some(ip)
}

fn local_only(spec: &ServiceSpec) -> bool {
    spec.internal_traffic_policy.as_deref() == Some("Local")
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let given = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = given.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
    Some(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

/// `nodes`: only endpoints on these count.
fn plan_ports(
    spec: &ServiceSpec,
    slices: &[&EndpointSlice],
    nodes: Option<&BTreeSet<String>>,
) -> Vec<PortPlan> {
    let mut ports = BTreeMap::new();
    for port in spec.ports.iter().flatten() {
        let Some((number, protocol)) = listening(port) else { continue };
        ports.entry((number, protocol)).or_insert_with(|| PortPlan {
            port: number,
            protocol,
            endpoints: endpoints_of(port, protocol, slices, nodes),
        });
    }
    ports.into_values().collect()
}

fn listening(port: &ServicePort) -> Option<(u16, Protocol)> {
    Some((port.port.try_into().ok()?, Protocol::named(port.protocol.as_deref())?))
}

/// Ready endpoints; while there are none, those that still serve although they are terminating, so
/// that the last pod of a rolling update does not drop its clients.
/// <https://kubernetes.io/docs/reference/networking/virtual-ips/#traffic-to-terminating-endpoints>
fn endpoints_of(
    port: &ServicePort,
    protocol: Protocol,
    slices: &[&EndpointSlice],
    nodes: Option<&BTreeSet<String>>,
) -> BTreeSet<SocketAddrV4> {
    let collect = |usable: fn(&Endpoint) -> bool| -> BTreeSet<_> {
        let here = |endpoint: &&Endpoint| {
            usable(endpoint) && nodes.is_none_or(|nodes| is_on(endpoint, nodes))
        };
        slices.iter().flat_map(|slice| sockets(slice, port, protocol, here)).collect()
    };
    let ready = collect(is_ready);
    if ready.is_empty() { collect(is_last_resort) } else { ready }
}

fn is_on(endpoint: &Endpoint, nodes: &BTreeSet<String>) -> bool {
    endpoint.node_name.as_ref().is_some_and(|node| nodes.contains(node))
}

/// Absent means ready.
fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true)
}

fn is_last_resort(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().is_some_and(|conditions| {
        conditions.serving == Some(true) && conditions.terminating == Some(true)
    })
}

/// Every address of the slice's chosen endpoints, with the number that the slice gives to `port`:
/// named target ports are resolved there, per slice.
fn sockets<'a>(
    slice: &'a EndpointSlice,
    port: &ServicePort,
    protocol: Protocol,
    chosen: impl Fn(&&Endpoint) -> bool + 'a,
) -> impl Iterator<Item = SocketAddrV4> + 'a {
    let number = slice.ports.iter().flatten().find_map(|given| target(given, port, protocol));
    let endpoints = slice.endpoints.iter().flatten().filter(chosen);
    // An endpoint's addresses are interchangeable; its first stands for it.
    let addresses = endpoints.filter_map(|endpoint| endpoint.addresses.first()?.parse().ok());
    addresses.filter_map(move |address| Some(SocketAddrV4::new(address, number?)))
}

/// The number behind `port` if `given` is its entry: same name (none is the empty one) and protocol.
fn target(given: &EndpointPort, port: &ServicePort, protocol: Protocol) -> Option<u16> {
    let same_name =
        given.name.as_deref().unwrap_or_default() == port.name.as_deref().unwrap_or_default();
    let same_protocol = Protocol::named(given.protocol.as_deref()) == Some(protocol);
    given.port.filter(|_| same_name && same_protocol)?.try_into().ok()
}

#[cfg(test)]
mod tests;
