//! Objects live only in namespaces that are there and are going to stay
//! (Kubernetes: `plugin/pkg/admission/namespace/lifecycle`). That it stays until the object is written is the
//! storage's affair; here it is refused before anything is done for it.

use std::sync::Arc;

use api_machinery::ApiError;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Claim, Plugin};
use crate::{
    call::Call,
    storage::{Address, Storage},
};

/// Namespaces that can't be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// See the module.
#[derive(Debug)]
pub(super) struct NamespaceLifecycle {
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for NamespaceLifecycle {
    async fn admit(
        &self,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Vec<Claim>, ApiError> {
        if attributes.is_creation() {
            let info = &attributes.call.info;
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let at = Address { def: &info.def, namespace: info.namespace.as_deref(), name };
            self.storage.namespace_of(at).await?;
        }
        Ok(Vec::new())
    }

    fn may_remove(&self, _: &Call, at: Address<'_>) -> Result<(), ApiError> {
        let is_namespace = at.def.names.group.is_empty() && at.def.names.plural == "namespaces";
        if is_namespace && IMMORTAL.contains(&at.name) {
            return Err(ApiError::forbidden(
                "",
                "namespaces",
                at.name,
                "this namespace may not be deleted",
            ));
        }
        Ok(())
    }
}
