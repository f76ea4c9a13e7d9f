//! What a request asks to do, and the refusal if [`crate::rbac`] does not let it. How the server is, anybody may see:
//! health checks have no name.

use api_machinery::{ApiError, FieldSelector};
use http::Method;

use crate::{
    identity::Identity,
    query::Query,
    rbac::{Action, Asked, Decision, Rbac},
    request::{NonResource, RequestInfo, Target, Verb},
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
        }
    }
}

/// Fails with 403 unless the identity may do it.
pub(crate) fn authorize(
    rbac: &Rbac,
    identity: &Identity,
    (target, query): (&Target, &Query),
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    match target {
        Target::Resource(info) => {
            let name = only_name(info, query);
            let mut action = Action::from(info);
            action.name = name.as_deref().unwrap_or(action.name);
            authorize_action(rbac, identity, action)
        }
        Target::NonResource(NonResource::Health(_)) => Ok(()),
        Target::NonResource(_) => authorize_path(rbac, identity, method, path),
    }
}

/// Kubernetes: a list or a watch of one object by its name is judged like a request for that one.
fn only_name(info: &RequestInfo, query: &Query) -> Option<String> {
    if !matches!(info.verb, Verb::List | Verb::Watch) {
        return None;
    }
    let fields = FieldSelector::parse(query.get("fieldSelector")?).ok()?;
    fields.requires("metadata.name").map(str::to_owned)
}

/// Fails with 403 unless the identity may do it.
pub(crate) fn authorize_action(
    rbac: &Rbac,
    identity: &Identity,
    action: Action<'_>,
) -> Result<(), ApiError> {
    match rbac.decide(identity, Asked::Resource(action)) {
        Decision::Allowed(_) => Ok(()),
        Decision::Refused(why) => Err(forbidden(identity, action, &why)),
    }
}

/// Fails with 403 unless the identity may do it, or be told that there is no such path.
pub(crate) fn authorize_path(
    rbac: &Rbac,
    identity: &Identity,
    method: &Method,
    path: &str,
) -> Result<(), ApiError> {
    let lower = method.as_str().to_lowercase();
    let verb = if *method == Method::HEAD { "get" } else { lower.as_str() };
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let asked = match unknown_resource(&segments) {
        Some(action) => Asked::Resource(Action { verb, ..action }),
        None => Asked::Path { verb, path },
    };
    match rbac.decide(identity, asked) {
        Decision::Allowed(_) => Ok(()),
        Decision::Refused(why) => Err(forbidden_path(identity, verb, path, &why)),
    }
}

/// What a path is about that looks like one of a resource, though there is none: it takes a right to learn that.
fn unknown_resource<'a>(segments: &[&'a str]) -> Option<Action<'a>> {
    let (group, rest) = match segments {
        ["api", _, rest @ ..] => ("", rest),
        ["apis", group, _, rest @ ..] => (*group, rest),
        _ => return None,
    };
    let (namespace, rest) = match rest {
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (Some(*namespace), rest),
        rest => (None, rest),
    };
    let (resource, rest) = rest.split_first()?;
    let name = rest.first().copied().unwrap_or_default();
    let subresource = rest.get(1).copied();
    Some(Action { verb: "", group, resource, subresource, namespace, name })
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
    let Action { verb, group, resource, subresource, namespace, name } = action;
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
        let check = |path: &str, expected: Option<(&str, &str, Option<&str>, &str)>| {
            let segments: Vec<_> = path.split('/').filter(|segment| !segment.is_empty()).collect();
            let found = unknown_resource(&segments);
            let found = found.map(|a| (a.group, a.resource, a.namespace, a.name));
            assert_eq!(found, expected, "{path}");
        };
        check("/frogs", None);
        check("/apis/frogs.io/v1", None);
        check("/apis/frogs.io/v1/frogs", Some(("frogs.io", "frogs", None, "")));
        check("/api/v1/namespaces/a/frogs/b", Some(("", "frogs", Some("a"), "b")));
        check("/api/v1/namespaces/a", Some(("", "namespaces", None, "a")));
    }
}
