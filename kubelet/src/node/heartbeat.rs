//! The node's heartbeat on Redis, every second, with its load. Only while Redis is used.

use std::{sync::Arc, time::Duration};

use listwatch::{Heartbeat, ListWatch};
use tokio_util::sync::CancellationToken;

use super::resources::{CpuTicks, Memory};
use crate::pod::manager::PodManager;

const BEAT: Duration = Duration::from_secs(1);

/// Beats until shutdown.
pub async fn run(
    listwatch: ListWatch,
    node: String,
    pods: Arc<PodManager>,
    shutdown: CancellationToken,
) {
    let mut ticks = CpuTicks::read();
    let mut interval = tokio::time::interval(BEAT);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
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
        };
        ticks = now;
        listwatch.beat(&heartbeat).await;
    }
}
