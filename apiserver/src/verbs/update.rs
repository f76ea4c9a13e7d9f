//! PUT.

use api_machinery::ApiError;

use super::change;
use crate::{call::Call, objects::Objects, respond::Response, state::WritePath, storage::Stored};

/// Replaces an object (or what its subresource shows of it).
pub(super) async fn update(
    path: WritePath<'_>,
    objects: Objects<'_>,
    call: &Call,
) -> Result<Response, ApiError> {
    let (given, faults) = call.body()?;
    // What is no object is refused whether or not there is one to be replaced.
    call.decode(given.clone(), faults.clone(), None)?;
    let wanted = |old: &Stored| call.decode(given.clone(), faults.clone(), Some(&old.object));
    change::apply(path, objects, call, wanted).await
}
