//! The pod lifecycle event generator: tells workers that something happened to their containers.
//!
//! The runtime's event stream is the fast way; a list every ten seconds is the net below it. Both only
//! wake workers, which look for themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use tokio_util::sync::CancellationToken;

use crate::{
    context::Context,
    pod::manager::PodManager,
    runtime::{RuntimeError, Summary},
};

const RELIST: Duration = Duration::from_secs(10);
/// Until the runtime is asked again when it does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// The containers of each pod at one moment.
type Snapshot = BTreeMap<String, BTreeSet<Summary>>;

/// Runs until shutdown.
pub async fn run(context: Arc<Context>, pods: Arc<PodManager>, shutdown: CancellationToken) {
    let mut snapshot = Snapshot::new();
    while !shutdown.is_cancelled() {
        tokio::select! {
            () = shutdown.cancelled() => return,
            result = listen(&context, &pods, &mut snapshot) => {
                if let Err(error) = result {
                    tracing::warn!(%error, "the container runtime does not answer");
                }
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// One connection to the runtime. Listing comes after the stream was opened: what happens between the
/// two is in one of them.
async fn listen(
    context: &Context,
    pods: &Arc<PodManager>,
    snapshot: &mut Snapshot,
) -> Result<(), RuntimeError> {
    let mut events = context.runtime.events();
    let mut lists = pods.lists();
    let mut ticks = tokio::time::interval(RELIST);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => {
                    let event = event?;
                    if matters(&event.action) {
                        pods.wake(&event.pod);
                    }
                }
                None => return Err(RuntimeError::Unreachable("the event stream ended".to_owned())),
            },
            _ = ticks.tick() => relist(context, pods, snapshot).await?,
            // Only now it is known what is left of pods that were deleted meanwhile.
            Ok(()) = lists.changed() => relist(context, pods, snapshot).await?,
        }
    }
}

/// What the workers do themselves, such as create and start, is no news to them.
fn matters(action: &str) -> bool {
    matches!(action, "die" | "destroy" | "oom" | "rename")
}

async fn relist(
    context: &Context,
    pods: &Arc<PodManager>,
    snapshot: &mut Snapshot,
) -> Result<(), RuntimeError> {
    let mut found = Snapshot::new();
    let begun = Instant::now();
    let summaries = context.runtime.summary().await?;
    context.metrics.relist.observe(begun.elapsed().as_secs_f64());
    for summary in summaries {
        found.entry(summary.pod.clone()).or_default().insert(summary);
    }
    for uid in changed(snapshot, &found) {
        pods.wake(&uid);
    }
    *snapshot = found;
    let known: BTreeSet<String> =
        pods.pods().iter().filter_map(|pod| pod.metadata.uid.clone()).collect();
    let orphaned = snapshot.keys().any(|uid| !known.contains(uid));
    if orphaned && pods.has_listed() {
        for container in context.runtime.list(None).await? {
            pods.adopt_orphan(&container.pod);
        }
    }
    Ok(())
}

/// Pods whose containers differ.
fn changed(before: &Snapshot, after: &Snapshot) -> BTreeSet<String> {
    let uids = before.keys().chain(after.keys());
    uids.filter(|uid| before.get(*uid) != after.get(*uid)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(containers: &[(&str, &str, &str)]) -> Snapshot {
        let mut snapshot = Snapshot::new();
        for (pod, id, state) in containers {
            let summary = Summary { pod: (*pod).into(), id: (*id).into(), state: (*state).into() };
            snapshot.entry((*pod).to_owned()).or_default().insert(summary);
        }
        snapshot
    }

    #[test]
    fn only_pods_that_differ_are_woken() {
        let before =
            snapshot(&[("a", "1", "running"), ("b", "2", "running"), ("c", "3", "running")]);
        let after = snapshot(&[("a", "1", "running"), ("b", "2", "exited"), ("d", "4", "created")]);
        let expected: BTreeSet<String> = ["b", "c", "d"].map(str::to_owned).into();
        assert_eq!(changed(&before, &after), expected);
        assert!(changed(&after, &after).is_empty());
    }
}
