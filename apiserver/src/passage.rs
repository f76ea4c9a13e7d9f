//! When a request goes on that is known by its sender and its target: at once, when it is its turn, or never.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use api_machinery::ApiError;
use http::request::Parts;

use crate::{
    flow_control::{self, Flow, Limits, Passage, Wish},
    identity::Identity,
    query::Query,
    request::Target,
    state::State,
};

/// A request, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) identity: &'a Identity,
    pub(crate) target: &'a Target,
    pub(crate) query: &'a Query,
    pub(crate) parts: &'a Parts,
}

/// Lets a request on when it is its turn, and notes by what that was decided. Streams are not counted; of watches, what they
/// begin with is. `patience`: how long the answer may take, of what is no watch.
///
/// # Errors
/// 429 if there are too many.
pub(crate) async fn enter(
    state: &State,
    Request { identity, target, query, parts }: Request<'_>,
    patience: Result<Duration, ApiError>,
    flow: &OnceLock<Arc<Flow>>,
) -> Result<Passage, ApiError> {
    let is_watch = target.is_watch();
    let control = match &state.limits {
        _ if target.is_long_running() && !is_watch => return Ok(Passage::Free),
        Limits::InFlight(_) if is_watch => return Ok(Passage::Free),
        Limits::InFlight(limits) => {
            return limits.admit(identity, target.is_write()).map(Passage::Place);
        }
        Limits::Fair(control) => control,
    };
    let digest = flow_control::digest(identity, target, &parts.method, parts.uri.path());
    let flow = flow.get_or_init(|| control.classify(&digest));
    let seats = match flow.is_limited() {
        true => flow_control::width(target, query, &state.storage),
        false => 1,
    };
    let patience = if is_watch { state.config.request_timeout } else { patience? };
    flow.admit(&digest, Wish { seats, is_watch, patience }).await.map(Passage::Seats)
}
