//! Whether the other side of a connection is still there.
//! (Kubernetes: `client-go/tools/remotecommand/websocket.go`.)

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};

/// How often it is asked.
const PING: Duration = Duration::from_secs(5);
/// It is lost if nothing, not even an answer, has come for so long.
const LOST: Duration = Duration::from_secs(60);
/// The same once it can't be told anything any more: what it has said last may be on its way.
const LAST: Duration = Duration::from_secs(5);

/// When something came last.
#[derive(Debug)]
pub(super) struct Heard(Mutex<Instant>);

impl Heard {
    pub(super) fn new() -> Self {
        Self(Mutex::new(Instant::now()))
    }

    pub(super) fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Until nothing has come for so long.
    pub(super) async fn silence(&self, length: Duration) {
        loop {
            let end = *self.0.lock().unwrap_or_else(PoisonError::into_inner) + length;
            if end <= Instant::now() {
                return;
            }
            sleep_until(end).await;
        }
    }

    pub(super) async fn lost(&self) {
        self.silence(LOST).await;
    }

    pub(super) async fn last(&self) {
        self.silence(LAST).await;
    }
}

/// When to ask.
pub(super) fn pings() -> Interval {
    let mut pings = interval_at(Instant::now() + PING, PING);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pings
}
