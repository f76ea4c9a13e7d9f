//! Who may do what. For now every identity of the cluster's CA may do everything; anonymous may see how the
//! server is, as health checks have no certificate.

use api_machinery::ApiError;

use crate::{
    identity::Identity,
    request::{NonResource, RequestInfo, Target},
};

/// Fails with 401 or 403 unless the identity may do it.
pub(crate) fn authorize(identity: &Identity, target: &Target, path: &str) -> Result<(), ApiError> {
    if !identity.is_anonymous() {
        return Ok(());
    }
    match target {
        Target::NonResource(NonResource::Health | NonResource::Version) => Ok(()),
        Target::NonResource(_) => Err(forbidden_path(identity, path)),
        Target::Resource(info) => Err(forbidden(identity, info)),
    }
}

fn forbidden_path(identity: &Identity, path: &str) -> ApiError {
    let user = &identity.user;
    ApiError::new(403, "Forbidden", format!("forbidden: User {user:?} cannot get path {path:?}"))
}

fn forbidden(identity: &Identity, info: &RequestInfo) -> ApiError {
    let names = &info.def.names;
    let (user, verb, group) = (&identity.user, info.verb.as_str(), names.group);
    let place = match &info.namespace {
        Some(namespace) => format!("in the namespace {namespace:?}"),
        None => "at the cluster scope".to_owned(),
    };
    let resource = match info.subresource {
        Some(sub) => format!("{}/{}", names.plural, sub.name()),
        None => names.plural.to_owned(),
    };
    let why =
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}");
    ApiError::forbidden(group, names.plural, info.name.as_deref().unwrap_or_default(), &why)
}
