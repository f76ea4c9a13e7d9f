//! What has to be there before anybody is served.

use api_machinery::ApiError;

use super::{all, registration, trust_map};
use crate::{service::InProcess, state::State};

/// Has requests go by the APIServices that there are, and makes what is missing.
///
/// # Errors
/// If the store can't be read or written. What is in the way of an object is told in the log.
pub(crate) async fn begin(api: &InProcess, state: &State) -> Result<(), ApiError> {
    state.delegates.replace(&all(state));
    let begun = async {
        registration::register(api, state).await?;
        trust_map::publish(api, &state.config).await
    };
    match begun.await {
        Err(error) if error.code() < 500 => {
            tracing::warn!(%error, "the APIServices can't all be made yet");
            Ok(())
        }
        result => result,
    }
}
