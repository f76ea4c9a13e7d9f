//! A pod that names no service account gets the one called `default`
//! (Kubernetes: `plugin/pkg/admission/serviceaccount`, of which this is the naming alone).

use api_machinery::ApiError;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Claim, Plugin};

/// See the module.
#[derive(Debug)]
pub(super) struct ServiceAccount;

#[async_trait]
impl Plugin for ServiceAccount {
    async fn admit(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Vec<Claim>, ApiError> {
        if attributes.is_creation() && attributes.is_core("pods") {
            name(object);
        }
        Ok(Vec::new())
    }
}

fn name(pod: &mut Value) {
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else { return };
    let unset = |v: Option<&Value>| v.and_then(Value::as_str).unwrap_or_default().is_empty();
    if unset(spec.get("serviceAccountName")) {
        let old_name = spec.get("serviceAccount").filter(|v| !unset(Some(v))).cloned();
        let name = old_name.unwrap_or_else(|| "default".into());
        spec.insert("serviceAccountName".to_owned(), name);
    }
}
