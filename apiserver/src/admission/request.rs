//! A request, as webhooks and policies are told of it (Kubernetes: `AdmissionRequest`).

use registry::{ResourceDef, Subresource};
use serde_json::{Value, json};

use super::{
    Attributes, Operation,
    matching::{self, Seen},
};

/// All but the objects.
pub(super) fn request(attributes: &Attributes<'_>, seen: &Seen<'_>) -> Value {
    let (at, def) = (attributes.at, seen.def);
    let objects = [&*seen.object, &*seen.old];
    let is_namespace = at.def.is_core("namespaces");
    let namespace = at.namespace.or(is_namespace.then_some(at.name).filter(|n| !n.is_empty()));
    let mut request = json!({
        "kind": kind(objects, def),
        "resource": resource(def),
        "requestKind": kind(objects, def),
        "requestResource": resource(at.def),
        "operation": matching::operation(attributes.operation),
        "userInfo": attributes.identity.info(),
        "dryRun": attributes.dry_run,
        "options": options(attributes),
    });
    if !std::ptr::eq(def, at.def) && attributes.subresource.is_none() {
        request["requestKind"] = kind([&Value::Null; 2], at.def);
    }
    if let Some(subresource) = attributes.subresource.map(Subresource::name) {
        request["subResource"] = subresource.into();
        request["requestSubResource"] = subresource.into();
    }
    let named = [("name", Some(at.name).filter(|n| !n.is_empty())), ("namespace", namespace)];
    for (field, name) in named {
        if let Some(name) = name {
            request[field] = name.into();
        }
    }
    request
}

fn resource(def: &ResourceDef) -> Value {
    let names = &def.names;
    json!({ "group": names.group, "version": names.version, "resource": names.plural })
}

/// The kind of the object that is brought, or of the one that was there.
fn kind(objects: [&Value; 2], def: &ResourceDef) -> Value {
    let said = objects
        .into_iter()
        .find_map(|object| Some((object["apiVersion"].as_str()?, object["kind"].as_str()?)));
    let (version, kind) = match said {
        Some((version, kind)) => (version.to_owned(), kind),
        None => (def.api_version(), def.names.kind.as_str()),
    };
    let (group, version) = version.split_once('/').unwrap_or(("", &version));
    json!({ "group": group, "version": version, "kind": kind })
}

/// What else the sender wishes. A connection's options are its object.
fn options(attributes: &Attributes<'_>) -> Value {
    let Some(sender) = attributes.sender else { return Value::Null };
    let kind = match attributes.operation {
        Operation::Connect => return Value::Null,
        Operation::Create => "CreateOptions",
        Operation::Update if sender.is_patch => "PatchOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete => "DeleteOptions",
    };
    let mut options = json!(attributes.deletion);
    if !options.is_object() {
        options = json!({});
        for field in ["fieldManager", "fieldValidation"] {
            if let Some(given) = sender.query.get(field) {
                options[field] = given.into();
            }
        }
    }
    if attributes.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    options["kind"] = kind.into();
    options["apiVersion"] = "meta.k8s.io/v1".into();
    options
}
