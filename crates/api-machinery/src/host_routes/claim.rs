//! What an object asks for, whatever its kind.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use api_types::{
    api::networking::v1::{
        Ingress, IngressBackend, IngressClass, IngressRule, IngressServiceBackend,
    },
    meta::{ObjectMeta, Time},
    minik8s::Dns,
};

/// The host of rules that name none.
pub const ANY_HOST: &str = "";

/// How many rules of an Ingress count: all hosts are in one configuration.
pub const MAX_RULES: usize = 1000;

/// Who serves the Ingresses of a class, as the class says of the router.
pub const INGRESS_CONTROLLER: &str = "minik8s.io/router";

/// What said, before there was a field for it, which class an Ingress is of.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// Has who comes without TLS come again with it.
const REDIRECT_ANNOTATION: &str = "minik8s.io/ssl-redirect";

/// A kind of which objects name hosts. The first one's hosts are not the others'.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `DNS`: who answers sees what is below a path.
    Dns,
    /// `Ingress`: who answers sees all of a path.
    Ingress,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Dns => "DNS object",
            Kind::Ingress => "Ingress",
        })
    }
}

/// A port of a Service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Port<'a> {
    /// By its number.
    Number(i32),
    /// By its name.
    Name(&'a str),
}

/// A port of a Service of the same namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ServicePort<'a> {
    /// The Service's name.
    pub name: &'a str,
    /// The port.
    pub port: Port<'a>,
}

/// Which requests below a host are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Path<'a> {
    /// Those for this path.
    Exact(&'a str),
    /// Those for this path and all below it, as [`prefix`] gives it.
    Prefix(&'a str),
}

/// Where requests go.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Route<'a> {
    /// The object that leads there.
    pub holder: Holder<'a>,
    /// The Service, in the holder's namespace; without one, nobody answers.
    pub service: Option<ServicePort<'a>>,
    /// Whether who comes without TLS is sent to come again with it, where there is TLS.
    pub redirects: bool,
}

/// An object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Holder<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
    /// Its kind.
    pub kind: Kind,
}

/// A Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Secret<'a> {
    /// Its namespace.
    pub namespace: &'a str,
    /// Its name.
    pub name: &'a str,
}

/// What an object asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim<'a> {
    /// The object.
    pub holder: Holder<'a>,
    pub(super) created: Option<&'a Time>,
    /// Those that it names, with or without paths.
    pub hosts: BTreeSet<&'a str>,
    /// Hosts and paths, and where they lead.
    pub paths: Vec<(&'a str, Path<'a>, Route<'a>)>,
    /// Where requests go that no path is for.
    pub default: Option<Route<'a>>,
    /// Hosts that are to be reached with TLS, and the name of the Secret; no hosts: all of the object.
    pub tls: Vec<(Vec<&'a str>, Option<&'a str>)>,
}

impl<'a> Claim<'a> {
    /// What a DNS object asks for.
    #[must_use]
    pub fn of_dns(dns: &'a Dns) -> Self {
        let holder = holder(&dns.metadata, Kind::Dns);
        let paths = dns.spec.paths.iter().map(|entry| {
            let (name, port) = (entry.service.name.as_str(), Port::Number(entry.service.port));
            let service = Some(ServicePort { name, port });
            let route = Route { holder, service, redirects: false };
            (dns.spec.host.as_str(), Path::Prefix(prefix(&entry.path)), route)
        });
        let created = dns.metadata.creation_timestamp.as_ref();
        let hosts = [dns.spec.host.as_str()].into();
        Claim { holder, created, hosts, paths: paths.collect(), default: None, tls: Vec::new() }
    }

    /// What an Ingress asks for.
    #[must_use]
    pub fn of_ingress(ingress: &'a Ingress) -> Self {
        let holder = holder(&ingress.metadata, Kind::Ingress);
        let redirects = annotation(&ingress.metadata, REDIRECT_ANNOTATION) == Some("true");
        let route = |backend: &'a IngressBackend| Route {
            holder,
            service: backend.service.as_ref().and_then(service_port),
            redirects,
        };
        let spec = ingress.spec.as_ref();
        let rules =
            || spec.into_iter().flat_map(|spec| spec.rules.iter().flatten()).take(MAX_RULES);
        let host = |rule: &'a IngressRule| rule.host.as_deref().unwrap_or(ANY_HOST);
        let paths = rules().flat_map(|rule| {
            let host = host(rule);
            let paths = rule.http.iter().flat_map(|http| &http.paths);
            paths.map(move |entry| {
                let given = entry.path.as_deref().unwrap_or_default();
                let path = match entry.path_type.as_str() {
                    "Exact" => Path::Exact(given),
                    _ => Path::Prefix(prefix(given)),
                };
                (host, path, route(&entry.backend))
            })
        });
        let tls = spec.into_iter().flat_map(|spec| spec.tls.iter().flatten()).map(|tls| {
            let hosts = tls.hosts.iter().flatten().map(String::as_str);
            (hosts.collect(), tls.secret_name.as_deref().filter(|name| !name.is_empty()))
        });
        Claim {
            holder,
            created: ingress.metadata.creation_timestamp.as_ref(),
            hosts: rules().map(host).collect(),
            paths: paths.collect(),
            default: spec.and_then(|spec| spec.default_backend.as_ref()).map(route),
            tls: tls.collect(),
        }
    }

    /// By host, to be asked about many.
    pub(super) fn secrets(&self) -> Secrets<'a> {
        let named = |secret: Option<&'a str>| {
            secret.map(|name| Secret { namespace: self.holder.namespace, name })
        };
        let mut secrets = Secrets::default();
        for (place, (hosts, secret)) in self.tls.iter().enumerate() {
            let entry = (place, named(*secret));
            secrets.first.get_or_insert(entry);
            if hosts.is_empty() {
                secrets.of_all.get_or_insert(entry);
            }
            for host in hosts {
                secrets.by_name.entry(*host).or_insert(entry);
            }
        }
        secrets
    }
}

/// The Secrets that an object names for its hosts, each with the place of its entry.
#[derive(Default)]
pub(super) struct Secrets<'a> {
    first: Option<Entry<'a>>,
    /// The first one that names no hosts.
    of_all: Option<Entry<'a>>,
    by_name: HashMap<&'a str, Entry<'a>>,
}

type Entry<'a> = (usize, Option<Secret<'a>>);

impl<'a> Secrets<'a> {
    /// The Secret for a host, if that is to be reached with TLS. Where hosts are given, all other hosts are reached so,
    /// too: whichever of these a client asks for. A name of which the first label is `*` is one for any there.
    pub(super) fn of(&self, host: &str) -> Option<Option<Secret<'a>>> {
        if host == ANY_HOST {
            return self.first.map(|(_, secret)| secret);
        }
        let wildcard = host.split_once('.').filter(|(label, _)| !label.is_empty());
        let wildcard =
            wildcard.and_then(|(_, rest)| self.by_name.get(format!("*.{rest}").as_str()));
        let found = [self.of_all, self.by_name.get(host).copied(), wildcard.copied()];
        let first = found.into_iter().flatten().min_by_key(|(place, _)| *place);
        first.map(|(_, secret)| secret)
    }
}

/// What `/shop` and `/shop/` have in common; of the whole host, nothing.
#[must_use]
pub fn prefix(path: &str) -> &str {
    path.trim_end_matches('/')
}

fn service_port(to: &IngressServiceBackend) -> Option<ServicePort<'_>> {
    let port = to.port.as_ref()?;
    let name = port.name.as_deref().filter(|name| !name.is_empty()).map(Port::Name);
    let port = name.or_else(|| port.number.map(Port::Number))?;
    Some(ServicePort { name: &to.name, port })
}

/// The class that an Ingress names; one without is nobody's.
#[must_use]
pub fn class_of(ingress: &Ingress) -> Option<&str> {
    let named = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_deref());
    named.or_else(|| annotation(&ingress.metadata, CLASS_ANNOTATION))
}

/// Whether the Ingresses of a class are the router's.
#[must_use]
pub fn is_served(class: &IngressClass) -> bool {
    class.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(INGRESS_CONTROLLER)
}

fn annotation<'a>(metadata: &'a ObjectMeta, key: &str) -> Option<&'a str> {
    metadata.annotations.as_ref()?.get(key).map(String::as_str)
}

fn holder(metadata: &ObjectMeta, kind: Kind) -> Holder<'_> {
    let (namespace, name) = names(metadata);
    Holder { namespace, name, kind }
}

pub(super) fn names(metadata: &ObjectMeta) -> (&str, &str) {
    (
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}
