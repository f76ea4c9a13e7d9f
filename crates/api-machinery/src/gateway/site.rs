//! What a Gateway serves: by port and host, which requests are meant, in the order in which they are looked at. For who
//! serves it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use api_types::{gateway::HttpRoute, meta::Time};

use super::{
    attachment::{Parent, attach, is_meant},
    hostname::{covers, specificity},
    matching::{Match, Precedence},
    rule::{Action, References, Rules},
};
use crate::host_routes::Secret;

/// What a Gateway serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sites<'a> {
    /// What becomes of requests; rules have their places here.
    pub actions: Vec<Action>,
    /// Each host of each port.
    pub sites: Vec<Site<'a>>,
}

/// The requests to a host that come to a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Site<'a> {
    /// The port.
    pub port: u16,
    /// The host, perhaps with `*` as its first label, or [`super::hostname::ANY`]; what another site names more closely
    /// is that one's.
    pub host: String,
    /// The Secret with the certificate, if it is for TLS.
    pub secret: Option<Secret<'a>>,
    /// The first that is meant counts; others are not found. The number is that of an action.
    pub matches: Vec<(Match, usize)>,
}

/// A route that has something of a listener.
struct Attached<'a> {
    route: &'a HttpRoute,
    hosts: Vec<&'a str>,
    /// The places of its rules' actions.
    actions: std::ops::Range<usize>,
    rules: Arc<Rules>,
}

/// What a Gateway serves of these routes.
#[must_use]
pub fn sites<'a>(
    parent: &Parent<'a>,
    routes: &'a [Arc<HttpRoute>],
    references: &References<'_>,
) -> Sites<'a> {
    let (mut actions, mut attached) = (Vec::new(), BTreeMap::<usize, Vec<Attached<'_>>>::new());
    for route in routes {
        let hosts = hosts_by_listener(route, parent);
        if hosts.is_empty() {
            continue;
        }
        let rules = Arc::new(Rules::read(route, references));
        // Of one that can't be served, requests fail.
        if rules.rules.is_empty() {
            continue;
        }
        let first = actions.len();
        actions.extend(rules.rules.iter().map(|rule| rule.action.clone()));
        for (listener, hosts) in hosts {
            let (rules, actions) = (rules.clone(), first..actions.len());
            let hosts = hosts.into_iter().collect();
            attached.entry(listener).or_default().push(Attached { route, hosts, actions, rules });
        }
    }
    Sites { actions, sites: of_ports(parent, &attached) }
}

/// By whichever of its references.
fn hosts_by_listener<'a>(
    route: &'a HttpRoute,
    parent: &Parent<'a>,
) -> BTreeMap<usize, BTreeSet<&'a str>> {
    let references = route.spec.parent_refs.iter();
    let ours = references.filter(|it| is_meant(it, route, parent.gateway));
    let mut hosts = BTreeMap::<usize, BTreeSet<_>>::new();
    for attachment in ours.filter_map(|it| attach(route, it, parent).ok()).flatten() {
        hosts.entry(attachment.listener).or_default().extend(attachment.hosts);
    }
    hosts
}

fn of_ports<'a>(
    parent: &Parent<'a>,
    attached: &BTreeMap<usize, Vec<Attached<'a>>>,
) -> Vec<Site<'a>> {
    let listeners = || parent.listeners.iter().enumerate().filter(|(_, it)| it.is_served());
    let ports: BTreeSet<_> = listeners().map(|(_, it)| it.listener.port).collect();
    let mut sites = Vec::new();
    for port in ports {
        let here = || listeners().filter(|(_, it)| it.listener.port == port);
        let of_routes = |index: usize| {
            attached.get(&index).into_iter().flatten().flat_map(|it| it.hosts.iter().copied())
        };
        let mut hosts: BTreeSet<&str> = here().map(|(_, it)| it.host()).collect();
        hosts.extend(here().flat_map(|(index, _)| of_routes(index)));
        for host in hosts {
            // A request belongs to one listener: the one that names its host most closely.
            let covering = here().filter(|(_, it)| covers(it.host(), host));
            let Some((index, listener)) = covering.max_by_key(|(_, it)| specificity(it.host()))
            else {
                continue;
            };
            let routes = attached.get(&index).map_or(&[][..], Vec::as_slice);
            sites.push(Site {
                port: port.try_into().unwrap_or_default(),
                host: host.to_owned(),
                secret: listener.secret,
                matches: matches(host, routes),
            });
        }
    }
    sites
}

/// What comes first where several mean a request: who names the host most closely, then the match, then the older route,
/// then its name, then the earlier rule.
type Order<'a> =
    (Reverse<(bool, usize)>, Precedence, Option<&'a Time>, &'a str, &'a str, usize, usize);

fn matches(host: &str, routes: &[Attached<'_>]) -> Vec<(Match, usize)> {
    let mut ordered: Vec<(Order<'_>, &Match, usize)> = Vec::new();
    for attached in routes {
        let covering = attached.hosts.iter().filter(|it| covers(it, host));
        let Some(closest) = covering.map(|it| specificity(it)).max() else { continue };
        let metadata = &attached.route.metadata;
        for (number, rule) in attached.rules.rules.iter().enumerate() {
            for (place, matched) in rule.matches.iter().enumerate() {
                let order = (
                    Reverse(closest),
                    matched.precedence(),
                    metadata.creation_timestamp.as_ref(),
                    metadata.namespace.as_deref().unwrap_or_default(),
                    metadata.name.as_deref().unwrap_or_default(),
                    number,
                    place,
                );
                ordered.push((order, matched, attached.actions.start + number));
            }
        }
    }
    ordered.sort_by_key(|(order, ..)| *order);
    ordered.into_iter().map(|(_, matched, action)| (matched.clone(), action)).collect()
}
