//! Kinds that an API server may not have.

use std::fmt::Debug;

use futures::{Stream, StreamExt, stream};
use kube::runtime::watcher::{self, Event};

/// An API server that has no such kind has no objects of it; whether it has come to have it is looked at again and again.
pub fn absent_is_empty<K: Debug>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
) -> impl Stream<Item = watcher::Result<Event<K>>> {
    events.flat_map(|event| match event {
        Err(watcher::Error::InitialListFailed(kube::Error::Api(status))) if status.code == 404 => {
            stream::iter(vec![Ok(Event::Init), Ok(Event::InitDone)])
        }
        event => stream::iter(vec![event]),
    })
}
