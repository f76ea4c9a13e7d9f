//! The `scale` subresource: `autoscaling/v1` Scale as a view of an object with `spec.replicas`.

use api_machinery::{ApiError, FieldErrors, FieldPath, LabelSelector, strict};
use api_types::{api::autoscaling::v1::Scale, meta};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{AnyObject, Decoded, rules};

/// The object's Scale.
///
/// # Errors
/// 500 if its selector can't be read: none at all would be taken for one that selects everything.
pub fn get(object: &Value) -> Result<Value, ApiError> {
    let selector = match object.pointer("/spec/selector") {
        None | Some(Value::Null) => meta::LabelSelector::default(),
        Some(given) => meta::LabelSelector::deserialize(given).map_err(ApiError::internal)?,
    };
    let selector = LabelSelector::try_from(&selector).map_err(ApiError::internal)?.to_string();
    let number = |path| object.pointer(path).cloned().unwrap_or(json!(0));
    let meta = |field: &str| object["metadata"].get(field).cloned().unwrap_or_default();
    Ok(json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": meta("name"),
            "namespace": meta("namespace"),
            "uid": meta("uid"),
            "resourceVersion": meta("resourceVersion"),
            "creationTimestamp": meta("creationTimestamp"),
        },
        "spec": {"replicas": number("/spec/replicas")},
        "status": {"replicas": number("/status/replicas"), "selector": selector},
    }))
}

/// The Scale that a client gave.
///
/// # Errors
/// 400 if it isn't a Scale.
pub fn decode(given: &Value) -> Result<Decoded, ApiError> {
    let text = |field: &str| given.get(field).and_then(Value::as_str).unwrap_or_default();
    if !matches!((text("apiVersion"), text("kind")), ("autoscaling/v1" | "", "Scale" | "")) {
        return Err(ApiError::bad_request("expected an autoscaling/v1 Scale"));
    }
    let (scale, unknown) = strict::decode_strictly::<Scale>(given).map_err(|error| {
        ApiError::bad_request(format!(
            "Scale in version \"autoscaling/v1\" cannot be handled as a Scale: {error}"
        ))
    })?;
    Ok(Decoded { object: AnyObject::new(scale), unknown })
}

/// The object with the Scale's number of replicas. It still has to pass through the stages of an update.
///
/// # Errors
/// 422 if the number is negative.
pub fn set(object: &Value, scale: &Scale) -> Result<Value, ApiError> {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let mut errors = FieldErrors::default();
    rules::not_negative(Some(replicas), &FieldPath::new("spec").child("replicas"), &mut errors);
    if !errors.is_empty() {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        return Err(ApiError::invalid("autoscaling", "Scale", name, &errors));
    }
    let mut scaled = object.clone();
    scaled["spec"]["replicas"] = replicas.into();
    Ok(scaled)
}
