//! What the router of DNS objects does on this node: a function from the API's objects to a [`RouterPlan`]. It knows
//! neither nginx nor Docker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{Ipv4Addr, SocketAddrV4},
};

use api_machinery::host_routes::{Route, hosts};
use api_types::{api::core::v1::Service, minik8s::Dns};

use kube::runtime::reflector::ObjectRef;

use crate::plan::{Place, address};

/// The router: its address, and where the paths of the hosts lead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterPlan {
    /// The uid of its Service.
    pub uid: String,
    /// The virtual IP.
    pub ip: Ipv4Addr,
    /// By host and prefix; the longest counts. What is beside them is not found.
    pub hosts: BTreeMap<String, BTreeMap<String, Target>>,
    /// Where connections to each target go; empty means that nobody answers.
    pub backends: BTreeMap<Target, BTreeSet<SocketAddrV4>>,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The number of the port.
    pub port: u16,
}

/// Nothing without an address. `router`: its Service. `backends`: where connections to a target go, if there is such a port.
pub fn plan_router<'a>(
    place: &Place,
    router: &Service,
    objects: impl IntoIterator<Item = &'a Dns>,
    backends: impl Fn(&Target) -> Option<BTreeSet<SocketAddrV4>>,
) -> Option<RouterPlan> {
    let hosts = hosts(objects).into_iter().map(|(host, shared)| {
        let targets = shared.routes.into_iter().filter_map(|(prefix, route)| {
            Some((prefix.to_owned(), target(shared.namespace, route)?))
        });
        (host.to_owned(), targets.collect::<BTreeMap<_, _>>())
    });
    let hosts: BTreeMap<_, _> = hosts.collect();
    let targets: BTreeSet<&Target> = hosts.values().flat_map(BTreeMap::values).collect();
    let backends = targets.into_iter().map(|it| (it.clone(), backends(it).unwrap_or_default()));
    Some(RouterPlan {
        uid: router.metadata.uid.clone()?,
        ip: address(place, router)?,
        backends: backends.collect(),
        hosts,
    })
}

fn target(namespace: &str, route: Route<'_>) -> Option<Target> {
    let port = route.service.port.try_into().ok()?;
    Some(Target { namespace: namespace.to_owned(), service: route.service.name.clone(), port })
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
