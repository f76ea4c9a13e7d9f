//! PATCH: JSON, merge and strategic merge patches, told apart by content type.

use api_machinery::{ApiError, decode, patch as machinery};
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;

use super::change;
use crate::{
    body,
    call::{self, Call, Given},
    respond::Response,
    state::State,
};

/// The kinds of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatchType {
    Json,
    Merge,
    Strategic,
}

/// Patches an object. The patch is applied anew to the latest state whenever somebody else wrote in between.
pub(super) async fn patch(state: &State, call: &Call) -> Result<Response, ApiError> {
    let patch_type = patch_type(body::media_type(&call.headers))?;
    let (patch, faults) = given(patch_type, &call.body)?;
    let warnings = Mutex::new(Vec::new());
    let stored = change::apply(state, call, |current| {
        let patched = applied(patch_type, current, &patch)?;
        let (mut object, told) = if change::is_own_kind(call.info.subresource) {
            call.checked(patched, faults.clone())?.into_parts()
        } else {
            (patched, faults.clone())
        };
        *warnings.lock() = told;
        unpin_version(&patch, &mut object, patch_type);
        call.place(&mut object)?;
        Ok(object)
    })
    .await?;
    let mut response = change::answer(call, &stored);
    Given::warn(&warnings.into_inner(), &mut response);
    Ok(response)
}

/// The patch, and what it says twice.
fn given(patch_type: PatchType, body: &Bytes) -> Result<(Value, Vec<String>), ApiError> {
    let decoded = decode::json(body)
        .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
    let what = if patch_type == PatchType::Json { "json patch " } else { "" };
    let faults = decoded.duplicates.iter().map(|f| format!("{what}{}", call::duplicate(f)));
    Ok((decoded.value, faults.collect()))
}

fn patch_type(media_type: &str) -> Result<PatchType, ApiError> {
    match media_type {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" => Ok(PatchType::Strategic),
        "application/apply-patch+yaml" => Err(ApiError::unsupported_media_type(
            "server-side apply (application/apply-patch+yaml) is not supported by this server; \
             use a client-side apply",
        )),
        _ => Err(ApiError::unsupported_media_type(
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, \
             application/strategic-merge-patch+json",
        )),
    }
}

fn applied(patch_type: PatchType, current: &Value, patch: &Value) -> Result<Value, ApiError> {
    match patch_type {
        PatchType::Json => machinery::apply_json(current, patch),
        PatchType::Merge => machinery::apply_merge(current, patch),
        PatchType::Strategic => machinery::apply_strategic(current, patch),
    }
}

/// A patch holds whatever version the object has, unless it names one.
fn unpin_version(patch: &Value, object: &mut Value, patch_type: PatchType) {
    let names_version = match patch_type {
        PatchType::Json => patch
            .as_array()
            .into_iter()
            .flatten()
            .any(|operation| operation["path"] == "/metadata/resourceVersion"),
        PatchType::Merge | PatchType::Strategic => {
            patch.pointer("/metadata/resourceVersion").is_some()
        }
    };
    if !names_version
        && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.remove("resourceVersion");
    }
}
