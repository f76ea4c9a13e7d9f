//! `pods/binding`: the scheduler's choice of a node, made once and for all
//! (Kubernetes: `pkg/registry/core/pod/storage/storage.go`, `assignPod`).

use api_machinery::ApiError;
use api_types::{
    api::core::v1::{Binding, Pod},
    jiff::Timestamp,
};
use registry::AnyObject;
use serde_json::json;

use crate::{
    admission::{Attributes, Operation},
    call::Call,
    respond::{self, Response},
    state::WritePath,
    storage::{Address, Stored},
};

/// Assigns a pod to a node.
pub(crate) async fn bind(
    path: WritePath<'_>,
    call: &Call,
    mut given: AnyObject,
    warnings: &[String],
) -> Result<Response, ApiError> {
    let name = given.metadata().name.clone().unwrap_or_default();
    let (namespace, dry_run) = (call.info.namespace.as_deref(), call.dry_run()?);
    let at = Address { def: &call.info.def, namespace, name: &name };
    let attributes = Attributes { dry_run, ..call.attributes(Operation::Create, at, "", None) };
    path.admission.admit(path.storage, &attributes, Some(&mut given)).await?;
    let binding = given.get::<Binding>().ok_or_else(|| ApiError::internal("no Binding"))?;
    let attempt = |old: Stored| async move {
        let mut pod = old.typed(at.def)?;
        let assigned = pod.get_mut::<Pod>().ok_or_else(|| ApiError::internal("no Pod"))?;
        registry::bind(assigned, binding, Timestamp::now())?;
        if dry_run {
            return path.storage.confirm(at, &old).await;
        }
        path.storage.update(at, &old, &mut pod).await.map(drop)
    };
    path.storage.compare_and_swap(at, attempt).await?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    Ok(respond::created(&status, warnings))
}
