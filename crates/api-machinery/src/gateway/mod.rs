//! What Gateways and HTTPRoutes of the Gateway API ask for, for who tells of it (the controllers) and who serves it
//! (kube-proxy) alike: functions from the objects to values.
//!
//! Guarantees: it does not matter in which order the objects come; whatever is in an object, the others are served; what
//! can't be served is told, and its requests fail rather than being treated as if it were not there.

pub mod attachment;
pub mod filter;
pub mod hostname;
pub mod listener;
pub mod matching;
pub mod pattern;
pub mod rule;
pub mod site;

use api_types::{
    api::core::v1::Service,
    gateway::{Gateway, GatewayClass},
};

use crate::host_routes::MANAGED_BY;

pub use attachment::{Attachment, Parent, attach, is_meant};
pub use filter::{Changes, HeaderChange, PathChange, Redirect};
pub use listener::{Credentials, JudgedListener, listeners};
pub use matching::{Match, PathMatch, ValueMatch};
pub use pattern::Pattern;
pub use rule::{Action, Backend, Forward, Problem, References, Rule, Rules, Share};
pub use site::{Site, Sites, sites};

/// Who serves the Gateways of a class, as the class says of us.
pub const CONTROLLER: &str = "minik8s.io/gateway-controller";

/// The label that tells which Gateway a Service is made for.
pub const GATEWAY_LABEL: &str = "gateway.networking.k8s.io/gateway-name";

/// Begins the name of the Service of a Gateway.
const PREFIX: &str = "gateway-";
/// How long the name of a Service may be.
const MAX_SERVICE_NAME: usize = 63;

/// Whether Gateways of a class are served.
#[must_use]
pub fn is_served(class: &GatewayClass) -> bool {
    class.spec.controller_name == CONTROLLER
}

/// The name of the Service whose address a Gateway has; nothing if it would be none.
#[must_use]
pub fn service_name(gateway: &Gateway) -> Option<String> {
    let name = gateway.metadata.name.as_deref()?;
    let service = format!("{PREFIX}{name}");
    (service.len() <= MAX_SERVICE_NAME && !name.contains('.')).then_some(service)
}

/// Whether it was made for a Gateway: then that one's server has its address.
#[must_use]
pub fn is_of_gateway(service: &Service) -> bool {
    let metadata = &service.metadata;
    let label = |key: &str| metadata.labels.as_ref()?.get(key).map(String::as_str);
    let made_for = label(GATEWAY_LABEL).map(|name| format!("{PREFIX}{name}"));
    label(MANAGED_BY.0) == Some(MANAGED_BY.1) && made_for.is_some() && made_for == metadata.name
}

/// Whether it was made for this Gateway, and not for another of its name.
#[must_use]
pub fn is_its_service(service: &Service, gateway: &Gateway) -> bool {
    let mut owners = service.metadata.owner_references.iter().flatten();
    is_of_gateway(service) && owners.any(|it| Some(&it.uid) == gateway.metadata.uid.as_ref())
}

/// Why a Gateway is not served, whatever its listeners are: a reason and a message.
#[must_use]
pub fn refusal(gateway: &Gateway) -> Option<Problem> {
    let spec = &gateway.spec;
    let parameters = spec.infrastructure.as_ref().and_then(|it| it.parameters_ref.as_ref());
    let (reason, message) = if service_name(gateway).is_none() {
        let limit = MAX_SERVICE_NAME - PREFIX.len();
        ("Invalid", format!("names of Gateways have at most {limit} bytes and no dots"))
    } else if !spec.addresses.is_empty() {
        ("UnsupportedAddress", "addresses that are asked for are not served".to_owned())
    } else if parameters.is_some() {
        ("InvalidParameters", "there are no parameters".to_owned())
    } else if spec.tls.is_some() {
        ("UnsupportedValue", "spec.tls is not served".to_owned())
    } else {
        return None;
    };
    Some(Problem { reason, message })
}

#[cfg(test)]
mod tests;
