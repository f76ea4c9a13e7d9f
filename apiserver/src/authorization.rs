//! What a request asks to do, and the refusal if [`crate::authorizer`] does not let it. How the server is as a whole,
//! anybody may see: health checks have no name.

use api_machinery::{ApiError, FieldSelector};
use http::{Method, Uri};

use crate::{
    authorizer::Authorizer,
    identity::Identity,
    query::Query,
    rbac::{Action, Asked, Decision},
    request::{Delegated, NonResource, RequestInfo, ResourcePath, Target, Verb, resource_path},
};

impl<'a> From<&'a RequestInfo> for Action<'a> {
    fn from(info: &'a RequestInfo) -> Self {
        Self {
            verb: info.verb.as_str(),
            group: &info.def.names.group,
            resource: &info.def.names.plural,
            subresource: info.subresource.map(|s| s.name()),
            namespace: info.namespace.as_deref(),
            name: info.name.as_deref().unwrap_or_default(),
            fields: None,
        }
    }
}

/// What a request for a resource asks that another server serves.
fn delegated<'a>(group: &'a str, path: &'a ResourcePath) -> Action<'a> {
    Action {
        verb: path.verb.as_str(),
        group,
        resource: &path.resource,
        subresource: path.subresource.as_deref(),
        namespace: path.namespace.as_deref(),
        name: path.name.as_deref().unwrap_or_default(),
        fields: None,
    }
}

/// Why the identity may do it; fails with 403 unless it may.
pub(crate) fn authorize(
    authorizer: &Authorizer,
    identity: &Identity,
    (target, query): (&Target, &Query),
    method: &Method,
    path: &str,
) -> Result<String, ApiError> {
    match target {
        Target::Resource(info) => {
            let fields = selected(info, query);
            let mut action = Action { fields: fields.as_ref(), ..Action::from(info) };
            action.name = only_name(info, fields.as_ref()).unwrap_or(action.name);
            authorize_action(authorizer, identity, action)
        }
        Target::NonResource(NonResource::Health(asked)) if asked.is_of_all() => Ok(String::new()),
        Target::Delegated(Delegated { delegate, resource: Some(path), .. }) => {
            authorize_action(authorizer, identity, delegated(&delegate.group, path))
        }
        Target::NonResource(_) | Target::Delegated(_) => {
            authorize_path(authorizer, identity, method, path)
        }
    }
}

/// What it selects by. A selector that is none is refused later.
fn selected(info: &RequestInfo, query: &Query) -> Option<FieldSelector> {
    if !matches!(info.verb, Verb::List | Verb::Watch | Verb::DeleteCollection) {
        return None;
    }
    FieldSelector::parse(query.get("fieldSelector")?).ok()
}

/// Kubernetes: a list or a watch of one object by its name is judged like a request for that one.
fn only_name<'a>(info: &RequestInfo, fields: Option<&'a FieldSelector>) -> Option<&'a str> {
    fields.filter(|_| info.verb != Verb::DeleteCollection)?.requires("metadata.name")
}

/// Why the identity may do it; fails with 403 unless it may.
pub(crate) fn authorize_action(
    authorizer: &Authorizer,
    identity: &Identity,
    action: Action<'_>,
) -> Result<String, ApiError> {
    match authorizer.decide(identity, Asked::Resource(action)) {
        Decision::Allowed(why) => Ok(why),
        Decision::Refused(why) => Err(forbidden(identity, action, &why)),
    }
}

/// Why the identity may be told that there is no such thing, or that this can't be done to it; fails with 403 unless it may.
pub(crate) fn authorize_unknown(
    authorizer: &Authorizer,
    identity: &Identity,
    method: &Method,
    uri: &Uri,
) -> Result<String, ApiError> {
    let segments: Vec<&str> = uri.path().split('/').filter(|part| !part.is_empty()).collect();
    match unknown_resource(method, &segments, &Query::of(uri).unwrap_or_default()) {
        Some((group, path)) => authorize_action(authorizer, identity, delegated(group, &path)),
        None => authorize_path(authorizer, identity, method, uri.path()),
    }
}

fn authorize_path(
    authorizer: &Authorizer,
    identity: &Identity,
    method: &Method,
    path: &str,
) -> Result<String, ApiError> {
    let lower = method.as_str().to_lowercase();
    let verb = if *method == Method::HEAD { "get" } else { lower.as_str() };
    match authorizer.decide(identity, Asked::Path { verb, path }) {
        Decision::Allowed(why) => Ok(why),
        Decision::Refused(why) => Err(forbidden_path(identity, verb, path, &why)),
    }
}

/// What a path is about that looks like one of a resource, though there is none: it takes a right to learn that.
fn unknown_resource<'a>(
    method: &Method,
    segments: &[&'a str],
    query: &Query,
) -> Option<(&'a str, ResourcePath)> {
    let (group, rest) = match segments {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let path = resource_path(method, rest, query).ok()??;
    Some((group, path))
}

fn forbidden_path(identity: &Identity, verb: &str, path: &str, why: &str) -> ApiError {
    let user = &identity.user;
    let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}");
    ApiError::new(403, "Forbidden", because(message, why))
}

fn because(message: String, why: &str) -> String {
    if why.is_empty() { message } else { format!("{message}: {why}") }
}

fn forbidden(identity: &Identity, action: Action<'_>, why: &str) -> ApiError {
    let Action { verb, group, resource, subresource, namespace, name, .. } = action;
    let user = &identity.user;
    let place = match namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let path = match subresource {
        Some(sub) => format!("{resource}/{sub}"),
        None => resource.to_owned(),
    };
    let message =
        format!("User {user:?} cannot {verb} resource {path:?} in API group {group:?} {place}");
    ApiError::forbidden(group, resource, name, &because(message, why))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_looks_like_a_resources_is_one() {
        let check = |path: &str, expected: Option<(&str, &str, Option<&str>, Option<&str>)>| {
            let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            let found = unknown_resource(&Method::GET, &segments, &Query::default());
            let found = found.as_ref().map(|(group, path)| {
                (*group, &*path.resource, path.namespace.as_deref(), path.name.as_deref())
            });
            assert_eq!(found, expected, "{path}");
        };
        check("/frogs", None);
        check("/apis/frogs.io/v1", None);
        check("/apis/frogs.io/v1/frogs", Some(("frogs.io", "frogs", None, None)));
        check("/api/v1/namespaces/a/frogs/b", Some(("", "frogs", Some("a"), Some("b"))));
        check("/api/v1/namespaces/a", Some(("", "namespaces", Some("a"), Some("a"))));
    }
}
