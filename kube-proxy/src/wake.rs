//! How the watches and Docker's events call the loops.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use tokio::{sync::Notify, time};

/// Calls one loop.
#[derive(Debug, Default)]
pub struct Wake {
    notify: Notify,
    containers: AtomicBool,
}

impl Wake {
    /// What the API server says has changed.
    pub fn changed(&self) {
        self.notify.notify_one();
    }

    /// Containers may have ended.
    pub fn containers_changed(&self) {
        self.containers.store(true, Ordering::Release);
        self.notify.notify_one();
    }

    /// Whether they may have since this was asked last.
    pub(crate) fn take_containers_changed(&self) -> bool {
        self.containers.swap(false, Ordering::AcqRel)
    }

    /// Waits for a call, or for so long.
    pub(crate) async fn wait(&self, at_most: Duration) {
        // Nothing to do in either case but to look again.
        let _ = time::timeout(at_most, self.notify.notified()).await;
    }
}
