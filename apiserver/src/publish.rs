//! Every change goes to its topic as well. Publishing neither waits nor fails; who misses a message notices.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt;
use listwatch::{BOOKMARK_PERIOD, Change as Message, ChangeType, Publisher};
use store::{
    Revision, StoreError,
    cache::{Change, Subscription},
};
use tokio::time::{MissedTickBehavior, interval};

use crate::{
    catalogue::InForce,
    encoded::{CachedObject, Decoded, Encoded},
    history,
    objects::Objects,
    storage::Storage,
};

/// How long to wait before beginning anew.
const PAUSE: Duration = Duration::from_secs(1);

/// How many changes are recalled at the beginning, to know the latest of each topic: more than are made between two
/// bookmarks of another server, so that no listener of a quiet topic knows less.
const RECALLED: u64 = 4000;

/// How many of these are published again: more than another server may lag behind, or have left behind when it died.
const REPEATED: u64 = 250;

/// Publishes all changes from a moment ago on. A source that breaks off begins anew, and says so to the publisher: what
/// is in the store now need not be the continuation of what was published.
pub(crate) async fn run(catalogue: InForce, storage: Arc<Storage>, publisher: Publisher) {
    let objects = Objects { catalogue: &catalogue, storage: &storage };
    loop {
        if let Err(error) = publish_history(objects, &publisher).await {
            tracing::warn!(%error, "changes can't be published");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn publish_history(objects: Objects<'_>, publisher: &Publisher) -> Result<(), StoreError> {
    history::begin(objects.storage).await?;
    let cache = objects.storage.cache();
    let back = |count| Revision(cache.revision().0.saturating_sub(count));
    let recalled = back(REPEATED);
    let (since, changes) = cache.recall_all(back(RECALLED));
    begin(objects, publisher, since);
    follow(objects, publisher, changes, recalled).await;
    Ok(())
}

/// Declares the topics that are there; those of kinds that come later begin with their first change.
fn begin(objects: Objects<'_>, publisher: &Publisher, since: Revision) {
    let catalogue = objects.catalogue.load();
    let stored = catalogue.iter().filter(|def| def.is_stored());
    let resources = stored.map(|d| (d.names.group.as_str(), d.names.plural.as_str()));
    publisher.begin(history::at(objects.storage, since), since.0, resources);
    let Some(def) = catalogue.find("", "v1", "nodes") else { return };
    for node in objects.storage.cache().list(&def.prefix(None)).items.iter() {
        let name = node.object.as_ref().ok().and_then(|object| object.field("metadata.name"));
        publisher.has_node(name.unwrap_or_default());
    }
}

/// A server that hears nothing from the store says nothing either: listeners are to ask one that does.
async fn follow(
    objects: Objects<'_>,
    publisher: &Publisher,
    mut changes: Subscription<Decoded>,
    recalled: Revision,
) {
    let mut ticks = interval(BOOKMARK_PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Ok(change)) => publish(objects, publisher, &change, recalled),
                Some(Err(error)) => {
                    tracing::warn!(%error, "publishing begins anew");
                    return;
                }
                None => return,
            },
            _ = ticks.tick() => if objects.storage.cache().is_following() {
                publisher.bookmark(changes.revision().0);
            },
        }
    }
}

fn publish(
    objects: Objects<'_>,
    publisher: &Publisher,
    change: &Change<Decoded>,
    recalled: Revision,
) {
    let Some(item) = change.new.as_ref().or(change.old.as_ref()) else { return };
    if history::is_one(&item.key) && change.new.is_some() {
        let history = history::at(objects.storage, change.revision);
        return publisher.go_on(history, change.revision.0);
    }
    // Keys that are no objects of the API concern nobody.
    let catalogue = objects.catalogue.load();
    let Some(def) = catalogue.of_key(&item.key) else { return };
    let (type_, object) = match (&change.old, &change.new) {
        (None, Some(new)) => (ChangeType::Added, json(new, Encoded::json)),
        (Some(_), Some(new)) => (ChangeType::Modified, json(new, Encoded::json)),
        (old, None) => {
            let Some(old) = old else { return };
            (ChangeType::Deleted, json(old, |old| old.deleted_json(change.revision)))
        }
    };
    let is_pod = def.is_core("pods");
    let message = Message {
        group: &def.names.group,
        resource: &def.names.plural,
        resource_version: change.revision.0,
        type_,
        object: &object,
        node_before: change.old.as_ref().filter(|_| is_pod).and_then(node),
        node_after: change.new.as_ref().filter(|_| is_pod).and_then(node),
    };
    match change.revision <= recalled {
        true => publisher.recall(&message),
        false => publisher.publish(&message),
    }
}

/// Nothing of what can't be read: listeners see that something is missing, and ask the server.
fn json(item: &CachedObject, encoded: impl FnOnce(&Encoded) -> Bytes) -> Bytes {
    item.object.as_ref().map(encoded).unwrap_or_default()
}

fn node(pod: &CachedObject) -> Option<&str> {
    pod.object.as_ref().ok()?.field("spec.nodeName").filter(|node| !node.is_empty())
}
