//! PATCH: JSON, merge and strategic merge patches, told apart by content type.

use api_machinery::{ApiError, decode, patch as machinery};
use bytes::Bytes;
use registry::ResourceDef;
use serde_json::Value;

use super::change;
use crate::{
    body, call::Call, objects::Objects, respond::Response, state::WritePath, storage::Stored,
};

const MANAGED_FIELDS: &[u8] = b"managedFields";

/// The kinds of patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PatchType {
    Json,
    Merge,
    Strategic,
}

/// Patches an object. The patch is applied anew to the latest state whenever somebody else wrote in between.
pub(super) async fn patch(
    path: WritePath<'_>,
    objects: Objects<'_>,
    call: &Call,
) -> Result<Response, ApiError> {
    let patch_type = patch_type(body::media_type(&call.headers), &call.info.def)?;
    let (patch, faults) = given(patch_type, &call.body)?;
    let speaks_of_managers = call.body.windows(MANAGED_FIELDS.len()).any(|it| it == MANAGED_FIELDS);
    let wanted = |old: &Stored| {
        let patched = applied(patch_type, &*change::view(call, old, speaks_of_managers)?, &patch)?;
        let mut given = call.decode(patched, faults.clone(), Some(&old.object))?;
        if !names_version(&patch, patch_type) {
            given.object.metadata_mut().resource_version = None;
        }
        Ok(given)
    };
    change::apply(path, objects, call, wanted).await
}

/// The patch, and what it says twice.
fn given(patch_type: PatchType, body: &Bytes) -> Result<(Value, Vec<String>), ApiError> {
    let decoded = decode::json(body)
        .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
    let what = if patch_type == PatchType::Json { "json patch " } else { "" };
    let faults = decoded.faults().iter().map(|fault| format!("{what}{fault}")).collect();
    Ok((decoded.value, faults))
}

fn patch_type(media_type: &str, def: &ResourceDef) -> Result<PatchType, ApiError> {
    match media_type {
        "application/json-patch+json" => Ok(PatchType::Json),
        "application/merge-patch+json" => Ok(PatchType::Merge),
        "application/strategic-merge-patch+json" if def.knows_list_merges() => {
            Ok(PatchType::Strategic)
        }
        _ => {
            let strategic = ", application/strategic-merge-patch+json";
            Err(ApiError::unsupported_media_type(format!(
                "the body of the request was in an unknown format - accepted media types include: \
                 application/json-patch+json, application/merge-patch+json{}, application/apply-patch+yaml, \
                 application/apply-patch+cbor",
                if def.knows_list_merges() { strategic } else { "" },
            )))
        }
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
fn names_version(patch: &Value, patch_type: PatchType) -> bool {
    match patch_type {
        PatchType::Json => patch
            .as_array()
            .into_iter()
            .flatten()
            .any(|operation| operation["path"] == "/metadata/resourceVersion"),
        PatchType::Merge | PatchType::Strategic => {
            patch.pointer("/metadata/resourceVersion").is_some()
        }
    }
}
