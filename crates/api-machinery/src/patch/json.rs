//! JSON patches (RFC 6902) within bounds: a few operations that copy could fill the memory, and many that move could nest
//! an object so deep that nobody can read it.

use std::slice;

use json_patch::{Patch, PatchOperation};
use serde_json::Value;

use crate::{
    ApiError,
    extent::{MAX_DEPTH, is_within, weight},
};

/// Kubernetes: `maxJSONPatchOperations`.
const MAX_OPERATIONS: usize = 10_000;
/// How much may be copied and moved in all.
const MAX_COPIED: usize = 8 << 20;

pub(super) fn apply(object: &Value, patch: &Value) -> Result<Value, ApiError> {
    let Patch(operations) = serde_json::from_value(patch.clone())
        .map_err(|e| ApiError::bad_request(format!("error decoding patch: {e}")))?;
    if operations.len() > MAX_OPERATIONS {
        return Err(ApiError::request_entity_too_large(format_args!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {}",
            operations.len()
        )));
    }
    let (mut patched, mut left) = (object.clone(), MAX_COPIED);
    for (index, operation) in operations.iter().enumerate() {
        if is_absent_as_tested(&patched, operation) {
            continue;
        }
        check(&patched, operation, &mut left)?;
        json_patch::patch_unsafe(&mut patched, slice::from_ref(operation)).map_err(|mut e| {
            e.operation = index;
            refused(e)
        })?;
    }
    Ok(patched)
}

/// Whether a test asks for `null` where an object has no such field, as clients do that add the first finalizer: to Kubernetes
/// that is the same.
fn is_absent_as_tested(object: &Value, operation: &PatchOperation) -> bool {
    let PatchOperation::Test(test) = operation else { return false };
    let path = test.path.as_str();
    let Some((above, _)) = path.rsplit_once('/') else { return false };
    let is_absent = || object.pointer(path).is_none();
    test.value.is_null() && is_absent() && object.pointer(above).is_some_and(Value::is_object)
}

/// Fails if an operation would copy too much or place a value too deep. One from nowhere is not judged here.
fn check(object: &Value, operation: &PatchOperation, left: &mut usize) -> Result<(), ApiError> {
    let (value, copied) = match operation {
        PatchOperation::Add(add) => (Some(&add.value), false),
        PatchOperation::Replace(replace) => (Some(&replace.value), false),
        PatchOperation::Copy(copy) => (object.pointer(copy.from.as_str()), true),
        PatchOperation::Move(moved) => (object.pointer(moved.from.as_str()), true),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    let Some(value) = value else { return Ok(()) };
    if copied {
        *left = left.checked_sub(weight(value)).ok_or_else(|| {
            refused("unable to complete the copy, the accumulated size exceeds the limit")
        })?;
    }
    let above = operation.path().as_str().matches('/').count();
    match MAX_DEPTH.checked_sub(above) {
        Some(levels) if is_within(value, levels) => Ok(()),
        _ => Err(refused("exceeded max depth")),
    }
}

fn refused(why: impl std::fmt::Display) -> ApiError {
    let why = format!("the server rejected our request due to an error in our request: {why}");
    ApiError::new(422, "Invalid", why)
}
