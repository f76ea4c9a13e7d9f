//! Every change goes to its topic as well. Publishing neither waits nor fails; who misses a message notices.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use listwatch::{Change as Message, ChangeType, Publisher};
use store::{
    StoreError,
    cache::{Change, Subscription},
};

use crate::{
    encoded::{CachedObject, Decoded, Encoded},
    history,
    state::State,
};

/// How long to wait for a store that can't be written.
const PAUSE: Duration = Duration::from_secs(1);

/// Publishes all changes from now on, until the server stops.
pub(crate) async fn run(state: Arc<State>, publisher: Publisher) {
    tokio::select! {
        () = state.shutdown.cancelled() => {}
        () = publish_all(&state, &publisher) => {}
    }
}

/// A source that breaks off begins anew, and says so to the publisher: what is in the store now need not be the
/// continuation of what was published.
async fn publish_all(state: &State, publisher: &Publisher) {
    loop {
        if let Err(error) = publish_history(state, publisher).await {
            tracing::warn!(%error, "changes can't be published");
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn publish_history(state: &State, publisher: &Publisher) -> Result<(), StoreError> {
    history::begin(&state.storage).await?;
    let cache = state.storage.cache();
    let since = cache.revision();
    let changes = cache.subscribe_all(since)?;
    let resources = state.catalogue.iter().map(|d| (d.names.group, d.names.plural));
    publisher.begin(history::current(&state.storage), since.0, resources);
    declare_nodes(state, publisher);
    follow(state, publisher, changes).await;
    Ok(())
}

fn declare_nodes(state: &State, publisher: &Publisher) {
    let Some(def) = state.catalogue.find("", "v1", "nodes") else { return };
    for node in state.storage.cache().list(&def.prefix(None)).items.iter() {
        let name = node.object.as_ref().ok().and_then(|object| object.field("metadata.name"));
        publisher.has_node(name.unwrap_or_default());
    }
}

async fn follow(state: &State, publisher: &Publisher, mut changes: Subscription<Decoded>) {
    loop {
        match changes.next().await {
            Some(Ok(change)) => publish(state, publisher, &change),
            Some(Err(error)) => {
                tracing::warn!(%error, "publishing begins anew");
                return;
            }
            None => return,
        }
    }
}

fn publish(state: &State, publisher: &Publisher, change: &Change<Decoded>) {
    let Some(item) = change.new.as_ref().or(change.old.as_ref()) else { return };
    if history::is_one(&item.key) && change.new.is_some() {
        return publisher.go_on(history::current(&state.storage));
    }
    // Keys that are no objects of the API concern nobody.
    let Some(def) = state.catalogue.of_key(&item.key) else { return };
    let (type_, object) = match (&change.old, &change.new) {
        (None, Some(new)) => (ChangeType::Added, json(new, Encoded::json)),
        (Some(_), Some(new)) => (ChangeType::Modified, json(new, Encoded::json)),
        (old, None) => {
            let Some(old) = old else { return };
            (ChangeType::Deleted, json(old, |old| old.deleted_json(change.revision)))
        }
    };
    let is_pod = def.names.group.is_empty() && def.names.plural == "pods";
    publisher.publish(&Message {
        group: def.names.group,
        resource: def.names.plural,
        resource_version: change.revision.0,
        type_,
        object: &object,
        node_before: change.old.as_ref().filter(|_| is_pod).and_then(node),
        node_after: change.new.as_ref().filter(|_| is_pod).and_then(node),
    });
}

/// Nothing of what can't be read: listeners see that something is missing, and ask the server.
fn json(item: &CachedObject, encoded: impl FnOnce(&Encoded) -> Bytes) -> Bytes {
    item.object.as_ref().map(encoded).unwrap_or_default()
}

fn node(pod: &CachedObject) -> Option<&str> {
    pod.object.as_ref().ok()?.field("spec.nodeName").filter(|node| !node.is_empty())
}
