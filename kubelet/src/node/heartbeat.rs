//! The node's heartbeat on Redis, every second, with its load. Only while Redis is used.
//!
//! A node that finds Redis out of reach renews its Lease more often for a while: it is silent for those
//! who listen there, and must not be taken for dead before they look for it elsewhere.

use std::{sync::Arc, time::Duration};

use kube::Client;
use listwatch::{Heartbeat, ListWatch, Usage};
use tokio::time::{Instant, MissedTickBehavior, timeout};
use tokio_util::sync::CancellationToken;

use super::lease;
use crate::{
    machine::{CpuTicks, Memory},
    pod::manager::PodManager,
    usage::{sample::Sample, sampler::Sampler, wire},
};

const BEAT: Duration = Duration::from_secs(1);
/// How often the Lease is renewed while Redis is out of reach.
const RENEW: Duration = Duration::from_secs(2);
/// For how long it is. Afterwards nobody expects heartbeats any more.
const BRIDGE: Duration = Duration::from_secs(30);
/// How long a renewal may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// Beats until shutdown.
pub async fn run(
    listwatch: ListWatch,
    node: String,
    pods: Arc<PodManager>,
    sampler: Sampler,
    shutdown: CancellationToken,
) {
    let mut ticks = CpuTicks::read();
    let (mut bridge, mut news) = (Bridge::default(), News::default());
    let mut interval = tokio::time::interval(BEAT);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            _ = interval.tick() => {}
        }
        let now = CpuTicks::read();
        let heartbeat = Heartbeat {
            node: node.clone(),
            cpu_percent: now.percent_since(ticks),
            memory_percent: Memory::read().percent(),
            pods: pods.count(),
            usage: sampler.latest().and_then(|sample| news.of(&sample)),
        };
        ticks = now;
        listwatch.beat(&heartbeat).await;
        if bridge.is_due(listwatch.redis_connected(), Instant::now()) {
            tokio::spawn(renew(listwatch.client().clone(), node.clone()));
        }
    }
}

/// The last sample that was told.
#[derive(Debug, Default)]
struct News {
    told: Option<std::time::Instant>,
}

impl News {
    fn of(&mut self, sample: &Sample) -> Option<Usage> {
        (self.told.replace(sample.taken) != Some(sample.taken)).then(|| wire::node(sample))
    }
}

async fn renew(client: Client, node: String) {
    match timeout(PATIENCE, lease::renew(&lease::api(&client), &node)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::debug!(%error, "cannot renew the node's lease in place of a heartbeat")
        }
        Err(_) => {
            tracing::debug!("renewing the node's lease in place of a heartbeat takes too long")
        }
    }
}

/// When the Lease is to be renewed in place of heartbeats.
#[derive(Debug, Default)]
struct Bridge {
    lost: Option<Instant>,
    renewed: Option<Instant>,
}

impl Bridge {
    fn is_due(&mut self, connected: bool, now: Instant) -> bool {
        if connected {
            *self = Self::default();
            return false;
        }
        let lost = *self.lost.get_or_insert(now);
        let due = now < lost + BRIDGE && self.renewed.is_none_or(|renewed| now >= renewed + RENEW);
        if due {
            self.renewed = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::{disks::Disks, host::Host, running::RunningPods};

    #[test]
    fn the_lease_is_renewed_more_often_for_half_a_minute_without_redis() {
        let (mut bridge, start) = (Bridge::default(), Instant::now());
        let mut due =
            |connected, seconds| bridge.is_due(connected, start + Duration::from_secs(seconds));
        assert!(!due(true, 0));
        let renewals = (1..100).filter(|second| due(false, *second)).collect::<Vec<_>>();
        assert_eq!(renewals, (1..31).step_by(2).collect::<Vec<_>>());
        assert!(!due(true, 100));
        assert!(due(false, 101), "it is lost again");
    }

    #[tokio::test]
    async fn a_sample_is_told_once() {
        let host = Host::new(std::path::Path::new("/"));
        let sampler = Sampler::new(host, RunningPods::default(), Disks::default());
        let mut news = News::default();
        for _ in 0..2 {
            let sample = sampler.sample(Duration::ZERO).await.unwrap();
            let told = news.of(&sample);
            assert_eq!(told.map(|usage| usage.timestamp), Some(sample.timestamp));
            assert_eq!(news.of(&sample), None);
        }
    }
}
