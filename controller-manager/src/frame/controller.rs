//! A controller and the workers that drive it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use super::{Error, Metrics, ObjectKey, WorkQueue};

/// A reconciliation that takes longer is worth a line in the log.
const UNUSUAL: Duration = Duration::from_secs(60);

/// Makes the world as an object says. It gets no hint about what has changed: it reads the stores,
/// compares, acts, and may run twice.
#[async_trait::async_trait]
pub trait Controller: Send + Sync {
    /// The name in logs, in Kubernetes' words.
    fn name(&self) -> &'static str;

    /// Looks at one key.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error>;
}

/// When to look at a key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Change,
    /// After this time, if nothing changes before.
    After(Duration),
}

impl Next {
    /// After this time at the latest.
    pub fn or_after(self, delay: Duration) -> Self {
        match self {
            Self::Change => Self::After(delay),
            Self::After(sooner) => Self::After(sooner.min(delay)),
        }
    }
}

/// A controller with the queue that the informers fill for it.
#[derive(Clone)]
pub struct Registered {
    controller: Arc<dyn Controller>,
    queue: Arc<WorkQueue>,
    workers: u16,
}

/// How many keys are looked at at a time if nothing else is said.
const WORKERS: u16 = 8;

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("controller", &self.controller.name())
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

impl Registered {
    /// Joins the two.
    pub fn new(controller: impl Controller + 'static, queue: Arc<WorkQueue>) -> Self {
        Self { controller: Arc::new(controller), queue, workers: WORKERS }
    }

    /// How many keys may be looked at at a time. A look may take as long as it needs: it holds up one worker,
    /// and nobody else looks at its key meanwhile.
    #[must_use]
    pub fn with_workers(self, workers: u16) -> Self {
        Self { workers, ..self }
    }

    /// Has its queue counted.
    pub fn count_in(&self, metrics: &Metrics) {
        self.queue.count_in(metrics, self.controller.name());
    }
}

/// Starts the workers of a controller.
pub fn work(registered: &Registered, tasks: &mut JoinSet<()>) {
    for _ in 0..registered.workers {
        tasks.spawn(worker(registered.clone()));
    }
}

/// Why the controllers have ended, which they never should.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// A task has panicked.
    #[error("a controller has failed")]
    Failed(#[source] JoinError),
    /// A task has come to its end.
    #[error("a controller has ended")]
    Returned,
}

/// Waits for the first task that ends, and stops the others. A program whose controllers do not all
/// work must not go on as the leader: it would see or do only a part of what it is there for.
pub async fn ended(tasks: &mut JoinSet<()>) -> Ended {
    let ended = match tasks.join_next().await {
        Some(Err(error)) => Ended::Failed(error),
        Some(Ok(())) | None => Ended::Returned,
    };
    tasks.shutdown().await;
    ended
}

async fn worker(registered: Registered) {
    let Registered { controller, queue, .. } = registered;
    loop {
        let key = queue.next().await;
        let span = tracing::debug_span!("reconcile", controller = controller.name(), %key);
        reconcile(&*controller, &queue, &key).instrument(span).await;
        queue.done(&key);
    }
}

/// One look. It is never given up half way: what it has written would not be accounted for.
async fn reconcile(controller: &dyn Controller, queue: &WorkQueue, key: &ObjectKey) {
    match told_if_slow(controller, key).await {
        Ok(next) => {
            queue.succeeded(key);
            if let Next::After(delay) = next {
                queue.add_after(key.clone(), delay);
            }
        }
        Err(error) => {
            log(&error, controller, key);
            queue.failed(key);
        }
    }
}

async fn told_if_slow(controller: &dyn Controller, key: &ObjectKey) -> Result<Next, Error> {
    let mut looking = pin!(controller.reconcile(key));
    loop {
        match tokio::time::timeout(UNUSUAL, &mut looking).await {
            Ok(result) => return result,
            Err(_) => {
                tracing::warn!(controller = controller.name(), %key, "reconcile takes long");
            }
        }
    }
}

fn log(error: &Error, controller: &dyn Controller, key: &ObjectKey) {
    let (controller, reason) = (controller.name(), error.reason());
    if error.is_conflict() {
        tracing::debug!(controller, %key, step = %error, reason, "somebody else was faster");
    } else {
        tracing::warn!(controller, %key, step = %error, reason, "reconcile failed");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    /// Needs ten minutes for a look, and panics at the key `bad`.
    #[derive(Default)]
    struct Slow {
        begun: Arc<AtomicUsize>,
        done: Arc<AtomicUsize>,
    }

    #[async_trait::async_trait]
    impl Controller for Slow {
        fn name(&self) -> &'static str {
            "slow"
        }

        async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
            assert_ne!(key.name, "bad");
            self.begun.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_secs(600)).await;
            self.done.fetch_add(1, Ordering::Relaxed);
            Ok(Next::Change)
        }
    }

    fn working(controller: Slow, keys: &[&str]) -> JoinSet<()> {
        let queue = Arc::new(WorkQueue::default());
        keys.iter().for_each(|key| queue.add(ObjectKey::cluster(*key)));
        let mut tasks = JoinSet::new();
        work(&Registered::new(controller, queue).with_workers(2), &mut tasks);
        tasks
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_is_never_given_up_and_holds_up_one_worker_alone() {
        let controller = Slow::default();
        let (begun, done) = (controller.begun.clone(), controller.done.clone());
        let _tasks = working(controller, &["a", "b", "c"]);
        sleep(Duration::from_secs(590)).await;
        assert_eq!((begun.load(Ordering::Relaxed), done.load(Ordering::Relaxed)), (2, 0));
        sleep(Duration::from_secs(20)).await;
        assert_eq!((begun.load(Ordering::Relaxed), done.load(Ordering::Relaxed)), (3, 2));
        sleep(Duration::from_secs(6000)).await;
        assert_eq!(begun.load(Ordering::Relaxed), 3, "nothing is looked at twice");
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_ends_all_controllers() {
        let controller = Slow::default();
        let done = controller.done.clone();
        let mut tasks = working(controller, &["a", "bad"]);
        let ended = tokio::time::timeout(Duration::from_secs(1), ended(&mut tasks)).await.unwrap();
        assert!(matches!(&ended, Ended::Failed(error) if error.is_panic()), "{ended:?}");
        assert!(tasks.is_empty());
        sleep(Duration::from_secs(6000)).await;
        assert_eq!(done.load(Ordering::Relaxed), 0, "the others are stopped");
    }
}
