//! What the server does by itself as time goes by: old Events go, history is compacted, claims are repaired. Each duty
//! is a task of its own, so that none waits for another.

use std::{future::pending, sync::Arc, time::Duration};

use api_types::jiff::Timestamp;
use futures::{StreamExt, stream};
use registry::ResourceDef;
use store::Revision;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::{
    admission::{Repair, Suspects, Warning},
    bootstrap,
    encoded::{CachedObject, Encoded},
    endpoints::Witness,
    internal,
    state::State,
    storage::Address,
};

/// How often Events are looked through, and claims.
const SWEEP: Duration = Duration::from_secs(60);

/// How often it is made sure of the objects that are always there (Kubernetes: its controller of `kubernetes`).
const BOOTSTRAP: Duration = Duration::from_secs(10);

/// How many Events are removed at once: enough that etcd's answers are not waited for one by one, few enough that
/// clients' writes hardly notice.
const REMOVALS: usize = 16;

/// Keeps the house until the server stops.
pub(crate) fn start(state: &Arc<State>, witness: Witness) {
    let duties = &state.duties;
    duties.begin("the expiry of events", expire_events(state.clone()));
    duties.begin("the repair of claims", repair_claims(state.clone()));
    duties.begin("the upkeep of the system's objects", restore(state.clone(), witness));
    duties.begin("the compaction of history", compact(state.clone()));
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

async fn repair_claims(state: Arc<State>) {
    let mut ticks = every(SWEEP);
    let mut suspects = Suspects::new();
    loop {
        ticks.tick().await;
        let (catalogue, storage) = (&*state.catalogue.load(), &*state.storage);
        let repair = Repair { catalogue, storage, range: state.config.service_cidr };
        let warnings = match repair.run(&mut suspects).await {
            Ok(warnings) => warnings,
            Err(error) => {
                tracing::warn!(%error, "cluster IPs can't be checked");
                continue;
            }
        };
        for Warning { service, reason, message } in &warnings {
            internal::warn(&state, service, reason, "ClusterIPAllocation", message).await;
        }
    }
}

async fn restore(state: Arc<State>, mut witness: Witness) {
    let mut ticks = every(BOOTSTRAP);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = death(&witness) => {}
        }
        if let Err(error) = bootstrap::run(&state, &mut witness).await {
            tracing::warn!(%error, "the system's objects can't be checked");
        }
    }
}

/// The moment when another server's time is over, and its clients are to hear of it.
async fn death(witness: &Witness) {
    match witness.next_death(Instant::now()) {
        Some(death) => sleep_until(death).await,
        None => pending().await,
    }
}

async fn compact(state: Arc<State>) {
    let mut ticks = every(state.config.compaction_interval);
    let mut before = state.storage.cache().revision();
    loop {
        ticks.tick().await;
        before = forget(&state, before).await;
    }
}

/// Forgets what was before the last compaction's time, so that a client that reads pages or watches has at least
/// one interval to come back. Returns where the store is now.
async fn forget(state: &State, before: Revision) -> Revision {
    if let Err(error) = state.storage.store().compact(before).await {
        tracing::warn!(%error, "history can't be compacted");
    }
    state.storage.cache().revision()
}

async fn expire_events(state: Arc<State>) {
    let mut ticks = every(SWEEP);
    loop {
        ticks.tick().await;
        let catalogue = state.catalogue.load();
        let Some(def) = catalogue.find("", "v1", "events") else { continue };
        let deadline = Timestamp::now() - state.config.event_ttl;
        let snapshot = state.storage.cache().list(&def.prefix(None));
        let events = snapshot.items.iter().filter_map(|i| Some((i, i.object.as_ref().ok()?)));
        let old = events.filter(|(_, event)| is_over(event, deadline));
        let remove = |(item, event): (&CachedObject, _)| remove(&state, def, event, item.revision);
        stream::iter(old).for_each_concurrent(REMOVALS, remove).await;
    }
}

async fn remove(state: &State, def: &ResourceDef, event: &Encoded, revision: Revision) {
    let at = Address {
        def,
        namespace: event.field("metadata.namespace"),
        name: event.field("metadata.name").unwrap_or_default(),
    };
    // One that has happened again meanwhile is at another revision, and stays.
    if let Err(error) = state.storage.remove(at, revision).await {
        tracing::debug!(?error, "event stays");
    }
}

/// Whether an event last happened before the deadline. When it was created counts only if it doesn't say more.
fn is_over(event: &Encoded, deadline: Timestamp) -> bool {
    let event = event.value();
    let time = |path: &&str| event.pointer(path)?.as_str()?.parse::<Timestamp>().ok();
    let said = ["/series/lastObservedTime", "/lastTimestamp", "/eventTime"];
    let last = said.iter().filter_map(time).max();
    last.or_else(|| time(&"/metadata/creationTimestamp")).is_none_or(|last| last < deadline)
}
