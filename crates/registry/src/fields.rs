//! What field selectors can name: fields of the kind's own, and the name and namespace that every kind has.

use serde_json::Value;

use crate::{any_object::AnyObject, description::Scope, erased::ErasedKind};

const COMMON: [(&str, &str); 2] =
    [("metadata.name", "/metadata/name"), ("metadata.namespace", "/metadata/namespace")];

fn common(scope: Scope) -> &'static [(&'static str, &'static str)] {
    match scope {
        Scope::Cluster => &COMMON[..1],
        Scope::Namespaced => &COMMON,
    }
}

/// The names of the fields.
pub(crate) fn names(kind: &dyn ErasedKind, scope: Scope) -> Vec<String> {
    let common = common(scope).iter().map(|(name, _)| (*name).to_owned());
    kind.field_names().into_iter().chain(common).collect()
}

/// What they are in an object, in the same order.
pub(crate) fn values(kind: &dyn ErasedKind, scope: Scope, object: &AnyObject) -> Vec<String> {
    let mut values = kind.field_values(object);
    let meta = object.metadata();
    values.push(meta.name.clone().unwrap_or_default());
    if scope == Scope::Namespaced {
        values.push(meta.namespace.clone().unwrap_or_default());
    }
    values
}

/// The same of what is stored.
pub(crate) fn stored_values(kind: &dyn ErasedKind, scope: Scope, object: &Value) -> Vec<String> {
    let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let common = common(scope).iter().map(|(_, path)| text(path));
    kind.stored_field_values(object).into_iter().chain(common).collect()
}
