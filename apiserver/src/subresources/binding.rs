//! `pods/binding`: the scheduler's choice of a node, made once and for all
//! (Kubernetes: `pkg/registry/core/pod/storage/storage.go`, `assignPod`).

use api_machinery::ApiError;
use api_types::{api::core::v1::Binding, jiff::Timestamp};
use http::StatusCode;
use serde_json::json;

use crate::{
    call::{Call, Given},
    respond::{self, Response},
    state::State,
    storage::{Address, Stored},
};

/// Assigns a pod to a node.
pub(crate) async fn bind(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (mut given, warnings) = call.given_as::<Binding>()?.into_parts();
    call.place(&mut given)?;
    let binding: Binding = serde_json::from_value(given)
        .map_err(|error| ApiError::bad_request(format!("the body is no Binding: {error}")))?;
    let name = binding.metadata.name.as_deref().unwrap_or_default();
    let at = Address { def: &call.info.def, namespace: call.info.namespace.as_deref(), name };
    state.storage.namespace_of(at).await?;
    let (binding, dry_run) = (&binding, call.dry_run()?);
    let attempt = |old: Stored| async move {
        let pod = registry::bind(&old.object, binding, Timestamp::now())?;
        if dry_run {
            return state.storage.confirm(at, &old).await;
        }
        state.storage.update(at, &old, pod).await.map(drop)
    };
    state.storage.compare_and_swap(at, attempt).await?;
    Ok(created(&warnings))
}

fn created(warnings: &[String]) -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    let mut response = respond::json(StatusCode::CREATED, &status);
    Given::warn(warnings, &mut response);
    response
}
