//! What can be done with objects: one file per verb, for all kinds alike.

mod apply;
mod change;
mod computed;
mod create;
mod delete;
mod deletecollection;
mod get;
mod list;
mod managed_fields;
mod patch;
mod update;
mod warnings;
mod watch;

use std::sync::Arc;

use api_machinery::ApiError;
use registry::Subresource;

use crate::{
    call::Call,
    request::Verb,
    respond::Response,
    state::State,
    subresources::{connection, log},
    websocket::{Framing, framed},
};

/// Carries out a request.
pub(crate) async fn perform(state: &Arc<State>, call: &Call) -> Result<Response, ApiError> {
    if call.info.subresource.is_some_and(Subresource::connects) {
        return connection::open(state, call).await;
    }
    if matches!(call.info.verb, Verb::Create | Verb::Update | Verb::Patch) {
        call.check_options()?;
    }
    let (path, objects) = (state.write_path(), state.objects());
    match call.info.verb {
        Verb::Get if call.info.subresource == Some(Subresource::Log) => {
            let log = log::stream(objects, state.config.kubelet_client.as_ref(), call).await?;
            framed(call, &state.shutdown, Framing::Bytes, log).await
        }
        Verb::Get if call.info.def.is_computed => computed::get(state, call).await,
        Verb::List if call.info.def.is_computed => computed::list(state, call).await,
        Verb::Get => get::get(&state.storage, call).await,
        Verb::List => list::list(&state.storage, call).await,
        Verb::Watch => {
            let changes = watch::watch(state, call).await?;
            let framing = Framing::Events(call.presentation.media);
            framed(call, &state.shutdown, framing, changes).await
        }
        Verb::Create => create::create(state, call).await,
        Verb::Update => update::update(state, call).await,
        Verb::Patch if call.applies() => apply::apply(state, call).await,
        Verb::Patch => patch::patch(path, objects, call).await,
        Verb::Delete => delete::delete(path, call).await,
        Verb::DeleteCollection => deletecollection::delete_collection(path, call).await,
    }
}
