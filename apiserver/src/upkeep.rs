//! What the server does by itself as time goes by: old Events go, history is compacted, claims are repaired. Each duty
//! is a task of its own, so that none waits for another.

use std::{future::pending, sync::Arc, time::Duration};

use api_types::jiff::Timestamp;
use futures::{StreamExt, stream};
use registry::ResourceDef;
use store::Revision;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

use crate::{
    admission::{Repair, Suspects, Warning, known_service_ranges, renew_claims},
    api_services, bootstrap,
    catalogue::InForce,
    config::Config,
    custom_resources,
    encoded::{CachedObject, Encoded},
    endpoints::Witness,
    flow_schemas, internal,
    service::InProcess,
    state::State,
    storage::{Address, Storage},
    type_checking,
};

/// How often Events are looked through, and claims.
const SWEEP: Duration = Duration::from_secs(60);

/// How often it is made sure of the objects that are always there (Kubernetes: its controller of `kubernetes`).
const BOOTSTRAP: Duration = Duration::from_secs(10);

/// How many Events are removed at once: enough that etcd's answers are not waited for one by one, few enough that
/// clients' writes hardly notice.
const REMOVALS: usize = 16;

/// Keeps the house until the server stops.
pub(crate) fn start(state: &Arc<State>, api: &InProcess, memory: bootstrap::Memory) {
    let State { duties, catalogue, storage, config, .. } = &**state;
    let expiry = expire_events(catalogue.clone(), storage.clone(), config.event_ttl);
    duties.begin("the expiry of events", expiry);
    duties.begin("the repair of claims", repair_claims(state.clone(), api.clone()));
    let cleanup = custom_resources::clean_up(state.clone(), api.clone());
    duties.begin("the cleanup of custom resources", cleanup);
    duties.begin("the APIServices", api_services::keep(state.clone(), api.clone()));
    let following = api_services::follow(state.clone(), api.clone());
    duties.begin("the availability of APIServices", following);
    let flows = flow_schemas::follow(state.clone(), api.clone());
    duties.begin("the priority levels", flows);
    let checks = type_checking::follow(state.clone(), api.clone());
    duties.begin("the types in policies", checks);
    let upkeep = restore(state.clone(), api.clone(), memory);
    duties.begin("the upkeep of the system's objects", upkeep);
    duties.begin("the compaction of history", compact(storage.clone(), config.compaction_interval));
}

fn every(period: Duration) -> Interval {
    let mut ticks = interval_at(Instant::now() + period, period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// At the start too: what a service holds that nobody claimed for it must not be given to another.
async fn repair_claims(state: Arc<State>, api: InProcess) {
    let mut ticks = every(SWEEP);
    let mut suspects = Suspects::default();
    loop {
        let (catalogue, storage) = (&*state.catalogue.load(), &*state.storage);
        let Config { service_cidr, node_ports: ports, .. } = state.config;
        let addresses = known_service_ranges(state.objects(), service_cidr);
        if let Err(error) = renew_claims(storage).await {
            tracing::warn!(%error, "claims of cluster IPs can't be renewed");
        }
        let repair = Repair { catalogue, storage, addresses, ports };
        match repair.run(&mut suspects).await {
            Ok(warnings) => tell(&api, &warnings).await,
            Err(error) => tracing::warn!(%error, "cluster IPs and node ports can't be checked"),
        }
        ticks.tick().await;
    }
}

async fn tell(api: &InProcess, warnings: &[Warning]) {
    for Warning { service, reason, action, message } in warnings {
        internal::warn(api, service, reason, action, message).await;
    }
}

async fn restore(state: Arc<State>, api: InProcess, mut memory: bootstrap::Memory) {
    let mut ticks = every(BOOTSTRAP);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = death(&memory.witness) => {}
        }
        // A server that leaves must not put itself among the endpoints again.
        if state.leaving.is_cancelled() {
            pending::<()>().await;
        }
        if let Err(error) = bootstrap::run(&api, &state.config, &state.storage, &mut memory).await {
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

async fn compact(storage: Arc<Storage>, interval: Duration) {
    let mut ticks = every(interval);
    let mut before = storage.cache().revision();
    loop {
        ticks.tick().await;
        before = forget(&storage, before).await;
    }
}

/// Forgets what was before the last compaction's time, so that a client that reads pages or watches has at least
/// one interval to come back. Returns where the store is now.
async fn forget(storage: &Storage, before: Revision) -> Revision {
    if let Err(error) = storage.store().compact(before).await {
        tracing::warn!(%error, "history can't be compacted");
    }
    storage.cache().revision()
}

async fn expire_events(catalogue: InForce, storage: Arc<Storage>, ttl: Duration) {
    let mut ticks = every(SWEEP);
    loop {
        ticks.tick().await;
        let catalogue = catalogue.load();
        let Some(def) = catalogue.find("", "v1", "events") else { continue };
        let deadline = Timestamp::now() - ttl;
        let snapshot = storage.cache().list(&def.prefix(None));
        let events = snapshot.items.iter().filter_map(|i| Some((i, i.object.as_ref().ok()?)));
        let old = events.filter(|(_, event)| is_over(event, deadline));
        let remove =
            |(item, event): (&CachedObject, _)| remove(&storage, def, event, item.revision);
        stream::iter(old).for_each_concurrent(REMOVALS, remove).await;
    }
}

async fn remove(storage: &Storage, def: &ResourceDef, event: &Encoded, revision: Revision) {
    let at = Address {
        def,
        namespace: event.field("metadata.namespace"),
        name: event.field("metadata.name").unwrap_or_default(),
    };
    // One that has happened again meanwhile is at another revision, and stays.
    if let Err(error) = storage.remove(at, revision).await {
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
