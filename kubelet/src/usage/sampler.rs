//! Takes samples, one at a time, for all who want one.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use tokio::task::JoinError;

use super::{
    details::{self, Detailed},
    disks::Disks,
    host::Host,
    pace,
    running::RunningPods,
    sample::{self, Before, Sample},
};

/// The usage of this node.
#[derive(Clone, Debug)]
pub struct Sampler {
    host: Arc<Host>,
    running: RunningPods,
    disks: Disks,
    before: Arc<tokio::sync::Mutex<Before>>,
    latest: Arc<RwLock<Option<Arc<Sample>>>>,
    period: Arc<RwLock<Duration>>,
}

impl Sampler {
    /// Nothing is known yet.
    pub fn new(host: Host, running: RunningPods, disks: Disks) -> Self {
        let host = Arc::new(host);
        let period = Arc::new(RwLock::new(pace::USUAL));
        Self { host, running, disks, before: Arc::default(), latest: Arc::default(), period }
    }

    /// How long rates are looked at from now on, however often somebody asks.
    pub(super) fn set_period(&self, period: Duration) {
        *self.period.write() = period;
    }

    /// The last sample.
    pub fn latest(&self) -> Option<Arc<Sample>> {
        self.latest.read().clone()
    }

    /// The last sample, or a new one if it is older than that.
    ///
    /// # Errors
    /// Only if the thread that reads panics or the program ends.
    pub async fn sample(&self, max_age: Duration) -> Result<Arc<Sample>, JoinError> {
        let mut before = self.before.clone().lock_owned().await;
        if let Some(latest) = self.latest().filter(|last| last.taken.elapsed() <= max_age) {
            return Ok(latest);
        }
        let (sampler, running) = (self.clone(), self.running.all());
        tokio::task::spawn_blocking(move || {
            let Self { host, disks, .. } = &sampler;
            let period = *sampler.period.read();
            let sample = Arc::new(sample::take(host, &running, disks, &mut before, period));
            *sampler.latest.write() = Some(sample.clone());
            sample
        })
        .await
    }

    /// What a sample does not tell of what is in it, as it is now.
    ///
    /// # Errors
    /// Only if the thread that reads panics or the program ends.
    pub(crate) async fn details(&self, sample: Arc<Sample>) -> Result<Detailed, JoinError> {
        let host = self.host.clone();
        tokio::task::spawn_blocking(move || details::read(&host, &sample)).await
    }
}
