//! Objects live only in namespaces that are there and are going to stay
//! (Kubernetes: `plugin/pkg/admission/namespace/lifecycle`).

use std::time::Duration;

use api_machinery::ApiError;
use async_trait::async_trait;
use serde_json::Value;

use super::{Attributes, Claim, Plugin};
use crate::{
    call::Call,
    encoded::{CachedObject, readable},
    server::Server,
    storage::Address,
};

/// Namespaces that can't be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// How often a namespace that is going is looked at.
const LOOK: Duration = Duration::from_secs(1);

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
            let at = Address { def: &info.def, namespace: Some(namespace), name };
            check(server, at).await?;
        }
        Ok(Vec::new())
    }

    /// A namespace that is active after the object was stored will be looked through before it goes. One that is
    /// going may have been already: until it is gone, the object is the namespace controller's to delete, in its own
    /// time and past its finalizers; then nobody will look there again.
    async fn confirm(&self, server: &Server, at: Address<'_>) -> Result<(), ApiError> {
        if is_known_active(server, at) {
            return Ok(());
        }
        let mut known = None;
        while let Some(namespace) = namespace_of(server, at).await? {
            let uid = namespace["metadata"]["uid"].clone();
            if known.replace(uid.clone()).is_some_and(|known| known != uid) {
                return Err(ApiError::not_found(
                    "",
                    "namespaces",
                    at.namespace.unwrap_or_default(),
                ));
            }
            if !is_terminating(&namespace) {
                return Ok(());
            }
            tokio::select! {
                () = server.shutdown.cancelled() => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        Ok(())
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

/// Whether the cache knows the namespace as one that stays.
fn is_known_active(server: &Server, at: Address<'_>) -> bool {
    let Some(name) = at.namespace else { return true };
    let Some(namespaces) = server.catalogue.find("", "v1", "namespaces") else { return false };
    let namespace = server.storage.cache().get(&namespaces.key(None, name));
    let is_active = |item: &CachedObject| {
        readable(item).is_ok_and(|o| o.field("status.phase") == Some("Active"))
    };
    namespace.as_ref().is_some_and(is_active)
}

/// The namespace as the store has it; `None` for objects that need none.
async fn namespace_of(server: &Server, at: Address<'_>) -> Result<Option<Value>, ApiError> {
    let Some(name) = at.namespace else { return Ok(None) };
    let Some(namespaces) = server.catalogue.find("", "v1", "namespaces") else { return Ok(None) };
    let address = Address { def: namespaces, namespace: None, name };
    Ok(Some(server.storage.get(address).await?.object))
}

fn is_terminating(namespace: &Value) -> bool {
    !namespace["metadata"]["deletionTimestamp"].is_null()
}

/// Fails unless the namespace is there and going to stay, as the store has it.
async fn check(server: &Server, at: Address<'_>) -> Result<(), ApiError> {
    let Some(namespace) = namespace_of(server, at).await? else { return Ok(()) };
    if !is_terminating(&namespace) {
        return Ok(());
    }
    let name = at.namespace.unwrap_or_default();
    let why =
        format!("unable to create new content in namespace {name} because it is being terminated");
    let error = ApiError::forbidden(at.def.names.group, at.def.names.plural, at.name, &why);
    let cause = format!("namespace {name} is being terminated");
    Err(error.because("NamespaceTerminating", cause, "metadata.namespace"))
}
