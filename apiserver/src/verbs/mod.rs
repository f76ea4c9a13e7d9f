//! What can be done with objects: one file per verb, for all kinds alike.

mod change;
mod create;
mod delete;
mod deletecollection;
mod get;
mod list;
mod patch;
mod update;
mod watch;

use std::sync::Arc;

use api_machinery::ApiError;

use crate::{call::Call, request::Verb, respond::Response, server::Server};

/// Carries out a request.
pub(crate) async fn perform(server: &Arc<Server>, call: &Call) -> Result<Response, ApiError> {
    if matches!(call.info.verb, Verb::Create | Verb::Update | Verb::Patch) {
        call.check_options()?;
    }
    match call.info.verb {
        Verb::Get => get::get(server, call).await,
        Verb::List => list::list(server, call).await,
        Verb::Watch => watch::watch(server, call).await,
        Verb::Create => create::create(server, call).await,
        Verb::Update => update::update(server, call).await,
        Verb::Patch => patch::patch(server, call).await,
        Verb::Delete => delete::delete(server, call).await,
        Verb::DeleteCollection => deletecollection::delete_collection(server, call).await,
    }
}
