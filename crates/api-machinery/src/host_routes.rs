//! How DNS objects and Ingresses share hosts: a function from all of them, for who tells of it (the controllers) and who
//! serves it (kube-proxy) alike.
//!
//! Guarantees: it does not matter in which order the objects come; each path of a host is one object's; what an object
//! holds is taken from it by no younger one of its kind; what DNS objects hold, by no Ingress, as more people may write
//! these; a host that has a name is served for one namespace alone, so that nobody can put a path under a host of others.
//! Paths of all other hosts, which Ingresses alone may have, are anybody's.
//!
//! Assumption: an object's host stays what it was created with, as the registry has it with DNS objects. An old Ingress
//! that comes to name another host takes it from younger ones.

mod claim;

use std::collections::{BTreeMap, btree_map::Entry};

use api_types::api::core::v1::Service;

use claim::names;
pub use claim::{
    ANY_HOST, Claim, Holder, INGRESS_CONTROLLER, Kind, MAX_RULES, Path, Port, Route, Secret,
    ServicePort, class_of, is_served, prefix,
};

/// What leads where below one host.
#[derive(Clone, Debug, PartialEq)]
pub struct HostRoutes<'a> {
    /// Whose host it is: the namespace of the oldest DNS object that names it, or else of the oldest Ingress. Of
    /// [`ANY_HOST`], nobody's.
    pub namespace: Option<&'a str>,
    /// The longest path counts.
    pub routes: BTreeMap<Path<'a>, Route<'a>>,
    /// Where everything else goes.
    pub default: Option<Route<'a>>,
    /// The Secret with its certificate, if it is to be reached with TLS; `None` of one that is not named.
    pub tls: Option<Option<Secret<'a>>>,
}

/// Why an object does not have what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'a> {
    /// The host is another namespace's.
    Host,
    /// The path is that of this object.
    Path(Holder<'a>),
}

/// All hosts that objects name.
#[must_use]
pub fn hosts<'a>(claims: impl IntoIterator<Item = Claim<'a>>) -> BTreeMap<&'a str, HostRoutes<'a>> {
    let mut claims: Vec<_> = claims.into_iter().collect();
    claims.sort_by_key(|claim| (claim.holder.kind, claim.created, claim.holder));
    let mut hosts = BTreeMap::new();
    for claim in &claims {
        for host in &claim.hosts {
            own(&mut hosts, claim, host);
        }
        for (host, path, route) in &claim.paths {
            add(&mut hosts, claim, host, *path, *route);
        }
        if let Some(route) = claim.default {
            let all = claim.hosts.iter().copied().chain([ANY_HOST]);
            all.for_each(|host| add_default(&mut hosts, claim, host, route));
        }
    }
    claims.iter().for_each(|claim| add_tls(&mut hosts, claim));
    hosts
}

type Hosts<'a> = BTreeMap<&'a str, HostRoutes<'a>>;

/// The host, unless it is another namespace's.
fn own<'h, 'a>(
    hosts: &'h mut Hosts<'a>,
    claim: &Claim<'a>,
    host: &'a str,
) -> Option<&'h mut HostRoutes<'a>> {
    let namespace = (host != ANY_HOST).then_some(claim.holder.namespace);
    let new = || HostRoutes { namespace, routes: BTreeMap::new(), default: None, tls: None };
    Some(hosts.entry(host).or_insert_with(new)).filter(|it| it.namespace == namespace)
}

fn add<'a>(
    hosts: &mut Hosts<'a>,
    claim: &Claim<'a>,
    host: &'a str,
    path: Path<'a>,
    route: Route<'a>,
) {
    let routes = own(hosts, claim, host).map(|host| host.routes.entry(path));
    if let Some(Entry::Vacant(free)) = routes {
        free.insert(route);
    }
}

fn add_default<'a>(hosts: &mut Hosts<'a>, claim: &Claim<'a>, host: &'a str, route: Route<'a>) {
    if let Some(host) = own(hosts, claim, host) {
        host.default.get_or_insert(route);
    }
}

/// Of the hosts that it names, and of all others if it has a default for these.
fn add_tls<'a>(hosts: &mut Hosts<'a>, claim: &Claim<'a>) {
    let secrets = claim.secrets();
    let others = claim.default.map(|_| ANY_HOST);
    for host in claim.hosts.iter().copied().chain(others) {
        let Some(secret) = secrets.of(host) else { continue };
        if let Some(routes) = own(hosts, claim, host) {
            routes.tls.get_or_insert(secret);
        }
    }
}

impl HostRoutes<'_> {
    /// Why the object does not hold this path, if it does not.
    #[must_use]
    pub fn taken(&self, object: Holder<'_>, path: Path<'_>) -> Option<Taken<'_>> {
        if self.namespace.is_some_and(|namespace| namespace != object.namespace) {
            return Some(Taken::Host);
        }
        let holder = self.routes.get(&path).map(|route| route.holder);
        holder.filter(|holder| *holder != object).map(Taken::Path)
    }
}

/// How many bytes a path may have: web servers have limits of their own, and one path is in the configuration of all.
pub const MAX_PATH: usize = 255;

/// What the host names of DNS objects lead to: the Service whose address their router has on every node.
pub const ROUTER: (&str, &str) = ("kube-system", "dns-router");

/// The label that tells the router from a Service of somebody's that has its name.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "minik8s");

/// On a node at whose own addresses Ingresses are served.
pub const HOST_PORTS_ANNOTATION: &str = "minik8s.io/ingress-host-ports";

/// The class of Ingresses that is there from the beginning.
pub const INGRESS_CLASS: &str = "minik8s";

/// Whether it is the router's, and not somebody's of that name.
#[must_use]
pub fn is_router(service: &Service) -> bool {
    let labels = service.metadata.labels.as_ref();
    let managed = labels.and_then(|labels| labels.get(MANAGED_BY.0));
    names(&service.metadata) == ROUTER && managed.is_some_and(|by| by == MANAGED_BY.1)
}

#[cfg(test)]
mod tests;
