//! Has samples taken and tells what pods use over Redis. What the node uses goes with its heartbeat.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use listwatch::ListWatch;
use tokio_util::sync::CancellationToken;

use super::{pace::Pace, sampler::Sampler, wire};

/// A sample that somebody else had taken just before will do.
const RECENT: Duration = Duration::from_millis(500);

/// Announces until shutdown, which does not wait for a sample.
pub(crate) async fn run(
    listwatch: ListWatch,
    node: String,
    sampler: Sampler,
    shutdown: CancellationToken,
) {
    shutdown.run_until_cancelled(announce(listwatch, node, sampler)).await;
}

async fn announce(listwatch: ListWatch, node: String, sampler: Sampler) {
    let mut wishes = match listwatch.usage_wanted() {
        Some(wishes) => wishes.boxed(),
        None => stream::pending().boxed(),
    };
    let (mut pace, mut last) = (Pace::default(), None::<Instant>);
    loop {
        let period = pace.period(Instant::now());
        sampler.set_period(period);
        let due = last.map_or_else(Instant::now, |last| last + period);
        tokio::select! {
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

#[cfg(test)]
mod tests {
    use listwatch::UsageWanted;
    use testkit::{ControlPlane, Redis};
    use tokio_util::task::AbortOnDropHandle;

    use super::*;
    use crate::usage::{disks::Disks, host::Host, running::RunningPods};

    #[tokio::test]
    async fn pods_are_told_of_more_often_while_somebody_wants_it() {
        let redis = Redis::spawn().await;
        let plane = ControlPlane::builder().redis(&redis).start().await;
        let (listener, running) = (plane.listwatch(), RunningPods::default());
        let host = Host::new(std::path::Path::new("/"));
        let sampler = Sampler::new(host, running, Disks::default());
        let run = run(plane.listwatch(), "n1".to_owned(), sampler, CancellationToken::new());
        let _task = AbortOnDropHandle::new(tokio::spawn(run));
        let mut told = listener.pods_usage().unwrap().boxed();
        let wanted = UsageWanted { nodes: vec!["n1".to_owned()], period_seconds: 1 };
        let mut wishes = tokio::time::interval(Duration::from_millis(200));
        // Otherwise there is one at once and one after ten seconds.
        let mut messages = 0;
        let told = tokio::time::timeout(Duration::from_secs(9), async {
            while messages < 3 {
                tokio::select! {
                    _ = wishes.tick() => listener.want_usage(&wanted),
                    usage = told.next() => {
                        assert_eq!(usage.unwrap().node, "n1");
                        messages += 1;
                    }
                }
            }
        });
        assert!(told.await.is_ok(), "{messages} messages");
    }
}
