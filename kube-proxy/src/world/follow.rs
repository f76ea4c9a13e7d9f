//! Kinds as stores that are kept up to date.

use std::{fmt::Debug, hash::Hash, sync::Arc};

use futures::{Stream, StreamExt};
use kube::{
    Resource,
    runtime::{
        WatchStreamExt,
        reflector::{self, Store},
        watcher::{self, Event},
    },
};
use listwatch::{ListWatch, Scope};
use serde::de::DeserializeOwned;
use tracing::warn;

use crate::wake::Wake;

/// A kind as a store, and what keeps it up to date and calls `wakes`.
pub fn follow<K>(
    listwatch: &ListWatch,
    wakes: Vec<Arc<Wake>>,
) -> (Store<K>, impl Future<Output = ()> + use<K>)
where
    K: Resource<DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + Sync + 'static,
    K::DynamicType: Default + Clone + Eq + Hash,
{
    let (store, writer) = reflector::store();
    let events = listwatch.watch::<K>(Scope::All).reflect(writer);
    (store, async move { wake_on_changes(events, &wakes, |_| ()).await })
}

/// The same without calling anybody: the events pass.
pub(super) fn reflected<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static,
) -> (Store<K>, impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static)
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let (store, writer) = reflector::store();
    (store, events.reflect(writer))
}

/// Single objects of a list that is under way do not count: the store changes when it is complete.
pub(super) async fn wake_on_changes<K>(
    events: impl Stream<Item = watcher::Result<Event<K>>>,
    wakes: &[Arc<Wake>],
    note: impl Fn(&Event<K>),
) {
    let mut events = std::pin::pin!(events);
    while let Some(event) = events.next().await {
        match event {
            Ok(Event::Init | Event::InitApply(_)) => {}
            Ok(change) => {
                note(&change);
                wakes.iter().for_each(|wake| wake.changed());
            }
            Err(error) => warn!(%error, "watching"),
        }
    }
}
