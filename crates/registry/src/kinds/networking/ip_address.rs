//! An address that somebody holds: the API server makes one for each that it gives to a Service. They are kept where addresses
//! are claimed, so that the claim of an address is its object.

use std::net::IpAddr;

use api_machinery::{FieldErrors, FieldPath, names};
use api_types::api::networking::v1::{IPAddress, ParentReference};
use serde_json::json;

use crate::{
    NameRule, ResourceDef, Strategy, resource,
    rules::{self, text},
};

pub(crate) fn definition() -> ResourceDef {
    resource::<IPAddress, _>(AddressStrategy)
        .short_names(&["ip"])
        .kept_at("ranges/serviceips")
        .column("ParentRef", "string", 0, |address, _| json!(holder(address)))
        .build()
}

/// `services/default/web`.
fn holder(address: &IPAddress) -> String {
    let ParentReference { group, name, namespace, resource } = &address.spec.parent_ref;
    let group = text(group.as_ref());
    let mut shown = resource.to_lowercase();
    if !group.is_empty() {
        shown = format!("{shown}.{}", group.to_lowercase());
    }
    let namespace = text(namespace.as_ref());
    if !namespace.is_empty() {
        shown = format!("{shown}/{namespace}");
    }
    format!("{shown}/{name}")
}

struct AddressStrategy;

impl Strategy<IPAddress> for AddressStrategy {
    fn name_rule(&self) -> NameRule {
        name
    }

    fn validate(&self, address: &IPAddress, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec").child("parentRef");
        let parent = &address.spec.parent_ref;
        if *parent == ParentReference::default() {
            return errors.required(&path, "");
        }
        validate(parent, &path, errors);
    }

    fn validate_update(&self, new: &IPAddress, old: &IPAddress, errors: &mut FieldErrors) {
        let path = FieldPath::new("spec").child("parentRef");
        rules::immutable(&new.spec, &old.spec, holder(new), &path, errors);
    }
}

/// The address itself, spelled as everybody spells it: there must not be two objects of one.
fn name(name: &str) -> Vec<String> {
    let fault = match name.parse::<IpAddr>() {
        Err(_) => "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned(),
        Ok(address) if address.to_string() != name => {
            format!("must be in canonical form ({:?})", address.to_string())
        }
        Ok(_) => return Vec::new(),
    };
    vec![fault]
}

fn validate(parent: &ParentReference, path: &FieldPath, errors: &mut FieldErrors) {
    let group = parent.group.as_ref();
    rules::maybe_follows(group, names::dns1123_subdomain, &path.child("group"), errors);
    rules::named(&parent.resource, names::path_segment, &path.child("resource"), errors);
    rules::named(&parent.name, names::path_segment, &path.child("name"), errors);
    let namespace = parent.namespace.as_ref();
    rules::maybe_follows(namespace, names::path_segment, &path.child("namespace"), errors);
}
