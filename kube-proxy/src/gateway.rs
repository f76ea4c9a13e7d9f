//! What a Gateway does on this node: a function from the API's objects to a [`GatewayPlan`]. It knows neither nginx nor
//! Docker.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use api_machinery::{
    gateway::{
        Action, Backend, Credentials, Match, Parent, References, hostname::ANY, listeners, sites,
    },
    host_routes::Secret,
};
use api_types::{
    api::core::v1::Service,
    gateway::{Gateway, HttpRoute, ReferenceGrant},
};

use crate::{
    nginx::http::Certificate,
    plan::{Place, addresses, reached_at},
};

/// A Gateway: its addresses, and what becomes of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPlan {
    /// The uid of its Service.
    pub uid: String,
    /// The namespace of both.
    pub namespace: String,
    /// The name of its Service.
    pub service: String,
    /// The virtual IPs; one at least.
    pub ips: BTreeSet<IpAddr>,
    /// Addresses of this host that lead to the Service, too.
    pub held: BTreeSet<IpAddr>,
    /// What becomes of requests.
    pub actions: Vec<Action>,
    /// Each host of each port. The first of a port takes what no other one names.
    pub sites: Vec<PlannedSite>,
    /// Where connections to each backend go; empty means that nobody answers.
    pub backends: BTreeMap<Backend, BTreeSet<SocketAddr>>,
}

/// The requests to a host that come to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedSite {
    /// The port.
    pub port: u16,
    /// The host.
    pub host: String,
    /// How it speaks.
    pub speaks: Speaks,
    /// The first that is meant counts; the number is that of an action.
    pub matches: Vec<(Match, usize)>,
}

/// How a host is spoken to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// Without TLS.
    Http,
    /// With it; without a certificate, nobody is let in.
    Https(Option<Certificate>),
}

/// What a plan is made with, beside the Gateway and its Service.
pub struct Means<'a> {
    /// Where it is made for.
    pub place: &'a Place,
    /// All routes.
    pub routes: &'a [Arc<HttpRoute>],
    /// All grants.
    pub grants: &'a [Arc<ReferenceGrant>],
    /// The labels of a namespace.
    pub labels: &'a dyn Fn(&str) -> Option<BTreeMap<String, String>>,
    /// A Service, by namespace and name.
    pub service: &'a dyn Fn(&str, &str) -> Option<Arc<Service>>,
    /// Where connections to a backend go, if there is such a port.
    pub backends: &'a dyn Fn(&Backend) -> Option<BTreeSet<SocketAddr>>,
    /// The certificate of a Secret, if it has one that can be used.
    pub certificate: &'a dyn Fn(Secret<'_>) -> Option<Certificate>,
}

impl fmt::Debug for Means<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("place", &self.place).finish_non_exhaustive()
    }
}

/// Nothing without an address.
pub fn plan_gateway(
    means: &Means<'_>,
    gateway: &Gateway,
    service: &Service,
) -> Option<GatewayPlan> {
    let fault = |secret: Secret<'_>| {
        (means.certificate)(secret).is_none().then(|| "it has no certificate".to_owned())
    };
    let listeners = listeners(gateway, &Credentials { fault: &fault, grants: means.grants });
    let parent = Parent { gateway, listeners: &listeners, labels: means.labels };
    let references = References { service: means.service, grants: means.grants };
    let found = sites(&parent, means.routes, &references);
    let planned = found.sites.into_iter().map(|site| PlannedSite {
        port: site.port,
        host: site.host,
        speaks: site.secret.map_or(Speaks::Http, |it| Speaks::Https((means.certificate)(it))),
        matches: site.matches,
    });
    let mut planned: Vec<_> = planned.collect();
    let defaults = defaults(&planned);
    planned.extend(defaults);
    planned.sort_by(|one, other| (one.port, &one.host).cmp(&(other.port, &other.host)));
    let ips = addresses(means.place, service);
    (!ips.is_empty()).then_some(())?;
    let backends = used(&found.actions);
    let backends =
        backends.into_iter().map(|it| (it.clone(), (means.backends)(it).unwrap_or_default()));
    Some(GatewayPlan {
        uid: service.metadata.uid.clone()?,
        namespace: service.metadata.namespace.clone()?,
        service: service.metadata.name.clone()?,
        ips,
        held: reached_at(means.place, service),
        backends: backends.collect(),
        sites: planned,
        actions: found.actions,
    })
}

/// Where no listener is for all hosts, others are not found; with TLS there is nothing that would be theirs.
fn defaults(sites: &[PlannedSite]) -> Vec<PlannedSite> {
    let mut defaults = BTreeMap::new();
    for site in sites {
        let speaks = match &site.speaks {
            Speaks::Http => Speaks::Http,
            Speaks::Https(_) => Speaks::Https(None),
        };
        let host = ANY.to_owned();
        let default = PlannedSite { port: site.port, host, speaks, matches: Vec::new() };
        defaults.entry(site.port).or_insert(default);
    }
    for site in sites.iter().filter(|site| site.host == ANY) {
        defaults.remove(&site.port);
    }
    defaults.into_values().collect()
}

fn used(actions: &[Action]) -> BTreeSet<&Backend> {
    let forwards = actions.iter().filter_map(|action| match action {
        Action::Forward(forward) => Some(forward),
        Action::Fail | Action::Redirect(..) => None,
    });
    forwards.flat_map(|it| &it.shares).filter_map(|share| share.backend.as_ref()).collect()
}
