//! What expressions of admission see of a request (Kubernetes: `pkg/admission/plugin/cel/activation.go`).

use std::{collections::BTreeMap, sync::Arc};

use api_machinery::FieldSelector;
use expressions::{
    AccessCheck, AccessDecision, Authorizer as Decides, Value, authorizer, resource_check,
};
use registry::Subresource;

use super::{Attributes, matching::Seen, request};
use crate::{
    authorizer::Authorizer,
    identity::Identity,
    rbac::{Action, Asked, Decision},
};

/// Of a request, as somebody wants to see it; of no namespace.
pub(super) fn of(
    attributes: &Attributes<'_>,
    seen: &Seen<'_>,
    decides: &Arc<Authorizer>,
) -> BTreeMap<&'static str, Value> {
    let identity = attributes.identity.clone();
    let requester: Arc<dyn Decides> = Arc::new(Requester { authorizer: decides.clone(), identity });
    BTreeMap::from([
        ("object", Value::from(&*seen.object)),
        ("oldObject", Value::from(&*seen.old)),
        ("request", Value::from(&request::request(attributes, seen))),
        ("namespaceObject", Value::Null),
        ("authorizer.requestResource", resource_check(requester.clone(), check_of(attributes))),
        ("authorizer", authorizer(requester)),
    ])
}

fn check_of(attributes: &Attributes<'_>) -> AccessCheck {
    let (at, names) = (attributes.at, &attributes.at.def.names);
    AccessCheck {
        group: names.group.to_string(),
        resource: names.plural.to_string(),
        subresource: attributes.subresource.map(Subresource::name).unwrap_or_default().to_owned(),
        namespace: at.namespace.unwrap_or_default().to_owned(),
        name: at.name.to_owned(),
        ..AccessCheck::default()
    }
}

/// Who has sent a request, and what he may do.
#[derive(Debug)]
struct Requester {
    authorizer: Arc<Authorizer>,
    identity: Identity,
}

impl Decides for Requester {
    fn decide(&self, account: Option<(&str, &str)>, check: &AccessCheck) -> AccessDecision {
        let account = account.map(|(namespace, name)| Identity::of_account(namespace, name));
        let identity = account.as_ref().unwrap_or(&self.identity);
        let verb = check.verb.as_str();
        // One that can't be read limits nothing.
        let fields = Some(check.field_selector.as_str()).filter(|text| !text.is_empty());
        let fields = fields.and_then(|text| FieldSelector::parse(text).ok());
        let asked = if check.path.is_empty() {
            Asked::Resource(Action {
                verb,
                group: &check.group,
                resource: &check.resource,
                subresource: Some(check.subresource.as_str()).filter(|it| !it.is_empty()),
                namespace: Some(check.namespace.as_str()).filter(|it| !it.is_empty()),
                name: &check.name,
                fields: fields.as_ref(),
            })
        } else {
            Asked::Path { verb, path: &check.path }
        };
        let (is_allowed, reason) = match self.authorizer.decide(identity, asked) {
            Decision::Allowed(why) => (true, why),
            Decision::Refused(why) => (false, why),
        };
        AccessDecision { is_allowed, reason, error: String::new() }
    }
}
