//! The `scale` subresource: `autoscaling/v1` Scale as a view of an object with `spec.replicas`.

use api_machinery::{ApiError, FieldErrors, FieldPath, LabelSelector, strict};
use api_types::{api::autoscaling::v1::Scale, meta};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{AnyObject, Decoded, rules};

/// Where an object has what its Scale tells: names of fields, from the outside in.
#[derive(Clone, Debug)]
pub struct ScalePaths {
    /// The wanted number of replicas.
    pub spec_replicas: Vec<String>,
    /// How many there are.
    pub status_replicas: Vec<String>,
    /// Which pods are counted.
    pub selector: SelectorPath,
}

/// Where an object has its selector.
#[derive(Clone, Debug)]
pub enum SelectorPath {
    /// As an object.
    Object(Vec<String>),
    /// As labels, all of which a pod must have.
    Labels(Vec<String>),
    /// As a text, which may be missing.
    Text(Vec<String>),
}

impl Default for ScalePaths {
    fn default() -> Self {
        let path = |outer: &str, inner: &str| vec![outer.to_owned(), inner.to_owned()];
        Self {
            spec_replicas: path("spec", "replicas"),
            status_replicas: path("status", "replicas"),
            selector: SelectorPath::Object(path("spec", "selector")),
        }
    }
}

/// The object's Scale.
///
/// # Errors
/// 500 if its selector can't be read: none at all would be taken for one that selects everything.
pub fn get(paths: &ScalePaths, object: &Value) -> Result<Value, ApiError> {
    let at = |path: &[String]| path.iter().try_fold(object, |value, name| value.get(name));
    let selector = match &paths.selector {
        SelectorPath::Object(path) => selector(at(path))?,
        SelectorPath::Labels(path) => selector(Some(&json!({"matchLabels": at(path)})))?,
        SelectorPath::Text(path) => at(path).and_then(Value::as_str).unwrap_or_default().to_owned(),
    };
    let number = |path| at(path).cloned().unwrap_or(json!(0));
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
        "spec": {"replicas": number(&paths.spec_replicas)},
        "status": {"replicas": number(&paths.status_replicas), "selector": selector},
    }))
}

fn selector(given: Option<&Value>) -> Result<String, ApiError> {
    let selector = match given {
        None | Some(Value::Null) => meta::LabelSelector::default(),
        Some(given) => meta::LabelSelector::deserialize(given).map_err(ApiError::internal)?,
    };
    Ok(LabelSelector::try_from(&selector).map_err(ApiError::internal)?.to_string())
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
/// 422 if the number is negative; 400 if the object has something else in its place.
pub fn set(paths: &ScalePaths, object: &Value, scale: &Scale) -> Result<Value, ApiError> {
    let replicas = scale.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0);
    let mut errors = FieldErrors::default();
    rules::not_negative(Some(replicas), &FieldPath::new("spec").child("replicas"), &mut errors);
    if !errors.is_empty() {
        let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        return Err(ApiError::invalid("autoscaling", "Scale", name, &errors));
    }
    let mut scaled = object.clone();
    let mut place = &mut scaled;
    for name in &paths.spec_replicas {
        if place.is_null() {
            *place = json!({});
        }
        let outer = place.as_object_mut();
        let outer = outer.ok_or_else(|| ApiError::bad_request("there is no place for replicas"))?;
        place = outer.entry(name).or_insert(Value::Null);
    }
    *place = replicas.into();
    Ok(scaled)
}
