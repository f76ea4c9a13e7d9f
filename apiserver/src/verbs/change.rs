//! What PUT and PATCH share: what becomes of an object between reading and writing it.

use api_machinery::ApiError;
use http::StatusCode;
use registry::{Subresource, scale};
use serde_json::Value;

use crate::{
    admission::Attributes,
    call::Call,
    query,
    respond::{self, Response},
    state::State,
    storage::{Address, Stored, WriteError},
};

/// Whether the representation behind a path is of the resource's own kind.
pub(super) fn is_own_kind(subresource: Option<Subresource>) -> bool {
    subresource != Some(Subresource::Scale)
}

/// What a client sees of an object through the path.
pub(super) fn view(call: &Call, object: &Value) -> Result<Value, ApiError> {
    match call.info.subresource {
        Some(Subresource::Scale) => scale::get(object),
        _ => Ok(object.clone()),
    }
}

/// The answer to a change.
pub(super) fn answer(call: &Call, stored: &Stored) -> Response {
    match view(call, &stored.object) {
        Err(error) => respond::failure(&error),
        Ok(object) if is_own_kind(call.info.subresource) => {
            call.presentation.answer(StatusCode::OK, &call.info.def, &object)
        }
        Ok(object) => respond::json(StatusCode::OK, &object),
    }
}

/// Changes the object of the call's path.
///
/// *Flow*: read → `wanted` makes the state that the client wants of the state there is → preconditions →
/// admission → the kind's strategy → compare-and-swap; from the start if somebody else wrote meanwhile.
/// *Errors*: 409 if the client named a version or UID that isn't (any more) the object's.
pub(super) async fn apply(
    state: &State,
    call: &Call,
    wanted: impl Fn(&Value) -> Result<Value, ApiError>,
) -> Result<Stored, ApiError> {
    let (at, wanted) = (call.address()?, &wanted);
    let attempt = |old: Stored| async move {
        let new = wanted(&view(call, &old.object)?)?;
        check_version(at, &old, &new)?;
        at.def.check_uid(&old.object, &new)?;
        attempt(state, call, at, &old, new).await
    };
    state.storage.compare_and_swap(at, attempt).await
}

async fn attempt(
    state: &State,
    call: &Call,
    at: Address<'_>,
    old: &Stored,
    mut new: Value,
) -> Result<Stored, WriteError> {
    let dry_run = call.dry_run()?;
    let uid = old.object["metadata"]["uid"].as_str().unwrap_or_default();
    let attributes = Attributes { call, old: Some(&old.object), uid, dry_run };
    let admitted = state.admission.admit(&state.storage, &attributes, &mut new).await?;
    let result = async {
        let object = strategy(call, &old.object, new)?;
        if dry_run {
            state.storage.confirm(at, old).await?;
            return Ok(Stored::at(object, old.revision));
        }
        write(state, at, old, object).await
    };
    let result = result.await;
    admitted.settle(&state.storage, &result).await;
    result
}

/// Passes the wanted state through the strategy of the kind or subresource.
fn strategy(call: &Call, old: &Value, new: Value) -> Result<Value, ApiError> {
    let def = &call.info.def;
    match call.info.subresource {
        None => def.update(old, new, &call.context()),
        Some(Subresource::Status) => def.update_status(old, new),
        Some(Subresource::Scale) => def.update(old, scale::set(old, &new)?, &call.context()),
        Some(Subresource::Finalize) => def.finalize(old, new),
        Some(Subresource::Binding | Subresource::Log) => Err(ApiError::method_not_allowed()),
    }
}

/// Writes the object, or removes it if this change took away the last that its deletion waited for.
async fn write(
    state: &State,
    at: Address<'_>,
    old: &Stored,
    object: Value,
) -> Result<Stored, WriteError> {
    if !at.def.is_finished(&object)? {
        let stored = state.storage.update(at, old, object).await?;
        state.admission.changed(at.def, &old.object, &stored.object).await;
        return Ok(stored);
    }
    let revision = state.storage.remove(at, old.revision).await?;
    state.admission.removed(at.def, &object).await;
    Ok(Stored { object, revision })
}

/// A version in the object is the one that the client takes it to have.
fn check_version(at: Address<'_>, old: &Stored, new: &Value) -> Result<(), ApiError> {
    let given = new["metadata"]["resourceVersion"].as_str().unwrap_or_default();
    match query::version(given)? {
        Some(version) if version.0 != 0 && version != old.revision => Err(at.modified()),
        _ => Ok(()),
    }
}
