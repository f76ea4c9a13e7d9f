//! What each Service should look like on this node: a function from the API's objects to
//! [`ServicePlan`]s. It knows neither nginx nor Docker.

mod endpoints;
mod outside;
mod place;
mod protocol;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use api_machinery::{gateway::is_of_gateway, host_routes::is_router};
use api_types::{
    api::{
        core::v1::{Service, ServicePort, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    meta::ObjectMeta,
};
use component::dual_stack::DualStack;
use ipnet::IpNet;

use self::endpoints::Offered;
pub use self::{
    outside::{HealthCheck, Outside},
    place::Place,
    protocol::Protocol,
};

/// The label by which an EndpointSlice names the Service that it belongs to.
const SERVICE_NAME_LABEL: &str = "kubernetes.io/service-name";
/// Kubernetes' default for how long a client may be away.
const AFFINITY_SECONDS: i32 = 10_800;
const BALANCING_ANNOTATION: &str = "minik8s.io/load-balancing";

/// One Service on this node: the address to hold and where each port leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePlan {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub name: String,
    /// The Service's uid. A Service made anew under an old name is another one.
    pub uid: String,
    /// The virtual IPs, one of each family that it has. Connections to one are led to endpoints of its family.
    pub ips: BTreeSet<IpAddr>,
    /// `sessionAffinity: ClientIP`: a client stays with one endpoint, until it has been away for so
    /// long.
    pub affinity: Option<Duration>,
    /// Which endpoint takes a connection, without affinity.
    pub balancing: Balancing,
    /// The networks of those clients whose addresses endpoints are to see; that is not the Service's matter.
    pub kept: BTreeSet<IpNet>,
    /// How it is reached beside its virtual IP.
    pub outside: Outside,
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
    /// Where connections to the virtual IPs go; empty means that they are refused. Those to an address are led to those of
    /// its family.
    pub endpoints: BTreeSet<SocketAddr>,
    /// The same port at [`Outside::node_addresses`].
    pub node_port: Option<u16>,
    /// Where connections go that come by whatever [`Outside`] names; empty means that they are refused, or that there is
    /// no such way.
    pub outside_endpoints: BTreeSet<SocketAddr>,
}

/// Where a port of a Service leads on whatever host: what traffic policies and hints keep apart, together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Anywhere {
    /// The endpoints that some host may choose.
    pub usable: BTreeSet<SocketAddr>,
    /// All: those too that may become such.
    pub all: BTreeSet<SocketAddr>,
}

/// Which endpoint takes a connection: the annotation `minik8s.io/load-balancing`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balancing {
    /// `round-robin`: each in turn.
    #[default]
    RoundRobin,
    /// `random`.
    Random,
    /// `least-connections`: the one that has the fewest.
    LeastConnections,
}

/// The plans of all Services that have a virtual IP in one of the ranges, by namespace and name.
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

/// The plan of one Service, of which these are the slices; nothing if it has no virtual IP in one of the ranges.
pub fn plan_service<'a>(
    place: &Place,
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Option<ServicePlan> {
    let ObjectMeta { namespace, name, uid, .. } = &service.metadata;
    let spec = service.spec.as_ref()?;
    let ips = addresses(place, service);
    let is_served = !ips.is_empty() && !ips.iter().any(|ip| is_own(place, service, *ip));
    is_served.then_some(())?;
    let slices = by_family(slices, |ip| place::has_family(&ips, ip));
    Some(ServicePlan {
        namespace: namespace.clone()?,
        name: name.clone()?,
        uid: uid.clone()?,
        affinity: affinity(spec),
        balancing: balancing(&service.metadata),
        kept: BTreeSet::new(),
        outside: Outside::plan(place, service, &ips, &slices),
        ports: plan_ports(place, spec, &slices),
        ips,
    })
}

/// Where each port of a Service leads, of which these are the slices, whatever host it is.
pub fn anywhere<'a>(
    place: &Place,
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> BTreeMap<(u16, Protocol), Anywhere> {
    let slices = by_family(slices, |ip| place.service_cidr.has_family_of(ip)).concat();
    let mut ports = BTreeMap::new();
    for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
        let Some((number, protocol)) = listening(port) else { continue };
        let offered = Offered { place, port, protocol, slices: &slices };
        let found = || Anywhere { usable: offered.on_any_host(), all: offered.all() };
        ports.entry((number, protocol)).or_insert_with(found);
    }
    ports
}

/// The first of the virtual IPs, the one of IPv4 if there is one.
fn address(place: &Place, service: &Service) -> Option<IpAddr> {
    addresses(place, service).into_iter().next()
}

/// The virtual IPs in the ranges: at most one of each.
pub(crate) fn addresses(place: &Place, service: &Service) -> BTreeSet<IpAddr> {
    let spec = service.spec.as_ref();
    spec.map(|spec| virtual_ips(spec, &place.service_cidr)).unwrap_or_default()
}

/// Those of IPv4 and those of IPv6, as far as the family counts: which of the endpoints take connections is decided for
/// each by itself.
fn by_family<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    counts: impl Fn(IpAddr) -> bool,
) -> [Vec<&'a EndpointSlice>; 2] {
    let families = [("IPv4", Ipv4Addr::UNSPECIFIED.into()), ("IPv6", Ipv6Addr::UNSPECIFIED.into())];
    let all: Vec<_> = slices.into_iter().collect();
    families.map(|(family, like)| {
        let own = all.iter().copied().filter(|slice| slice.address_type == family && counts(like));
        own.collect()
    })
}

/// The addresses beside its virtual IP that this host has of a Service.
pub(crate) fn reached_at(place: &Place, service: &Service) -> BTreeSet<IpAddr> {
    Outside::plan(place, service, &addresses(place, service), &[]).held
}

/// The addresses beside its virtual IPs that lead to a Service, whichever hosts have them, and whoever serves it there.
pub(crate) fn led_to(place: &Place, service: &Service) -> BTreeSet<IpAddr> {
    let Outside { external_ips, balancer_ips, .. } =
        Outside::plan(place, service, &addresses(place, service), &[]);
    external_ips.into_iter().chain(balancer_ips).collect()
}

/// A port of a Service, as others name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PortRef {
    /// By its number.
    Number(u16),
    /// By its name.
    Name(String),
}

/// Where connections to a TCP port of a Service go; nothing if there is no such port. That is its virtual IP, so that
/// whoever leads there need not follow endpoints as they come and go; without one, its endpoints, as with session affinity:
/// whoever leads there is one client, and all of his would be with one endpoint.
pub fn backends<'a>(
    place: &Place,
    service: &Service,
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
    port: &PortRef,
) -> Option<BTreeSet<SocketAddr>> {
    // It would lead to itself.
    let spec = service.spec.as_ref().filter(|_| !is_led_on(service))?;
    let is_meant = |given: &&ServicePort| {
        let is_it = match port {
            PortRef::Number(number) => given.port == i32::from(*number),
            PortRef::Name(name) => given.name.as_ref() == Some(name),
        };
        is_it && Protocol::named(given.protocol.as_deref()) == Some(Protocol::Tcp)
    };
    let given = spec.ports.iter().flatten().find(is_meant)?;
    if let Some(ip) = address(place, service).filter(|_| affinity(spec).is_none()) {
        return Some([SocketAddr::new(ip, given.port.try_into().ok()?)].into());
    }
    let slices = by_family(slices, |ip| place.service_cidr.has_family_of(ip));
    let number: u16 = given.port.try_into().ok()?;
    let ports = plan_ports(place, spec, &slices).into_iter();
    let mut ports = ports.filter(|it| (it.port, it.protocol) == (number, Protocol::Tcp));
    ports.next().map(|port| of_one_family(port.endpoints))
}

/// Each pod once: those of IPv4, if there are any.
fn of_one_family(endpoints: BTreeSet<SocketAddr>) -> BTreeSet<SocketAddr> {
    let v4: BTreeSet<_> = endpoints.iter().copied().filter(SocketAddr::is_ipv4).collect();
    if v4.is_empty() { endpoints } else { v4 }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PortRef::Number(number) => number.fmt(f),
            PortRef::Name(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for ServicePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
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

/// Of each family the first address among the cluster IPs that lies in its range. Headless Services ("None")
/// and ExternalName ones have none.
fn virtual_ips(spec: &ServiceSpec, ranges: &DualStack) -> BTreeSet<IpAddr> {
    if spec.type_.as_deref() == Some("ExternalName") {
        return BTreeSet::new();
    }
    let addresses = spec.cluster_ip.iter().chain(spec.cluster_ips.iter().flatten());
    let in_range = addresses.filter_map(|ip| ip.parse().ok()).filter(|ip| ranges.contains(*ip));
    let in_range: Vec<IpAddr> = in_range.collect();
    let of = |is_family: fn(&IpAddr) -> bool| in_range.iter().copied().find(is_family);
    [of(IpAddr::is_ipv4), of(IpAddr::is_ipv6)].into_iter().flatten().collect()
}

/// Whether it is there for what leads to other Services.
fn is_led_on(service: &Service) -> bool {
    is_router(service) || is_of_gateway(service)
}

/// Whether the address is another server's: the cluster's DNS, the router, or a Gateway's.
fn is_own(place: &Place, service: &Service, ip: IpAddr) -> bool {
    let ObjectMeta { namespace, name, .. } = &service.metadata;
    let is_dns = (namespace.as_deref(), name.as_deref()) == (Some("kube-system"), Some("kube-dns"));
    is_led_on(service) || is_dns && place.cluster_dns == Some(ip)
}

/// A word that is none of these is no reason to serve nobody.
fn balancing(service: &ObjectMeta) -> Balancing {
    let annotation = service.annotations.as_ref().and_then(|all| all.get(BALANCING_ANNOTATION));
    match annotation.map(String::as_str) {
        Some("random") => Balancing::Random,
        Some("least-connections") => Balancing::LeastConnections,
        _ => Balancing::RoundRobin,
    }
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let given = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = given.and_then(|client_ip| client_ip.timeout_seconds).unwrap_or(AFFINITY_SECONDS);
    Some(Duration::from_secs(seconds.try_into().unwrap_or(0)))
}

/// `slices`: by family.
fn plan_ports(place: &Place, spec: &ServiceSpec, slices: &[Vec<&EndpointSlice>]) -> Vec<PortPlan> {
    let mut ports = BTreeMap::new();
    for port in spec.ports.iter().flatten() {
        let Some((number, protocol)) = listening(port) else { continue };
        ports.entry((number, protocol)).or_insert_with(|| {
            let offers = || slices.iter().map(|slices| Offered { place, port, protocol, slices });
            let policy = spec.internal_traffic_policy.as_deref();
            PortPlan {
                port: number,
                protocol,
                endpoints: offers().flat_map(|offered| offered.under(policy)).collect(),
                node_port: outside::node_port(spec, port),
                outside_endpoints: offers()
                    .flat_map(|offered| outside::endpoints(spec, &offered))
                    .collect(),
            }
        });
    }
    ports.into_values().collect()
}

fn listening(port: &ServicePort) -> Option<(u16, Protocol)> {
    Some((port.port.try_into().ok()?, Protocol::named(port.protocol.as_deref())?))
}

#[cfg(test)]
mod tests;
