//! An object that admission has changed.

use api_machinery::{ApiError, strict};
use api_types::api::{authentication::v1::TokenRequest, core::v1::Binding, policy::v1::Eviction};
use registry::{AnyObject, Object, Subresource, scale};
use serde_json::Value;

use super::{Attributes, Operation};

/// The object that comes of a patch, as if its sender had brought it.
pub(super) fn decoded(attributes: &Attributes<'_>, value: Value) -> Result<AnyObject, ApiError> {
    let at = attributes.at;
    let mut object = match attributes.subresource {
        Some(Subresource::Scale) => scale::decode(&value)?.object,
        Some(Subresource::Binding) => of_type::<Binding>(&value)?,
        Some(Subresource::Eviction) => of_type::<Eviction>(&value)?,
        Some(Subresource::Token) => of_type::<TokenRequest>(&value)?,
        _ => at.def.decode(value, None)?.object,
    };
    let is_new = attributes.operation == Operation::Create;
    let name = (!is_new || attributes.subresource.is_some()).then_some(at.name);
    registry::place(object.metadata_mut(), at.namespace, name.filter(|name| !name.is_empty()))?;
    if attributes.subresource.is_none() {
        at.def.default(&mut object);
    }
    Ok(object)
}

fn of_type<K: Object>(value: &Value) -> Result<AnyObject, ApiError> {
    strict::decode::<K>(value).map(AnyObject::new).map_err(ApiError::internal)
}
