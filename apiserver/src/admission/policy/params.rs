//! The objects that are a policy's parameters (Kubernetes: `CollectParams`).

use api_machinery::LabelSelector;
use api_types::api::admissionregistration::v1::{ParamKind, ParamRef};
use registry::{ResourceDef, Scope};
use serde_json::Value;

use crate::{
    admission::{Attributes, matching},
    catalogue::Catalogue,
    encoded::{self, CachedObject, Encoded},
    storage::Storage,
};

/// One, which may be null, for each time that the policy is to be asked; fails with what is wrong with the binding.
pub(super) async fn collect(
    (kind, reference): (Option<&ParamKind>, Option<&ParamRef>),
    catalogue: &Catalogue,
    storage: &Storage,
    attributes: &Attributes<'_>,
) -> Result<Vec<Value>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(vec![Value::Null]) };
    let def = definition(kind, catalogue)?;
    let given = reference.namespace.as_deref().filter(|it| !it.is_empty());
    let namespace = match def.scope == Scope::Namespaced {
        true => Some(given.or(attributes.at.namespace).ok_or(
            "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
        )?),
        false if given.is_some() => {
            return Err(
                "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned()
            );
        }
        false => None,
    };
    let name = reference.name.as_deref().filter(|it| !it.is_empty());
    let found: Vec<Value> = match name {
        Some(name) => {
            let cached = storage.cache().get(&def.key(namespace, name));
            cached.map(|item| object(&item)).transpose()?.into_iter().collect()
        }
        None => {
            selected(&matching::selector(reference.selector.as_ref()), def, namespace, storage)?
        }
    };
    let mut converted = Vec::new();
    for object in found {
        let object = storage.converted(object, def).await;
        converted.push(object.map_err(|error| error.to_string())?);
    }
    if converted.is_empty() && reference.parameter_not_found_action.as_deref() != Some("Allow") {
        let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
        return Err(why.to_owned());
    }
    Ok(converted)
}

fn selected(
    selector: &LabelSelector,
    def: &ResourceDef,
    namespace: Option<&str>,
    storage: &Storage,
) -> Result<Vec<Value>, String> {
    // Others can be among them.
    let snapshot = storage.cache().list_having(&def.prefix(namespace), selector.required());
    let mut found = Vec::new();
    for item in snapshot.items.iter() {
        let encoded = encoded::readable(item).map_err(|error| error.to_string())?;
        if selector.selects(|name| encoded.label(name)) {
            found.push(object(item)?);
        }
    }
    Ok(found)
}

/// One that can't be read may be one that is meant: it is not passed over.
fn object(item: &CachedObject) -> Result<Value, String> {
    encoded::readable(item).map(Encoded::value).map_err(|error| error.to_string())
}

/// The resource of a kind, in the version that is named.
pub(super) fn definition<'a>(
    kind: &ParamKind,
    catalogue: &'a Catalogue,
) -> Result<&'a ResourceDef, String> {
    let version = kind.api_version.as_deref().unwrap_or_default();
    let name = kind.kind.as_deref().unwrap_or_default();
    let mut known = catalogue.iter().map(AsRef::as_ref);
    let found =
        known.find(|def: &&ResourceDef| def.api_version() == version && *def.names.kind == *name);
    found.ok_or_else(|| format!("paramKind kind `{version}, Kind={name}` not known"))
}
