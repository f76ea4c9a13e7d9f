//! What the server does by itself as time goes by: old Events go, history is compacted, claims are repaired.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use api_types::jiff::Timestamp;
use serde_json::Value;
use store::Revision;
use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::{
    admission, bootstrap,
    encoded::CachedObject,
    server::Server,
    storage::{Address, Stored},
};

/// How often Events are looked through, and claims.
const SWEEP: Duration = Duration::from_secs(60);

/// How often it is made sure of the objects that are always there (Kubernetes: its controller of `kubernetes`).
const BOOTSTRAP: Duration = Duration::from_secs(10);

/// Keeps the house until the server stops.
pub(crate) async fn run(server: Arc<Server>) {
    let every = |period: Duration| {
        let mut ticks = interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    };
    let (mut sweep, mut restore) = (every(SWEEP), every(BOOTSTRAP));
    let mut compact = every(server.config.compaction_interval);
    let mut suspects = BTreeSet::new();
    let mut before = server.storage.cache().revision();
    loop {
        tokio::select! {
            () = server.shutdown.cancelled() => return,
            _ = sweep.tick() => {
                expire_events(&server).await;
                match admission::repair_cluster_ips(&server, &suspects).await {
                    Ok(found) => suspects = found,
                    Err(error) => tracing::warn!(%error, "cluster IPs can't be checked"),
                }
            }
            _ = restore.tick() => {
                if let Err(error) = bootstrap::run(&server).await {
                    tracing::warn!(%error, "the system's objects can't be checked");
                }
            }
            _ = compact.tick() => before = self::compact(&server, before).await,
        }
    }
}

/// Forgets what was before the last compaction's time, so that a client that reads pages or watches has at least
/// one interval to come back. Returns where the store is now.
async fn compact(server: &Server, before: Revision) -> Revision {
    if let Err(error) = server.storage.store().compact(before).await {
        tracing::warn!(%error, "history can't be compacted");
    }
    server.storage.cache().revision()
}

async fn expire_events(server: &Server) {
    let Some(def) = server.catalogue.find("", "v1", "events") else { return };
    let deadline = Timestamp::now() - server.config.event_ttl;
    let snapshot = server.storage.cache().list(&def.prefix(None));
    for item in snapshot.items.iter().filter(|item| is_over(item, deadline)) {
        let at = Address {
            def,
            namespace: item.object.field("metadata.namespace"),
            name: item.object.field("metadata.name").unwrap_or_default(),
        };
        let stored = Stored { object: Value::Null, revision: item.revision };
        // One that has happened again meanwhile is at another revision, and stays.
        if let Err(error) = server.storage.remove(at, &stored).await {
            tracing::debug!(%error, "event stays");
        }
    }
}

/// Whether an event last happened before the deadline. When it was created counts only if it doesn't say more.
fn is_over(item: &CachedObject, deadline: Timestamp) -> bool {
    let event = item.object.value();
    let time = |path: &&str| event.pointer(path)?.as_str()?.parse::<Timestamp>().ok();
    let said = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"];
    let last = said.iter().filter_map(time).max();
    last.or_else(|| time(&"/metadata/creationTimestamp")).is_none_or(|last| last < deadline)
}
