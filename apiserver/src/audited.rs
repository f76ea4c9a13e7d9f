//! A request as the audit log knows it.

use http::request::Parts;

use crate::{
    audit::{Asked, Begin, Resource},
    identity::Identity,
    request::{Delegated, RequestInfo, Target},
};

/// What is asked for, and by whom as far as that is known.
pub(crate) fn begin<'a>(
    parts: &'a Parts,
    lower_method: &'a str,
    target: Option<&'a Target>,
    user: Option<&'a Identity>,
) -> Begin<'a> {
    let (verb, version, resource) = match target {
        Some(Target::Resource(info)) => {
            (info.verb.as_str(), &*info.def.names.version, Some(of_info(info)))
        }
        Some(Target::Delegated(delegated)) => match of_delegated(delegated) {
            Some((verb, resource)) => (verb, &*delegated.delegate.version, Some(resource)),
            None => (lower_method, "", None),
        },
        _ => (lower_method, "", None),
    };
    let (user, groups) = user.map_or(("", [].as_slice()), |it| (&*it.user, &*it.groups));
    let asked = Asked { user, groups, verb, path: parts.uri.path(), resource };
    Begin { asked, version, is_long: target.is_some_and(Target::is_long_running) }
}

fn of_info(info: &RequestInfo) -> Resource<'_> {
    Resource {
        group: &info.def.names.group,
        resource: &info.def.names.plural,
        subresource: info.subresource.map_or("", |it| it.name()),
        namespace: info.namespace.as_deref().unwrap_or_default(),
        name: info.name.as_deref().unwrap_or_default(),
    }
}

fn of_delegated(delegated: &Delegated) -> Option<(&'static str, Resource<'_>)> {
    let path = delegated.resource.as_ref()?;
    let resource = Resource {
        group: &delegated.delegate.group,
        resource: &path.resource,
        subresource: path.subresource.as_deref().unwrap_or_default(),
        namespace: path.namespace.as_deref().unwrap_or_default(),
        name: path.name.as_deref().unwrap_or_default(),
    };
    Some((path.verb.as_str(), resource))
}
