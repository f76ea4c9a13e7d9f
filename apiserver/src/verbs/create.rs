//! POST.

use api_machinery::ApiError;
use http::StatusCode;
use registry::Subresource;
use serde_json::Value;
use store::Revision;

use crate::{
    admission::Attributes,
    call::{Call, Given},
    respond::Response,
    state::State,
    storage::{Address, Stored, WriteError},
    subresources::binding,
};

/// How often another generated name is tried if one is taken.
const NAME_ATTEMPTS: usize = 8;

/// Creates an object in a collection.
pub(super) async fn create(state: &State, call: &Call) -> Result<Response, ApiError> {
    if call.info.subresource == Some(Subresource::Binding) {
        return binding::bind(state, call).await;
    }
    let (object, warnings) = call.given()?.into_parts();
    let stored = insert(state, call, object).await?;
    let mut response =
        call.presentation.answer(StatusCode::CREATED, &call.info.def, &stored.object);
    Given::warn(&warnings, &mut response);
    Ok(response)
}

/// Admits, completes and stores an object, under another name as long as the server's choice is taken.
async fn insert(state: &State, call: &Call, object: Value) -> Result<Stored, ApiError> {
    let generated =
        object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("").is_empty();
    let mut attempts = if generated { NAME_ATTEMPTS } else { 1 };
    loop {
        attempts -= 1;
        match attempt(state, call, object.clone()).await {
            Err(error) if attempts > 0 && error.is("AlreadyExists") => {}
            // Another try may be luckier.
            Err(error) if generated && error.is("AlreadyExists") => {
                return Err(ApiError::from(error).retry_after(1));
            }
            result => return Ok(result?),
        }
    }
}

async fn attempt(state: &State, call: &Call, mut object: Value) -> Result<Stored, WriteError> {
    let (context, dry_run) = (call.context(), call.dry_run()?);
    let attributes = Attributes { call, old: None, uid: &context.uid, dry_run };
    let admitted = state.admission.admit(&state.storage, &attributes, &mut object).await?;
    let def = &call.info.def;
    let stored = async {
        let object = def.create(object, &context)?;
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let at = Address { def, namespace: call.info.namespace.as_deref(), name: &name };
        if dry_run {
            state.storage.may_create(at).await?;
            return Ok(Stored { object, revision: Revision(0) });
        }
        state.storage.create(at, object).await
    };
    let result = stored.await;
    admitted.settle(&state.storage, &result).await;
    result
}
