//! What the router of DNS objects and Ingresses does on this node: a function from the API's objects to a [`RouterPlan`].
//! It knows neither nginx nor Docker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
};

use api_machinery::host_routes::{
    ANY_HOST, Claim, HostRoutes, Kind, Path, Port, Route, Secret, hosts,
};
use api_types::api::core::v1::Service;
use kube::runtime::reflector::ObjectRef;

use crate::{
    nginx::http::Certificate,
    plan::{Place, PortRef, addresses},
};

/// The router: its addresses, and where the paths of the hosts lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterPlan {
    /// The uid of its Service.
    pub uid: String,
    /// The virtual IPs; one at least.
    pub ips: BTreeSet<IpAddr>,
    /// This host's own addresses at which Ingresses are served, too.
    pub host_addresses: BTreeSet<IpAddr>,
    /// By name; [`ANY_HOST`] is all others. What is not there is not found.
    pub hosts: BTreeMap<String, HostPlan>,
    /// Where connections to each target go; empty means that nobody answers.
    pub backends: BTreeMap<Target, BTreeSet<SocketAddr>>,
    /// Of hosts that no Ingress names.
    pub certificate: Certificate,
}

/// What is below a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPlan {
    /// The longest path counts.
    pub paths: BTreeMap<HostPath, Onward>,
    /// What it proves itself with, if it is to be reached with TLS.
    pub tls: Option<Certificate>,
}

/// Which requests below a host are meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostPath {
    /// Those for this path.
    Exact(String),
    /// Those for this path and all below it; without a slash at the end.
    Prefix(String),
}

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Onward {
    /// Without one, nobody answers.
    pub target: Option<Target>,
    /// Of what kind the object is that leads there.
    pub kind: Kind,
    /// Whether who comes without TLS is sent to come again with it.
    pub secure: bool,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The port.
    pub port: PortRef,
}

/// What the plan is made with, beside the objects that name hosts.
pub struct Means<'a> {
    /// Where it is made for.
    pub place: &'a Place,
    /// Addresses of this host at which Ingresses are to be served.
    pub host_addresses: BTreeSet<IpAddr>,
    /// Where connections to a target go, if there is such a port.
    pub backends: &'a dyn Fn(&Target) -> Option<BTreeSet<SocketAddr>>,
    /// The certificate of a Secret, if it has one that can be used.
    pub certificate: &'a dyn Fn(Secret<'_>) -> Option<Certificate>,
    /// What stands in for one that can't be.
    pub self_made: &'a Certificate,
}

impl fmt::Debug for Means<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Nothing without an address. `router`: its Service.
pub fn plan_router<'a>(
    means: &Means<'_>,
    router: &Service,
    claims: impl IntoIterator<Item = Claim<'a>>,
) -> Option<RouterPlan> {
    let plan = |(host, routes): (&str, HostRoutes<'_>)| {
        (host.to_owned(), HostPlan { tls: certificate(means, &routes), paths: paths(&routes) })
    };
    let hosts: BTreeMap<_, _> = hosts(claims).into_iter().map(plan).collect();
    let ways = hosts.values().flat_map(|host| host.paths.values());
    let targets: BTreeSet<&Target> = ways.filter_map(|way| way.target.as_ref()).collect();
    let backends =
        targets.into_iter().map(|it| (it.clone(), (means.backends)(it).unwrap_or_default()));
    let of_others = hosts.get(ANY_HOST).and_then(|host| host.tls.clone());
    let ips = addresses(means.place, router);
    (!ips.is_empty()).then_some(())?;
    Some(RouterPlan {
        uid: router.metadata.uid.clone()?,
        ips,
        host_addresses: means.host_addresses.clone(),
        backends: backends.collect(),
        certificate: of_others.unwrap_or_else(|| means.self_made.clone()),
        hosts,
    })
}

fn certificate(means: &Means<'_>, routes: &HostRoutes<'_>) -> Option<Certificate> {
    let found = routes.tls?.and_then(means.certificate);
    Some(found.unwrap_or_else(|| means.self_made.clone()))
}

/// What no other path is for goes where requests for all paths go.
fn paths(routes: &HostRoutes<'_>) -> BTreeMap<HostPath, Onward> {
    let path = |path: &Path<'_>| match path {
        Path::Exact(path) => HostPath::Exact((*path).to_owned()),
        Path::Prefix(path) => HostPath::Prefix((*path).to_owned()),
    };
    let mut paths: BTreeMap<_, _> =
        routes.routes.iter().map(|(it, route)| (path(it), onward(route))).collect();
    if let Some(default) = &routes.default {
        paths.entry(HostPath::Prefix(String::new())).or_insert_with(|| onward(default));
    }
    paths
}

fn onward(route: &Route<'_>) -> Onward {
    let target = route.service.and_then(|service| {
        let port = match service.port {
            Port::Number(number) => PortRef::Number(number.try_into().ok()?),
            Port::Name(name) => PortRef::Name(name.to_owned()),
        };
        let namespace = route.holder.namespace.to_owned();
        Some(Target { namespace, service: service.name.to_owned(), port })
    });
    Onward { target, kind: route.holder.kind, secure: route.redirects }
}

impl Target {
    /// Its Service.
    pub(crate) fn service(&self) -> ObjectRef<Service> {
        ObjectRef::new(&self.service).within(&self.namespace)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}
