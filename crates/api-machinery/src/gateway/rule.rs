//! What a route's rules say: which requests they mean, and what becomes of these.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api_types::{
    api::core::v1::{Service, ServicePort},
    gateway::{GROUP, HttpBackendRef, HttpRoute, HttpRouteRule, ReferenceGrant},
};

use super::{
    filter::{Changes, Redirect},
    matching::{Match, PathMatch},
    pattern::Pattern,
};
use crate::duration;

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The requests that are meant.
    pub matches: Vec<Match>,
    /// What becomes of them.
    pub action: Action,
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It fails, as it is not known what would be right (500).
    Fail,
    /// The client is sent elsewhere.
    Redirect(Redirect, Changes),
    /// Somebody answers.
    Forward(Forward),
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// Of these, by their weights; none has the weight 0.
    pub shares: Vec<Share>,
    /// How long they may be silent.
    pub timeout: Option<Duration>,
}

/// A share of the requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    /// Of the sum of all.
    pub weight: u32,
    /// Who answers; without one, the request fails (500).
    pub backend: Option<Backend>,
    /// What is changed.
    pub changes: Changes,
}

/// A port of a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The port.
    pub port: u16,
}

/// What is amiss: a reason of the Gateway API's, and a message for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The reason.
    pub reason: &'static str,
    /// The message.
    pub message: String,
}

/// What is read off a route.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Those that are served.
    pub rules: Vec<Rule>,
    /// What can't be served.
    pub unsupported: Vec<String>,
    /// Whether there is anything that can.
    pub any_is_sound: bool,
    /// References that lead nowhere.
    pub unresolved: Vec<Problem>,
}

/// What references are resolved with.
pub struct References<'a> {
    /// A Service, by namespace and name.
    pub service: &'a dyn Fn(&str, &str) -> Option<Arc<Service>>,
    /// Who may refer to other namespaces' objects.
    pub grants: &'a [Arc<ReferenceGrant>],
}

impl std::fmt::Display for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}:{}", self.namespace, self.service, self.port)
    }
}

/// Who refers to something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Referrer<'a> {
    pub(super) kind: &'a str,
    pub(super) namespace: &'a str,
}

impl std::fmt::Debug for References<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("References").field("grants", &self.grants.len()).finish_non_exhaustive()
    }
}

/// How many regular expressions a route may have: a request may be looked at by all of them.
const MAX_PATTERNS: usize = 64;

/// Regular expressions of a route, with the names of the headers that they are for.
type Patterns = BTreeSet<(String, Pattern)>;

/// The request's time is that of all rules.
const REQUEST: Duration = Duration::from_secs(3600);

impl Rules {
    /// Reads a route.
    #[must_use]
    pub fn read(route: &HttpRoute, references: &References<'_>) -> Self {
        let namespace = route.metadata.namespace.as_deref().unwrap_or_default();
        let any_is_sound = route.spec.rules.is_empty();
        let mut rules = Rules { any_is_sound, ..Rules::default() };
        let mut patterns = Patterns::new();
        for (number, rule) in route.spec.rules.iter().enumerate() {
            let matches = rules.matches(number, rule, &mut patterns);
            if !matches.is_empty() {
                let action = rules.action(number, rule, &matches, namespace, references);
                rules.rules.push(Rule { matches, action });
            }
        }
        rules
    }

    /// Those that can be served. `patterns`: the regular expressions that the route has so far.
    fn matches(
        &mut self,
        number: usize,
        rule: &HttpRouteRule,
        patterns: &mut Patterns,
    ) -> Vec<Match> {
        let all = [Default::default()];
        let given = if rule.matches.is_empty() { &all[..] } else { &rule.matches[..] };
        let mut matches = Vec::new();
        for given in given {
            match Match::read(given).and_then(|it| counted(it, patterns)) {
                Ok(it) => matches.push(it),
                Err(why) => self.unsupported.push(format!("Dropped Rule: rules[{number}]: {why}")),
            }
        }
        matches
    }

    fn action(
        &mut self,
        number: usize,
        rule: &HttpRouteRule,
        matches: &[Match],
        namespace: &str,
        to: &References<'_>,
    ) -> Action {
        match read_action(rule, matches) {
            Ok(read) => {
                self.any_is_sound = true;
                self.resolve(number, read, namespace, to)
            }
            Err(why) => {
                self.unsupported.push(format!("rules[{number}]: {why}"));
                Action::Fail
            }
        }
    }

    /// What becomes of the requests, with what the references lead to.
    fn resolve(
        &mut self,
        number: usize,
        read: Read<'_>,
        namespace: &str,
        to: &References<'_>,
    ) -> Action {
        let (given, timeout) = match read {
            Read::Redirect(redirect, changes) => return Action::Redirect(redirect, changes),
            Read::Forward(given, timeout) => (given, timeout),
        };
        let mut shares = Vec::new();
        for (index, (reference, changes)) in given.into_iter().enumerate() {
            let backend = backend(reference, namespace, to);
            if let Err(Problem { reason, message }) = &backend {
                let message = format!("rules[{number}].backendRefs[{index}]: {message}");
                self.unresolved.push(Problem { reason, message });
            }
            let weight = u32::try_from(reference.weight.unwrap_or(1)).unwrap_or(0);
            if weight > 0 {
                shares.push(Share { weight, backend: backend.ok(), changes });
            }
        }
        if shares.is_empty() { Action::Fail } else { Action::Forward(Forward { shares, timeout }) }
    }
}

/// Unless its regular expressions would be too many.
fn counted(matched: Match, patterns: &mut Patterns) -> Result<Match, String> {
    let its = matched.patterns().map(|(name, pattern)| (name.to_owned(), pattern.clone()));
    let new: Vec<_> = its.filter(|it| !patterns.contains(it)).collect();
    if patterns.len() + new.len() > MAX_PATTERNS {
        return Err(format!("a route has at most {MAX_PATTERNS} regular expressions"));
    }
    patterns.extend(new);
    Ok(matched)
}

/// An action, before it is known where references lead.
enum Read<'a> {
    Redirect(Redirect, Changes),
    Forward(Vec<(&'a HttpBackendRef, Changes)>, Option<Duration>),
}

fn read_action<'a>(rule: &'a HttpRouteRule, matches: &[Match]) -> Result<Read<'a>, String> {
    if rule.retry.is_some() {
        return Err("retry is not served".to_owned());
    }
    if rule.session_persistence.is_some() {
        return Err("sessionPersistence is not served".to_owned());
    }
    let path = path_of_all(matches);
    let mut changes = Changes::default();
    if let Some(redirect) = changes.read(&rule.filters, path)? {
        return Ok(Read::Redirect(redirect, changes));
    }
    let timeout = timeout(rule)?;
    let mut backends = Vec::new();
    for reference in &rule.backend_refs {
        let mut changes = changes.clone();
        if changes.read(&reference.filters, path)?.is_some() {
            return Err("a backend is no place for a redirect".to_owned());
        }
        backends.push((reference, changes));
    }
    Ok(Read::Forward(backends, timeout))
}

/// The one path that is matched.
fn path_of_all(matches: &[Match]) -> Option<&PathMatch> {
    let (first, others) = matches.split_first()?;
    others.iter().all(|it| it.path == first.path).then_some(&first.path)
}

/// The shorter one counts; 0 is none.
fn timeout(rule: &HttpRouteRule) -> Result<Option<Duration>, String> {
    let given = rule.timeouts.iter().flat_map(|it| [&it.request, &it.backend_request]).flatten();
    let mut shortest: Option<Duration> = None;
    for text in given {
        let read = duration::parse(text).map_err(|error| format!("timeouts: {error}"))?;
        if !read.is_zero() {
            shortest = Some(shortest.map_or(read, |it| it.min(read)).min(REQUEST));
        }
    }
    Ok(shortest)
}

fn backend(
    reference: &HttpBackendRef,
    namespace: &str,
    to: &References<'_>,
) -> Result<Backend, Problem> {
    let problem = |reason, message| Err(Problem { reason, message });
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Service");
    if !group.is_empty() || kind != "Service" {
        return problem(
            "InvalidKind",
            format!("{kind} {:?}: only Services are served", reference.name),
        );
    }
    let other = reference.namespace.as_deref().unwrap_or(namespace);
    let name = reference.name.as_str();
    let referrer = Referrer { kind: "HTTPRoute", namespace };
    if !is_granted(to.grants, referrer, (group, kind), other, name) {
        let message =
            format!("no ReferenceGrant of namespace {other:?} lets it refer to service {name:?}");
        return problem("RefNotPermitted", message);
    }
    let missing = |message| problem("BackendNotFound", message);
    let Some(service) = (to.service)(other, name) else {
        return missing(format!("service {name:?} not found in namespace {other:?}"));
    };
    let spec = service.spec.as_ref();
    if spec.is_some_and(|spec| spec.type_.as_deref() == Some("ExternalName")) {
        return missing(format!("service {name:?} is an external name, without endpoints"));
    }
    let Some(port) = reference.port.and_then(|port| u16::try_from(port).ok()) else {
        return missing(format!("service {name:?}: a port is required"));
    };
    let mut ports = spec.into_iter().flat_map(|spec| spec.ports.iter().flatten());
    let is_tcp = |it: &ServicePort| it.protocol.as_deref().is_none_or(|it| it == "TCP");
    let Some(found) = ports.find(|it| it.port == i32::from(port) && is_tcp(it)) else {
        return missing(format!("service {name:?} has no TCP port {port}"));
    };
    match found.app_protocol.as_deref() {
        Some(other @ ("kubernetes.io/h2c" | "kubernetes.io/wss" | "https")) => {
            let message =
                format!("service {name:?}: its port {port} speaks {other}, which is not served");
            problem("UnsupportedProtocol", message)
        }
        _ => Ok(Backend { namespace: other.to_owned(), service: name.to_owned(), port }),
    }
}

/// Whether an object may refer to one of a namespace: its own, or one that has granted it.
pub(super) fn is_granted(
    grants: &[Arc<ReferenceGrant>],
    from: Referrer<'_>,
    (group, kind): (&str, &str),
    namespace: &str,
    name: &str,
) -> bool {
    let of_namespace =
        |grant: &&Arc<ReferenceGrant>| grant.metadata.namespace.as_deref() == Some(namespace);
    let lets = |grant: &Arc<ReferenceGrant>| {
        let is_from = grant.spec.from.iter().any(|it| {
            (it.group.as_str(), it.kind.as_str(), it.namespace.as_str())
                == (GROUP, from.kind, from.namespace)
        });
        let is_to = |it: &api_types::gateway::ReferenceGrantTo| {
            let group_of = if it.group == "core" { "" } else { it.group.as_str() };
            (group_of, it.kind.as_str()) == (group, kind)
                && it.name.as_deref().is_none_or(|it| it.is_empty() || it == name)
        };
        is_from && grant.spec.to.iter().any(is_to)
    };
    from.namespace == namespace || grants.iter().filter(of_namespace).any(lets)
}
