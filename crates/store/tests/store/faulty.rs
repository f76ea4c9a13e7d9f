//! A store whose watches can be broken, whose answers can be held back, and which can be swapped for
//! another one.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use parking_lot::RwLock;
use store::{Entry, Event, Events, Expect, Guard, Page, Query, Revision, Store, StoreError};
use tokio::sync::{Semaphore, watch};

#[derive(Debug)]
pub(crate) struct Faulty {
    inner: RwLock<Arc<dyn Store>>,
    health: watch::Sender<Health>,
    /// A question for the revision takes a permit.
    pub(crate) permits: Semaphore,
    pub(crate) questions: AtomicUsize,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Health {
    /// No new watch can begin.
    down: bool,
    /// How often the watches were broken.
    breaks: usize,
}

impl Faulty {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner: RwLock::new(inner),
            health: watch::Sender::new(Health { down: false, breaks: 0 }),
            permits: Semaphore::new(Semaphore::MAX_PERMITS / 2),
            questions: AtomicUsize::new(0),
        })
    }

    /// Breaks the watches, and lets no new one begin until [`Self::mend`].
    pub(crate) fn break_watches(&self) {
        self.health
            .send_modify(|health| *health = Health { down: true, breaks: health.breaks + 1 });
    }

    pub(crate) fn mend(&self) {
        self.health.send_modify(|health| health.down = false);
    }

    pub(crate) fn swap(&self, inner: Arc<dyn Store>) {
        *self.inner.write() = inner;
    }

    fn inner(&self) -> Arc<dyn Store> {
        Arc::clone(&self.inner.read())
    }
}

fn broken() -> StoreError {
    StoreError::Unavailable("broken by the test".into())
}

#[async_trait]
impl Store for Faulty {
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.questions.fetch_add(1, Ordering::SeqCst);
        self.permits.acquire().await.expect("never closed").forget();
        self.inner().revision().await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        self.inner().get(key).await
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        self.inner().list(prefix, query).await
    }

    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        self.inner().put_guarded(key, value, expect, guards).await
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        self.inner().delete(key, expect).await
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        let mut health = self.health.subscribe();
        let began = *health.borrow_and_update();
        if began.down {
            return Err(broken());
        }
        let events = self.inner().watch(after).await?;
        let down =
            async move { drop(health.wait_for(|health| health.breaks > began.breaks).await) };
        let end = stream::once(future::ready(Err(broken())));
        Ok(events.take_until(Box::pin(down)).chain(end).boxed())
    }

    async fn check(&self) -> Result<(), StoreError> {
        self.inner().check().await
    }

    async fn remembers(&self, change: &Event) -> Result<bool, StoreError> {
        self.inner().remembers(change).await
    }

    async fn close(&self) {
        self.inner().close().await;
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        self.inner().compact(before).await
    }
}
