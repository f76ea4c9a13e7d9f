//! When to look at a collection again.

use std::{future::pending, time::Duration};

use futures::{FutureExt, StreamExt};
use store::cache::Subscription;
use tokio::time::sleep;

use crate::{encoded::Decoded, storage::Storage};

/// After how long something is tried again that was not finished, or that nothing was heard of.
const AGAIN: Duration = Duration::from_millis(500);

/// The changes of a collection since the last look.
pub(crate) struct Changes<'a> {
    storage: &'a Storage,
    prefix: &'static str,
    subscription: Option<Subscription<Decoded>>,
}

impl<'a> Changes<'a> {
    /// Those from now on: before the first look.
    pub(crate) async fn of(storage: &'a Storage, prefix: &'static str) -> Self {
        let mut changes = Self { storage, prefix, subscription: None };
        changes.subscribe().await;
        changes
    }

    /// Waits for one, or for a while if the last look left something to do.
    pub(crate) async fn next(&mut self, unfinished: bool) {
        let again = async {
            match unfinished {
                true => sleep(AGAIN).await,
                false => pending().await,
            }
        };
        tokio::select! {
            () = self.change() => {}
            () = again => {}
        }
    }

    async fn change(&mut self) {
        let Some(changes) = &mut self.subscription else {
            sleep(AGAIN).await;
            return self.subscribe().await;
        };
        let mut next = changes.next().await;
        while let Some(Ok(_)) = next {
            match changes.next().now_or_never() {
                Some(found) => next = found,
                None => return,
            }
        }
        // It has broken off: what there is now is looked at.
        self.subscription = None;
    }

    async fn subscribe(&mut self) {
        let revision = self.storage.cache().list(self.prefix).revision;
        let subscribed = self.storage.subscribe(self.prefix, None, revision).await;
        let told = |error: &_| tracing::warn!(%error, self.prefix, "cannot be followed");
        self.subscription = subscribed.inspect_err(told).ok();
    }
}
