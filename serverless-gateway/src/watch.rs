//! From the API server to the [`Functions`].

use std::fmt::Debug;

use component::Check;
use futures::{Stream, StreamExt, future};
use kube::runtime::watcher::{self, Event};
use listwatch::{ListWatch, Scope};
use tracing::warn;

use crate::functions::Functions;

/// Keeps the functions up to date for as long as it is polled. `check` is ready from the first complete
/// lists on: through an outage of the API server, what is known is served.
pub async fn watch(listwatch: &ListWatch, functions: &Functions, check: &Check) {
    let note = |functions: &Functions| {
        if functions.are_known() {
            check.ready();
        }
    };
    let of_functions = follow(listwatch.watch(Scope::All), |event| {
        functions.function(event);
        note(functions);
    });
    let of_pods = follow(listwatch.watch(Scope::All), |event| {
        functions.pod(event);
        note(functions);
    });
    future::join(of_functions, of_pods).await;
}

async fn follow<K: Debug>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    take: impl Fn(Event<K>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(event) => take(event),
            Err(error) => warn!(%error, "watching"),
        }
    }
}
