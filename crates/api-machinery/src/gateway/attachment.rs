//! Which routes attach to which listeners, and for which hosts.

use std::{collections::BTreeMap, fmt};

use api_types::gateway::{GROUP, Gateway, HttpRoute, ParentReference};

use super::{
    hostname::{ANY, both},
    listener::JudgedListener,
    rule::Problem,
};

/// Labels of a namespace, by name.
pub type Labels<'a> = &'a dyn Fn(&str) -> Option<BTreeMap<String, String>>;

/// A Gateway to which routes may attach.
pub struct Parent<'a> {
    /// The Gateway.
    pub gateway: &'a Gateway,
    /// Its listeners.
    pub listeners: &'a [JudgedListener<'a>],
    /// The labels of namespaces.
    pub labels: Labels<'a>,
}

/// What a route has of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment<'a> {
    /// The listener's place among those of the Gateway.
    pub listener: usize,
    /// The hosts that both have; one at least.
    pub hosts: Vec<&'a str>,
}

impl fmt::Debug for Parent<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parent").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// Whether a route refers to this Gateway there.
#[must_use]
pub fn is_meant(reference: &ParentReference, route: &HttpRoute, gateway: &Gateway) -> bool {
    let group = reference.group.as_deref().unwrap_or(GROUP);
    let kind = reference.kind.as_deref().unwrap_or("Gateway");
    let namespace = reference.namespace.as_deref().or(route.metadata.namespace.as_deref());
    (group, kind) == (GROUP, "Gateway")
        && Some(reference.name.as_str()) == gateway.metadata.name.as_deref()
        && namespace == gateway.metadata.namespace.as_deref()
}

/// What a route has of a Gateway by a reference that means it.
///
/// # Errors
///
/// Why it has nothing.
pub fn attach<'a>(
    route: &'a HttpRoute,
    reference: &ParentReference,
    parent: &Parent<'a>,
) -> Result<Vec<Attachment<'a>>, Problem> {
    let problem = |reason, message: &str| Problem { reason, message: message.to_owned() };
    let is_named = |it: &JudgedListener<'_>| {
        let name = reference.section_name.as_ref().is_none_or(|name| *name == it.listener.name);
        name && reference.port.is_none_or(|port| port == it.listener.port)
    };
    let mut meant: Vec<_> =
        parent.listeners.iter().enumerate().filter(|(_, it)| is_named(it)).collect();
    if meant.is_empty() {
        return Err(problem("NoMatchingParent", "the Gateway has no such listener"));
    }
    let namespace = |it: &Option<String>| it.clone().unwrap_or_default();
    let (of_gateway, of_route) =
        (namespace(&parent.gateway.metadata.namespace), namespace(&route.metadata.namespace));
    meant.retain(|(_, it)| {
        it.takes_routes()
            && !it.kinds.is_empty()
            && it.lets_in(&of_gateway, &of_route, parent.labels)
    });
    if meant.is_empty() {
        let message = "no listener of the Gateway lets HTTPRoutes of this namespace in";
        return Err(problem("NotAllowedByListeners", message));
    }
    let all =
        meant.into_iter().map(|(listener, it)| Attachment { listener, hosts: hosts(route, it) });
    let all: Vec<_> = all.filter(|it| !it.hosts.is_empty()).collect();
    if all.is_empty() {
        let message = "no listener of the Gateway has one of the route's hosts";
        return Err(problem("NoMatchingListenerHostname", message));
    }
    Ok(all)
}

fn hosts<'a>(route: &'a HttpRoute, listener: &JudgedListener<'a>) -> Vec<&'a str> {
    let of_listener = listener.listener.hostname.as_deref().unwrap_or(ANY);
    if route.spec.hostnames.is_empty() {
        return vec![of_listener];
    }
    let hosts = route.spec.hostnames.iter().filter_map(|host| both(of_listener, host));
    let mut hosts: Vec<_> = hosts.collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}
