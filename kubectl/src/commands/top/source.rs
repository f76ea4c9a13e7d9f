//! Where what is used is read.

use serde_json::Value;

use crate::{Failure, api::Call, object, session::Session};

/// What is used, item by item.
pub(in crate::commands) async fn metrics(
    session: &Session,
    call: Call,
) -> Result<Vec<Value>, Failure> {
    let mapper = session.mapper().await?;
    if !mapper.resources().iter().any(|resource| resource.group == "metrics.k8s.io") {
        return Err(Failure::message("Metrics API not available"));
    }
    Ok(object::items(session.api().await?.call(call).await?))
}
