//! What is looked at of a request (Kubernetes: its `RequestInfo`).

use http::Method;

use super::rules::{About, Digest};
use crate::{
    identity::Identity,
    request::{Delegated, RequestInfo, Target},
};

pub(crate) fn digest<'a>(
    identity: &'a Identity,
    target: &'a Target,
    method: &'a Method,
    path: &'a str,
) -> Digest<'a> {
    let (verb, about) = match target {
        Target::Resource(info) => (info.verb.as_str(), of_resource(info)),
        Target::Delegated(Delegated { delegate, resource: Some(path), .. }) => {
            let about = About::Resource {
                group: &delegate.group,
                resource: &path.resource,
                subresource: path.subresource.as_deref(),
                namespace: path.namespace.as_deref(),
            };
            (path.verb.as_str(), about)
        }
        _ => (of_method(method), About::Path(path)),
    };
    Digest { identity, verb, about }
}

fn of_resource(info: &RequestInfo) -> About<'_> {
    let of_itself = || info.name.as_deref().filter(|_| info.def.is_core("namespaces"));
    About::Resource {
        group: &info.def.names.group,
        resource: &info.def.names.plural,
        subresource: info.subresource.map(|it| it.name()),
        namespace: info.namespace.as_deref().or_else(of_itself),
    }
}

fn of_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::OPTIONS => "options",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}
