//! From a method and a path to what is wanted of which resource: the only place that knows the API's paths
//! (Kubernetes: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`).

mod delegated;
mod verb;

use std::sync::Arc;

use api_machinery::ApiError;
use http::Method;
use registry::{ResourceDef, Scope, Subresource};

use crate::{
    catalogue::Catalogue, health::HealthRequest, path_segments, query::Query, scrape_targets::Role,
};

pub(crate) use self::{
    delegated::{Delegated, ResourcePath, delegated, resource_path},
    verb::Verb,
};

/// A request for a resource.
#[derive(Clone, Debug)]
pub(crate) struct RequestInfo {
    pub(crate) verb: Verb,
    pub(crate) def: Arc<ResourceDef>,
    pub(crate) namespace: Option<String>,
    /// Given in the path; empty for requests to a collection.
    pub(crate) name: Option<String>,
    pub(crate) subresource: Option<Subresource>,
    /// What follows `proxy` in the path, as it was written: nothing, or something that begins with a slash.
    pub(crate) remainder: String,
}

/// A path that names no resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NonResource {
    /// `/`
    Paths,
    /// `/healthz`, `/livez`, `/readyz`, each maybe with a check's name behind.
    Health(HealthRequest),
    Version,
    Metrics,
    /// `/prometheus/targets/<role>`
    ScrapeTargets(Role),
    /// `/api`
    CoreVersions,
    /// `/apis`
    Groups,
    /// `/apis/<group>`
    Group(String),
    /// `/api/v1`, `/apis/<group>/<version>`
    Resources(String, String),
    /// `/.well-known/openid-configuration`
    OpenIdConfiguration,
    /// `/openid/v1/jwks`
    TokenKeys,
    OpenApiV2,
    OpenApiV3Index,
    /// `/debug/api_priority_and_fairness/dump_priority_levels`
    PriorityLevels,
    /// `/debug/api_priority_and_fairness/dump_queues`
    Queues,
    /// `/openapi/v3/api/v1`, `/openapi/v3/apis/<group>/<version>`, each maybe with the hash of the document.
    OpenApiV3(String, String, Option<String>),
}

/// What a request is about.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    Resource(RequestInfo),
    NonResource(NonResource),
    /// What another server serves.
    Delegated(Delegated),
}

impl Target {
    /// Whether the answer tells of changes as they come.
    pub(crate) fn is_watch(&self) -> bool {
        match self {
            Self::Resource(info) => info.verb == Verb::Watch,
            Self::Delegated(Delegated { resource, .. }) => {
                resource.as_ref().is_some_and(|it| it.verb == Verb::Watch)
            }
            Self::NonResource(_) => false,
        }
    }

    /// Whether it changes something.
    pub(crate) fn is_write(&self) -> bool {
        match self {
            Self::Resource(info) => info.verb.is_write(),
            Self::Delegated(Delegated { resource, .. }) => {
                resource.as_ref().is_some_and(|it| it.verb.is_write())
            }
            Self::NonResource(_) => false,
        }
    }

    /// Whether the answer may go on for as long as the client listens.
    pub(crate) fn is_long_running(&self) -> bool {
        match self {
            Self::Resource(info) => {
                let streams = |s: Subresource| s == Subresource::Log || s.connects();
                self.is_watch() || info.subresource.is_some_and(streams)
            }
            _ => self.is_watch(),
        }
    }
}

/// Reads a request's line.
pub(crate) fn parse(
    catalogue: &Catalogue,
    method: &Method,
    path: &str,
    query: &Query,
) -> Result<Target, ApiError> {
    let (own, remainder) = cut(path);
    let segments = path_segments::of(own)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    if let Some(other) = non_resource(&segments, query) {
        return Ok(Target::NonResource(other));
    }
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return Err(ApiError::no_such_path()),
    };
    let (watch, rest) = match rest {
        ["watch", rest @ ..] => (true, rest),
        rest => (query.flag("watch"), rest),
    };
    let place = place(catalogue, group, version, rest).ok_or_else(ApiError::no_such_path)?;
    let info = place.with_verb(verb(method, watch, &place)?);
    Ok(Target::Resource(RequestInfo { remainder: remainder.to_owned(), ..info }))
}

/// A path up to `proxy`, and what follows for who is asked there; of how that is spelled, only `.`, `..` and `\` are changed
/// where it is led on, as in every URL.
fn cut(path: &str) -> (&str, &str) {
    let (mut segments, mut end) = (Vec::new(), 0);
    for segment in path.split('/') {
        end += segment.len() + 1;
        if !segment.is_empty() {
            segments.push(segment);
        }
        if let ["api", _, "nodes", _, "proxy"] | ["api", _, "namespaces", _, _, _, "proxy"] =
            segments.as_slice()
        {
            return path.split_at(end - 1);
        }
    }
    (path, "")
}

/// Where a path points, before the method says what to do there.
#[derive(Debug)]
struct Place {
    def: Arc<ResourceDef>,
    namespace: Option<String>,
    name: Option<String>,
    subresource: Option<Subresource>,
}

impl Place {
    fn with_verb(&self, verb: Verb) -> RequestInfo {
        let Self { def, namespace, name, subresource } = self;
        RequestInfo {
            verb,
            def: def.clone(),
            namespace: namespace.clone(),
            name: name.clone(),
            subresource: *subresource,
            remainder: String::new(),
        }
    }
}

fn non_resource(segments: &[&str], query: &Query) -> Option<NonResource> {
    let hash = || query.get("hash").map(str::to_owned);
    Some(match segments {
        [] => NonResource::Paths,
        [endpoint @ ("healthz" | "livez" | "readyz")] => {
            NonResource::Health(HealthRequest::new(endpoint, None, query))
        }
        [endpoint @ ("healthz" | "livez" | "readyz"), check] => {
            NonResource::Health(HealthRequest::new(endpoint, Some(check), query))
        }
        ["version"] => NonResource::Version,
        ["metrics"] => NonResource::Metrics,
        ["prometheus", "targets", role] => NonResource::ScrapeTargets(Role::of_path(role)?),
        ["api"] => NonResource::CoreVersions,
        ["apis"] => NonResource::Groups,
        ["api", version] => NonResource::Resources(String::new(), (*version).to_owned()),
        ["apis", group] => NonResource::Group((*group).to_owned()),
        ["apis", group, version] => {
            NonResource::Resources((*group).to_owned(), (*version).to_owned())
        }
        [".well-known", "openid-configuration"] => NonResource::OpenIdConfiguration,
        ["openid", "v1", "jwks"] => NonResource::TokenKeys,
        ["debug", "api_priority_and_fairness", "dump_priority_levels"] => {
            NonResource::PriorityLevels
        }
        ["debug", "api_priority_and_fairness", "dump_queues"] => NonResource::Queues,
        ["openapi", "v2"] => NonResource::OpenApiV2,
        ["openapi", "v3"] => NonResource::OpenApiV3Index,
        ["openapi", "v3", "api", version] => {
            NonResource::OpenApiV3(String::new(), (*version).to_owned(), hash())
        }
        ["openapi", "v3", "apis", group, version] => {
            NonResource::OpenApiV3((*group).to_owned(), (*version).to_owned(), hash())
        }
        _ => return None,
    })
}

fn place(catalogue: &Catalogue, group: &str, version: &str, rest: &[&str]) -> Option<Place> {
    let find = |plural| catalogue.find(group, version, plural).cloned();
    let owned = |s: &str| Some(s.to_owned());
    if let ["namespaces", namespace, tail @ ..] = rest {
        // `namespaces/x/status` is a subresource of x, `namespaces/x/pods` a collection in x.
        let namespaces = catalogue.find("", "v1", "namespaces");
        let of_namespace = |s: &&str| group.is_empty() && subresource(namespaces, s).is_some();
        return match tail {
            [] if group.is_empty() => object(find("namespaces")?, None, namespace, None),
            [sub] if of_namespace(sub) => object(find("namespaces")?, None, namespace, Some(sub)),
            // The old collection of bindings: a POST there is one to the pod's subresource.
            ["bindings"] if group.is_empty() => Some(Place {
                subresource: Some(Subresource::Binding),
                ..collection_of(find("pods")?, owned(namespace))
            }),
            [plural] => namespaced(find(plural)?).map(|def| collection_of(def, owned(namespace))),
            [plural, name] => object(namespaced(find(plural)?)?, owned(namespace), name, None),
            [plural, name, sub] => {
                object(namespaced(find(plural)?)?, owned(namespace), name, Some(sub))
            }
            _ => None,
        };
    }
    match rest {
        [plural] => Some(collection_of(find(plural)?, None)),
        [plural, name] => object(cluster(find(plural)?)?, None, name, None),
        [plural, name, sub] => object(cluster(find(plural)?)?, None, name, Some(sub)),
        _ => None,
    }
}

fn namespaced(def: Arc<ResourceDef>) -> Option<Arc<ResourceDef>> {
    (def.scope == Scope::Namespaced).then_some(def)
}

fn cluster(def: Arc<ResourceDef>) -> Option<Arc<ResourceDef>> {
    (def.scope == Scope::Cluster).then_some(def)
}

fn collection_of(def: Arc<ResourceDef>, namespace: Option<String>) -> Place {
    Place { def, namespace, name: None, subresource: None }
}

fn object(
    def: Arc<ResourceDef>,
    namespace: Option<String>,
    name: &str,
    sub: Option<&str>,
) -> Option<Place> {
    let subresource = match sub {
        Some(sub) => Some(subresource(Some(&def), sub)?),
        None => None,
    };
    Some(Place { def, namespace, name: Some(name.to_owned()), subresource })
}

/// The subresource of this name, if the kind has it.
fn subresource(def: Option<&Arc<ResourceDef>>, name: &str) -> Option<Subresource> {
    def?.subresources.iter().copied().find(|s| s.name() == name)
}

fn verb(method: &Method, watch: bool, place: &Place) -> Result<Verb, ApiError> {
    let named = place.name.is_some();
    // Objects of a namespaced kind can be read across namespaces, not written.
    let everywhere = place.def.scope == Scope::Namespaced && place.namespace.is_none();
    let verb = match *method {
        Method::GET | Method::HEAD if named => Verb::Get,
        Method::OPTIONS if place.subresource == Some(Subresource::Proxy) => Verb::Get,
        Method::GET | Method::HEAD if watch => Verb::Watch,
        Method::GET | Method::HEAD => Verb::List,
        Method::POST if everywhere => return Err(ApiError::method_not_allowed()),
        Method::POST if !named || posted(place.subresource) => Verb::Create,
        Method::PUT if named => Verb::Update,
        Method::PATCH if named => Verb::Patch,
        Method::DELETE if named => Verb::Delete,
        Method::DELETE if !everywhere => Verb::DeleteCollection,
        _ => return Err(ApiError::method_not_allowed()),
    };
    let verbs = place.subresource.map_or_else(|| resource_verbs(&place.def), verbs);
    if verbs.contains(&verb) { Ok(verb) } else { Err(ApiError::method_not_allowed()) }
}

/// Subresources that are made rather than changed.
fn posted(subresource: Option<Subresource>) -> bool {
    let made = |s| matches!(s, Subresource::Binding | Subresource::Eviction | Subresource::Token);
    subresource.is_some_and(|s| made(s) || s.connects())
}

/// The verbs of a resource itself. Reviews are but asked, what is computed but read. Namespaces go one by one: too much hangs on each.
pub(crate) fn resource_verbs(def: &ResourceDef) -> &'static [Verb] {
    const ALL: &[Verb] = &[
        Verb::Create,
        Verb::Delete,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
        Verb::DeleteCollection,
    ];
    match def {
        _ if def.is_review => &[Verb::Create],
        _ if def.is_computed => &[Verb::Get, Verb::List],
        _ if def.is_core("namespaces") => &ALL[..ALL.len() - 1],
        _ => ALL,
    }
}

/// The verbs of a subresource, as discovery lists them.
pub(crate) fn verbs(subresource: Subresource) -> &'static [Verb] {
    match subresource {
        Subresource::Status
        | Subresource::Scale
        | Subresource::Approval
        | Subresource::EphemeralContainers
        | Subresource::Resize => &[Verb::Get, Verb::Patch, Verb::Update],
        Subresource::Binding | Subresource::Eviction | Subresource::Token => &[Verb::Create],
        Subresource::Finalize => &[Verb::Update],
        Subresource::Log => &[Verb::Get],
        // WebSockets begin with a GET.
        Subresource::Exec | Subresource::Attach | Subresource::PortForward => {
            &[Verb::Create, Verb::Get]
        }
        Subresource::Proxy => &[Verb::Create, Verb::Delete, Verb::Get, Verb::Patch, Verb::Update],
    }
}

/// The kind of the options of a request that is led on to an object of this kind.
pub(crate) fn proxy_options(def: &ResourceDef) -> &'static str {
    match def.names.kind.as_str() {
        "Pod" => "PodProxyOptions",
        "Service" => "ServiceProxyOptions",
        _ => "NodeProxyOptions",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &Method, path: &str, expected: &str) {
        let catalogue = Catalogue::built_in();
        let uri: http::Uri = path.parse().unwrap();
        let query = Query::of(&uri).unwrap();
        let text = match parse(&catalogue, method, uri.path(), &query) {
            Ok(Target::NonResource(other)) => format!("{other:?}"),
            Ok(Target::Delegated(_)) => unreachable!("the catalogue has this server's alone"),
            Ok(Target::Resource(info)) => {
                let or = |s: Option<String>| s.unwrap_or_else(|| "-".to_owned());
                let sub = info.subresource.map(|s| format!("/{}", s.name())).unwrap_or_default();
                let verb = info.verb.as_str();
                let kind = &info.def.names.kind;
                let text = format!("{verb} {kind}{sub} {} {}", or(info.namespace), or(info.name));
                format!("{text} {}", info.remainder).trim_end().to_owned()
            }
            Err(error) => error.code().to_string(),
        };
        assert_eq!(text, expected, "{method} {path}");
    }

    #[test]
    fn paths_name_objects_collections_and_subresources() {
        check(&Method::GET, "/api/v1/pods", "list Pod - -");
        check(&Method::GET, "/api/v1/namespaces/a/pods?watch=true", "watch Pod a -");
        check(&Method::GET, "/api/v1/watch/namespaces/a/pods", "watch Pod a -");
        check(&Method::GET, "/api/v1/namespaces/a/pods/b", "get Pod a b");
        check(&Method::GET, "/api/v1/namespaces/a/pods/b/log", "get Pod/log a b");
        check(&Method::GET, "/api/v1/namespaces/a", "get Namespace - a");
        check(&Method::PUT, "/api/v1/namespaces/a/finalize", "update Namespace/finalize - a");
        check(&Method::PATCH, "/api/v1/nodes/n%31/status", "patch Node/status - n1");
        check(&Method::POST, "/api/v1/namespaces/a/bindings", "create Pod/binding a -");
        check(&Method::POST, "/api/v1/namespaces/a/pods/b/binding", "create Pod/binding a b");
        check(
            &Method::DELETE,
            "/apis/apps/v1/namespaces/a/replicasets",
            "deletecollection ReplicaSet a -",
        );
    }

    #[test]
    fn what_is_not_there_is_404_and_what_can_not_be_done_405() {
        check(&Method::GET, "/api/v1/frogs", "404");
        check(&Method::GET, "/api/v1/pods/b", "404");
        check(&Method::GET, "/api/v1/namespaces/a/nodes", "404");
        check(&Method::GET, "/apis/apps/v2/replicasets", "404");
        check(&Method::POST, "/api/v1/pods", "405");
        check(&Method::POST, "/api/v1/namespaces/a/pods/b", "405");
        check(&Method::DELETE, "/api/v1/nodes/n1/status", "405");
        check(&Method::DELETE, "/api/v1/namespaces", "405");
        check(&Method::GET, "/api/v1/namespaces/a/pods/b%2Fc", "400");
        check(&Method::GET, "/api/v1/namespaces/..", "400");
    }

    #[test]
    fn what_follows_proxy_is_left_as_it_is() {
        let proxy = "/api/v1/namespaces/a/pods/https:b:80/proxy";
        let with = |rest: &str| format!("{proxy}{rest}");
        check(&Method::GET, proxy, "get Pod/proxy a https:b:80");
        check(&Method::HEAD, &with("/"), "get Pod/proxy a https:b:80 /");
        check(&Method::POST, &with("/x//y%2Fz/.."), "create Pod/proxy a https:b:80 /x//y%2Fz/..");
        check(&Method::PUT, &with("/proxy/proxy"), "update Pod/proxy a https:b:80 /proxy/proxy");
        check(&Method::PATCH, &with("/x?watch=1"), "patch Pod/proxy a https:b:80 /x");
        check(&Method::DELETE, &with("/x"), "delete Pod/proxy a https:b:80 /x");
        check(&Method::OPTIONS, &with("/x"), "get Pod/proxy a https:b:80 /x");
        check(&Method::TRACE, &with("/x"), "405");
        check(&Method::GET, "/api/v1/nodes/n/proxy/metrics", "get Node/proxy - n /metrics");
        check(&Method::GET, "/api/v1/namespaces/a/services/b/proxy/", "get Service/proxy a b /");
        check(&Method::GET, "/api/v1/namespaces/a/secrets/b/proxy/x", "404");
        check(&Method::GET, "/api/v1/namespaces/a/pods/proxy", "get Pod a proxy");
        check(&Method::OPTIONS, "/api/v1/namespaces/a/pods/b", "405");
        check(&Method::GET, "/api/v1/namespaces/a/pods/b%2Fc/proxy/x", "400");
    }

    #[test]
    fn some_paths_are_no_resources() {
        check(
            &Method::GET,
            "/readyz/ping",
            r#"Health(HealthRequest { endpoint: "readyz", check: Some("ping"), verbose: false, excluded: None })"#,
        );
        check(&Method::GET, "/apis/apps/v1", r#"Resources("apps", "v1")"#);
        check(&Method::GET, "/openapi/v3/api/v1", r#"OpenApiV3("", "v1", None)"#);
    }
}
