//! Objects live only in namespaces that are there and are going to stay
//! (Kubernetes: `plugin/pkg/admission/namespace/lifecycle`). That it stays until the object is written is the
//! storage's affair; here it is refused before anything is done for it.

use std::sync::Arc;

use api_machinery::ApiError;
use async_trait::async_trait;
use registry::AnyObject;

use super::{Attributes, Claim, Operation, Plugin};
use crate::storage::Storage;

/// Namespaces that can't be deleted.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// See the module.
#[derive(Debug)]
pub(super) struct NamespaceLifecycle {
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for NamespaceLifecycle {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        _: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let at = attributes.at;
        match attributes.operation {
            Operation::Create => self.storage.namespace_of(at).await.map(|_| Vec::new()),
            Operation::Delete
                if attributes.is_core("namespaces") && IMMORTAL.contains(&at.name) =>
            {
                let why = "this namespace may not be deleted";
                Err(ApiError::forbidden("", "namespaces", at.name, why))
            }
            _ => Ok(Vec::new()),
        }
    }
}
