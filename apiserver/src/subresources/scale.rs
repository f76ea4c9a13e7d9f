//! `scale`: the number of replicas of any kind that has one, seen as `autoscaling/v1` Scale.

use api_machinery::ApiError;
use serde_json::{Value, json};

/// The scale of an object.
pub(crate) fn of(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let kept = ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"];
    let metadata: serde_json::Map<_, _> =
        kept.iter().map(|&f| (f.to_owned(), metadata[f].clone())).collect();
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": { "replicas": replicas(object, "/spec/replicas") },
        "status": {
            "replicas": replicas(object, "/status/replicas"),
            "selector": selector(object),
        },
    })
}

/// The object with the replicas of a scale.
pub(crate) fn applied(object: &Value, scale: &Value) -> Result<Value, ApiError> {
    let wanted = match &scale["spec"]["replicas"] {
        Value::Null => 0,
        given => {
            given.as_i64().filter(|r| (0..=i64::from(i32::MAX)).contains(r)).ok_or_else(|| {
                let fault = "must be greater than or equal to 0";
                ApiError::new(
                    422,
                    "Invalid",
                    format!("spec.replicas: Invalid value: {given}: {fault}"),
                )
            })?
        }
    };
    let mut object = object.clone();
    object["spec"]["replicas"] = wanted.into();
    Ok(object)
}

fn replicas(object: &Value, path: &str) -> i64 {
    object.pointer(path).and_then(Value::as_i64).unwrap_or(0)
}

/// The selector in the form of a query, for whoever counts the pods.
fn selector(object: &Value) -> String {
    let selector = serde_json::from_value(object["spec"]["selector"].clone()).ok();
    selector
        .and_then(|s| api_machinery::selector::LabelSelector::try_from(&s).ok())
        .map(|s| s.to_string())
        .unwrap_or_default()
}
