//! What becomes of a Gateway's listeners, each beside the others.

use std::{collections::BTreeMap, sync::Arc};

use api_types::{
    gateway::{GROUP, Gateway, Listener, ReferenceGrant, RouteGroupKind, SecretObjectReference},
    meta::LabelSelector as GivenSelector,
};

use super::{
    hostname::ANY,
    rule::{Problem, Referrer, is_granted},
};
use crate::{LabelSelector, host_routes::Secret};

/// A listener, and what is said of it.
#[derive(Debug)]
pub struct JudgedListener<'a> {
    /// The listener.
    pub listener: &'a Listener,
    /// Why it is not accepted.
    pub refused: Option<Problem>,
    /// Why another one of the Gateway excludes it.
    pub conflict: Option<Problem>,
    /// What of its references leads nowhere.
    pub unresolved: Option<Problem>,
    /// The Secret with its certificate, if it is for TLS and has one.
    pub secret: Option<Secret<'a>>,
    /// The kinds of routes that may attach.
    pub kinds: Vec<RouteGroupKind>,
}

/// What listeners are judged with.
pub struct Credentials<'a> {
    /// Why the certificate of a Secret can't be used, if that is so.
    pub fault: &'a dyn Fn(Secret<'_>) -> Option<String>,
    /// Who may refer to other namespaces' objects.
    pub grants: &'a [Arc<ReferenceGrant>],
}

impl std::fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("grants", &self.grants.len()).finish_non_exhaustive()
    }
}

/// All of a Gateway.
#[must_use]
pub fn listeners<'a>(
    gateway: &'a Gateway,
    credentials: &Credentials<'_>,
) -> Vec<JudgedListener<'a>> {
    let namespace = gateway.metadata.namespace.as_deref().unwrap_or_default();
    let all = &gateway.spec.listeners;
    let judge = |listener: &'a Listener| {
        let (kinds, wrong_kinds) = kinds(listener);
        let refused = refusal(listener);
        let (secret, unusable) = match listener.protocol.as_str() {
            "HTTPS" if refused.is_none() => secret(listener, namespace, credentials),
            _ => (None, None),
        };
        JudgedListener {
            listener,
            kinds: if refused.is_some() { Vec::new() } else { kinds },
            conflict: conflict(listener, all),
            unresolved: unusable.or(wrong_kinds),
            refused,
            secret,
        }
    };
    all.iter().map(judge).collect()
}

impl JudgedListener<'_> {
    /// Whether requests that come there are answered.
    #[must_use]
    pub fn is_served(&self) -> bool {
        let proves_itself = self.secret.is_some() || self.listener.protocol == "HTTP";
        self.takes_routes() && proves_itself
    }

    /// Whether routes may attach, whatever becomes of its certificate.
    pub(super) fn takes_routes(&self) -> bool {
        self.refused.is_none() && self.conflict.is_none()
    }

    /// The hosts that are meant.
    #[must_use]
    pub fn host(&self) -> &str {
        host(self.listener)
    }

    /// Whether routes of this namespace may attach, which has these labels.
    pub(super) fn lets_in(
        &self,
        gateway_namespace: &str,
        namespace: &str,
        labels: &dyn Fn(&str) -> Option<BTreeMap<String, String>>,
    ) -> bool {
        let allowed = self.listener.allowed_routes.as_ref();
        let namespaces = allowed.and_then(|allowed| allowed.namespaces.as_ref());
        match namespaces.and_then(|it| it.from.as_deref()).unwrap_or("Same") {
            "All" => true,
            "Same" => namespace == gateway_namespace,
            "Selector" => {
                let selector = namespaces.and_then(|it| it.selector.as_ref());
                selector.zip(labels(namespace)).is_some_and(|(it, labels)| selects(it, &labels))
            }
            _ => false,
        }
    }
}

fn selects(selector: &GivenSelector, labels: &BTreeMap<String, String>) -> bool {
    LabelSelector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

fn host(listener: &Listener) -> &str {
    listener.hostname.as_deref().unwrap_or(ANY)
}

fn refusal(listener: &Listener) -> Option<Problem> {
    let problem = |reason, message| Some(Problem { reason, message });
    let mode = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref()).unwrap_or("Terminate");
    match listener.protocol.as_str() {
        "HTTP" => {}
        "HTTPS" if mode == "Terminate" => {}
        "HTTPS" => {
            return problem("UnsupportedProtocol", format!("TLS of mode {mode:?} is not served"));
        }
        other => {
            let message = format!("protocol {other:?} is not served, HTTP and HTTPS are");
            return problem("UnsupportedProtocol", message);
        }
    }
    if !(1..=65535).contains(&listener.port) {
        return problem("PortUnavailable", format!("{} is no port", listener.port));
    }
    let options = listener.tls.as_ref().map(|tls| &tls.options);
    if let Some((name, _)) = options.and_then(|options| options.first_key_value()) {
        return problem("UnsupportedValue", format!("the TLS option {name:?} is not served"));
    }
    None
}

fn conflict(listener: &Listener, all: &[Listener]) -> Option<Problem> {
    let others = all.iter().filter(|it| it.name != listener.name && it.port == listener.port);
    for other in others {
        let message = format!("listener {:?} has port {}, too", other.name, other.port);
        if other.protocol != listener.protocol {
            return Some(Problem { reason: "ProtocolConflict", message });
        }
        if host(other) == host(listener) {
            let message = format!("{message}, for the same hosts");
            return Some(Problem { reason: "HostnameConflict", message });
        }
    }
    None
}

/// Those that are wanted and served, and what is said of others.
fn kinds(listener: &Listener) -> (Vec<RouteGroupKind>, Option<Problem>) {
    let route = RouteGroupKind { group: Some(GROUP.to_owned()), kind: "HTTPRoute".to_owned() };
    let given = listener.allowed_routes.as_ref().map_or(&[][..], |allowed| &allowed.kinds);
    if given.is_empty() {
        return (vec![route], None);
    }
    let is_route = |it: &&RouteGroupKind| {
        it.kind == route.kind && it.group.as_deref().unwrap_or(GROUP) == GROUP
    };
    let (ours, others): (Vec<_>, Vec<_>) = given.iter().partition(is_route);
    let problem = others.first().map(|other| Problem {
        reason: "InvalidRouteKinds",
        message: format!("routes of kind {:?} are not served", other.kind),
    });
    (if ours.is_empty() { Vec::new() } else { vec![route] }, problem)
}

/// The first that can be used, and what is said of those that can't.
fn secret<'a>(
    listener: &'a Listener,
    namespace: &'a str,
    credentials: &Credentials<'_>,
) -> (Option<Secret<'a>>, Option<Problem>) {
    let given = listener.tls.as_ref().map_or(&[][..], |tls| &tls.certificate_refs);
    let all: Vec<_> = given.iter().map(|it| usable(it, namespace, credentials)).collect();
    let none = || Problem {
        reason: "InvalidCertificateRef",
        message: "HTTPS needs a reference to a certificate".to_owned(),
    };
    let found = all.iter().find_map(|it| it.as_ref().ok().copied());
    let problem = all.into_iter().find_map(Result::err);
    (found, problem.or_else(|| given.is_empty().then(none)))
}

fn usable<'a>(
    reference: &'a SecretObjectReference,
    namespace: &'a str,
    credentials: &Credentials<'_>,
) -> Result<Secret<'a>, Problem> {
    let invalid = |message| Err(Problem { reason: "InvalidCertificateRef", message });
    let group = reference.group.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or("Secret");
    let name = reference.name.as_str();
    if !group.is_empty() || kind != "Secret" {
        return invalid(format!("{kind} {name:?}: certificates are in Secrets"));
    }
    let other = reference.namespace.as_deref().unwrap_or(namespace);
    let referrer = Referrer { kind: "Gateway", namespace };
    if !is_granted(credentials.grants, referrer, (group, kind), other, name) {
        let message =
            format!("no ReferenceGrant of namespace {other:?} lets it refer to secret {name:?}");
        return Err(Problem { reason: "RefNotPermitted", message });
    }
    let secret = Secret { namespace: other, name };
    match (credentials.fault)(secret) {
        None => Ok(secret),
        Some(why) => invalid(format!("secret {name:?}: {why}")),
    }
}
