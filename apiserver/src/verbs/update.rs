//! PUT.

use api_machinery::ApiError;
use api_types::api::autoscaling::v1::Scale;

use super::change;
use crate::{
    call::{Call, Given},
    respond::Response,
    state::State,
};

/// Replaces an object (or what its subresource shows of it).
pub(super) async fn update(state: &State, call: &Call) -> Result<Response, ApiError> {
    let (mut object, warnings) = if change::is_own_kind(call.info.subresource) {
        call.given()?.into_parts()
    } else {
        call.given_as::<Scale>()?.into_parts()
    };
    call.place(&mut object)?;
    let stored = change::apply(state, call, |_| Ok(object.clone())).await?;
    let mut response = change::answer(call, &stored);
    Given::warn(&warnings, &mut response);
    Ok(response)
}
