//! Has samples taken and tells what pods use over Redis. What the node uses goes with its heartbeat.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use listwatch::ListWatch;
use tokio_util::sync::CancellationToken;

use super::{pace::Pace, sampler::Sampler, wire};

/// A sample that somebody else had taken just before will do.
const RECENT: Duration = Duration::from_millis(500);

/// Announces until shutdown.
pub(crate) async fn run(
    listwatch: ListWatch,
    node: String,
    sampler: Sampler,
    shutdown: CancellationToken,
) {
    let mut wishes = match listwatch.usage_wanted() {
        Some(wishes) => wishes.boxed(),
        None => stream::pending().boxed(),
    };
    let (mut pace, mut last) = (Pace::default(), None::<Instant>);
    loop {
        let due = last.map_or_else(Instant::now, |last| last + pace.period(Instant::now()));
        tokio::select! {
            () = shutdown.cancelled() => return,
            Some(wanted) = wishes.next() => pace.note(&wanted, &node, Instant::now()),
            () = tokio::time::sleep_until(due.into()) => {
                last = Some(Instant::now());
                match sampler.sample(RECENT).await {
                    Ok(sample) => listwatch.announce_pods_usage(&wire::pods(&sample, &node)),
                    Err(error) => tracing::warn!(%error, "cannot measure what pods use"),
                }
            }
        }
    }
}
