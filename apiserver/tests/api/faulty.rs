//! A store between the server and the real one, whose answers a test can lose, refuse or hold back.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::RwLock;
use store::{Entry, Events, Expect, Guard, Page, Query, Revision, Store, StoreError};
use tokio::sync::watch;

/// What the server does with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Check,
    Get,
    List,
    Put,
    Delete,
    Compact,
    /// A change, to who watches.
    Tell,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is done.
    Pass,
    /// It is done, and the answer is lost.
    Lose,
    /// It is not done, and nobody says so.
    Fail,
    /// It is more than the store takes.
    Refuse,
    /// Somebody else was faster.
    Conflict,
    /// It waits for [`Faulty::release`].
    Hold,
}

type Rule = dyn Fn(Op, &str) -> Fate + Send + Sync;

/// See the module.
pub(crate) struct Faulty {
    inner: Arc<dyn Store>,
    rule: Arc<RwLock<Arc<Rule>>>,
    /// How many wait, and whether they may go on.
    held: watch::Sender<(usize, bool)>,
    /// Whether changes are told to who watches.
    telling: watch::Sender<bool>,
    compactions: watch::Sender<usize>,
}

impl std::fmt::Debug for Faulty {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faulty").finish_non_exhaustive()
    }
}

impl Faulty {
    pub(crate) fn over(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            rule: Arc::new(RwLock::new(Arc::new(|_, _| Fate::Pass))),
            held: watch::Sender::new((0, false)),
            telling: watch::Sender::new(true),
            compactions: watch::Sender::new(0),
        })
    }

    /// Decides from now on.
    pub(crate) fn rule(&self, rule: impl Fn(Op, &str) -> Fate + Send + Sync + 'static) {
        *self.rule.write() = Arc::new(rule);
    }

    /// Waits until something is held back.
    pub(crate) async fn holds(&self) {
        self.holds_at_once(1).await;
    }

    /// Waits until so much is held back.
    pub(crate) async fn holds_at_once(&self, count: usize) {
        self.held.subscribe().wait_for(|(held, _)| *held >= count).await.unwrap();
    }

    /// Lets go on whatever is or would be held back.
    pub(crate) fn release(&self) {
        self.held.send_modify(|(_, released)| *released = true);
    }

    /// Tells no change any more: the server's cache stays as it is.
    pub(crate) fn hush(&self) {
        self.telling.send_replace(false);
    }

    /// Tells what it kept back, and all that follows.
    pub(crate) fn speak(&self) {
        self.telling.send_replace(true);
    }

    /// Waits until history was compacted so often.
    pub(crate) async fn compacted(&self, times: usize) {
        self.compactions.subscribe().wait_for(|done| *done >= times).await.unwrap();
    }

    async fn fate(&self, op: Op, key: &str) -> Fate {
        let rule = self.rule.read().clone();
        let fate = rule(op, key);
        if fate == Fate::Hold {
            self.held.send_modify(|(held, _)| *held += 1);
            self.held.subscribe().wait_for(|(_, released)| *released).await.unwrap();
            self.held.send_modify(|(held, _)| *held -= 1);
        }
        fate
    }
}

/// The answer of a store that is away, or its own.
async fn answer<T>(
    fate: Fate,
    work: impl Future<Output = Result<T, StoreError>> + Send,
) -> Result<T, StoreError> {
    let away = || StoreError::Unavailable("broken by the test".to_owned());
    match fate {
        Fate::Pass | Fate::Hold => work.await,
        Fate::Lose => work.await.and_then(|_| Err(away())),
        Fate::Fail => Err(away()),
        Fate::Refuse => Err(StoreError::TooLarge("etcdserver: request is too large".to_owned())),
        Fate::Conflict => Err(StoreError::Conflict { key: String::new(), current: None }),
    }
}

#[async_trait]
impl Store for Faulty {
    async fn revision(&self) -> Result<Revision, StoreError> {
        let fate = self.fate(Op::Get, "").await;
        answer(fate, self.inner.revision()).await
    }

    async fn check(&self) -> Result<(), StoreError> {
        let fate = self.fate(Op::Check, "").await;
        answer(fate, self.inner.check()).await
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, StoreError> {
        let fate = self.fate(Op::Get, key).await;
        answer(fate, self.inner.get(key)).await
    }

    async fn list(&self, prefix: &str, query: Query) -> Result<Page, StoreError> {
        let fate = self.fate(Op::List, prefix).await;
        answer(fate, self.inner.list(prefix, query)).await
    }

    async fn put_guarded(
        &self,
        key: &str,
        value: Bytes,
        expect: Option<Expect>,
        guards: &[Guard],
    ) -> Result<Revision, StoreError> {
        let fate = self.fate(Op::Put, key).await;
        answer(fate, self.inner.put_guarded(key, value, expect, guards)).await
    }

    async fn delete(&self, key: &str, expect: Option<Revision>) -> Result<Revision, StoreError> {
        let fate = self.fate(Op::Delete, key).await;
        answer(fate, self.inner.delete(key, expect)).await
    }

    async fn watch(&self, after: Revision) -> Result<Events, StoreError> {
        let (telling, rule) = (self.telling.subscribe(), self.rule.clone());
        let events = self.inner.watch(after).await?.then(move |event| {
            let mut telling = telling.clone();
            let rule = rule.read().clone();
            async move {
                telling.wait_for(|telling| *telling).await.unwrap();
                rule(Op::Tell, "");
                event
            }
        });
        Ok(events.boxed())
    }

    async fn compact(&self, before: Revision) -> Result<(), StoreError> {
        let fate = self.fate(Op::Compact, "").await;
        answer(fate, self.inner.compact(before)).await?;
        self.compactions.send_modify(|done| *done += 1);
        Ok(())
    }
}
