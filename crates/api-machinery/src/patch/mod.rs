//! Patches of objects as JSON values: RFC 6902, RFC 7386, Kubernetes' strategic merge, and the three-way
//! patches of `kubectl apply`.

mod json;
mod keys;
mod strategic;
mod three_way;

use serde_json::Value;

use crate::ApiError;

pub use keys::{ListMerge, merge_key, patch_strategy};
pub use strategic::apply_strategic;
pub use three_way::{strategic_three_way, three_way};

/// The object after a JSON patch (RFC 6902).
///
/// # Errors
/// 400 if the patch is none; 413 if it has too many operations; 422 if it can't be applied, copies beyond measure or a
/// `test` fails.
pub fn apply_json(object: &Value, patch: &Value) -> Result<Value, ApiError> {
    json::apply(object, patch)
}

/// The object after a JSON merge patch (RFC 7386).
///
/// # Errors
/// 400 if the patch is no object.
pub fn apply_merge(object: &Value, patch: &Value) -> Result<Value, ApiError> {
    if !patch.is_object() {
        return Err(ApiError::bad_request("error decoding patch: a merge patch must be an object"));
    }
    let mut patched = object.clone();
    json_patch::merge(&mut patched, patch);
    Ok(patched)
}
