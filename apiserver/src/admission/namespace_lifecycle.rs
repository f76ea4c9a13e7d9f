//! Objects live only in namespaces that are there and are going to stay
//! (Kubernetes: `plugin/pkg/admission/namespace/lifecycle`).

use api_machinery::ApiError;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Claim, Plugin};
use crate::{call::Call, server::Server, storage::Address};

/// Namespaces that can't be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// See the module.
#[derive(Debug)]
pub(super) struct NamespaceLifecycle;

#[async_trait]
impl Plugin for NamespaceLifecycle {
    async fn admit(
        &self,
        server: &Server,
        attributes: &Attributes<'_>,
        object: &mut Value,
    ) -> Result<Vec<Claim>, ApiError> {
        let info = &attributes.call.info;
        if let (true, Some(namespace)) = (attributes.is_creation(), info.namespace.as_deref()) {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            check(server, Address { def: &info.def, namespace: Some(namespace), name }).await?;
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

async fn check(server: &Server, at: Address<'_>) -> Result<(), ApiError> {
    let name = at.namespace.unwrap_or_default();
    let Some(namespaces) = server.catalogue.find("", "v1", "namespaces") else { return Ok(()) };
    let namespace =
        server.storage.get(Address { def: namespaces, namespace: None, name }).await?.object;
    if namespace["metadata"]["deletionTimestamp"].is_null() {
        return Ok(());
    }
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let error = ApiError::forbidden(at.def.names.group, at.def.names.plural, at.name, &why);
    let cause = format!("namespace {name} is being terminated");
    Err(error.because("NamespaceTerminating", cause, "metadata.namespace"))
}
