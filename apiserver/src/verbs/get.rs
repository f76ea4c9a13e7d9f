//! GET of one object or subresource.

use api_machinery::ApiError;
use http::StatusCode;
use registry::{Subresource, scale};

use crate::{
    call::Call,
    query,
    respond::{self, Response},
    storage::Storage,
};

/// Reads an object. Always its latest state, which is never too old for `resourceVersion`; one that is yet to come is
/// waited for.
pub(super) async fn get(storage: &Storage, call: &Call) -> Result<Response, ApiError> {
    let at = call.address()?;
    let version = query::version(call.query.get("resourceVersion").unwrap_or_default())?;
    if let Some(version) = version.filter(|version| version.0 > 0) {
        storage.wait_for(version).await?;
    }
    match call.info.subresource {
        Some(Subresource::Scale) => {
            let stored = storage.get(at).await?;
            Ok(respond::json(StatusCode::OK, &scale::get(&at.def.scale, &stored.object)?))
        }
        _ => {
            let view = storage.view(&call.info.def);
            let json = storage.get_encoded(at, &view).await?;
            Ok(call.presentation.encoded_response(StatusCode::OK, &call.info.def, json))
        }
    }
}
