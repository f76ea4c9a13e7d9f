//! A controller and the workers that drive it.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use component::Check;
use futures::StreamExt;
use futures::future::join_all;
use futures::stream::FuturesUnordered;
use tokio::task::{JoinError, JoinSet};
use tracing::Instrument;

use super::{Error, Informer, Metrics, ObjectKey, Synced, Watched, WorkQueue};

/// Controllers that wait longer before they begin are worth a line in the log.
const LONG: Duration = Duration::from_secs(10);

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
    reads: Vec<Synced>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("controller", &self.controller.name())
            .field("workers", &self.workers)
            .field("reads", &self.reads.iter().map(|read| &read.kind).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Registered {
    /// Joins the two; one key is looked at at a time.
    pub fn new(controller: impl Controller + 'static, queue: Arc<WorkQueue>) -> Self {
        Self { controller: Arc::new(controller), queue, workers: 1, reads: Vec::new() }
    }

    /// The controller reads this store: it does not begin before everything that exists has been seen there.
    #[must_use]
    pub fn reads<K: Watched>(mut self, store: &Informer<K>) -> Self {
        self.reads.push(store.synced());
        self
    }

    /// How many keys may be looked at at a time. A look may take as long as it needs: it holds up one worker,
    /// and nobody else looks at its key meanwhile.
    #[must_use]
    pub fn with_workers(self, workers: u16) -> Self {
        Self { workers, ..self }
    }

    /// The kinds that it has not seen yet.
    fn waits_for(&self) -> Vec<&str> {
        let missing = self.reads.iter().filter(|read| !read.is_reached());
        missing.map(|read| &*read.kind).collect()
    }

    /// Has its queue counted.
    pub fn count_in(&self, metrics: &Metrics) {
        self.queue.count_in(metrics, self.controller.name());
    }
}

/// Starts the workers of a controller, which begin when it has seen what it reads.
pub fn work(registered: &Registered, tasks: &mut JoinSet<()>) {
    for _ in 0..registered.workers {
        tasks.spawn(worker(registered.clone()));
    }
}

/// Returns when all controllers have begun. Until then the check says which of them wait, and for what.
pub async fn begun(controllers: &[Registered], check: &Check) {
    let reads = controllers.iter().flat_map(|controller| controller.reads.clone());
    let mut missing: FuturesUnordered<_> = reads.map(Synced::reached).collect();
    loop {
        let waiting = waiting(controllers);
        if waiting.is_empty() {
            return check.ready();
        }
        check.failed(&waiting);
        if tokio::time::timeout(LONG, missing.next()).await.is_err() {
            tracing::warn!("{waiting}");
        }
    }
}

fn waiting(controllers: &[Registered]) -> String {
    let waiting = controllers.iter().filter_map(|registered| {
        let kinds = registered.waits_for().join(", ");
        let name = registered.controller.name();
        (!kinds.is_empty()).then(|| format!("{name} waits for {kinds}"))
    });
    waiting.collect::<Vec<_>>().join("; ")
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
    let Registered { controller, queue, reads, .. } = registered;
    join_all(reads.into_iter().map(Synced::reached)).await;
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
            if error.may_pass() { queue.failed(key) } else { queue.succeeded(key) }
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

    use api_types::api::core::v1::{Node, Pod};
    use component::Health;
    use kube::runtime::watcher::Event;
    use tokio::time::sleep;

    use super::*;
    use crate::frame::Fault;

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

    /// Counts its looks.
    struct Reader(&'static str, Arc<AtomicUsize>);

    #[async_trait::async_trait]
    impl Controller for Reader {
        fn name(&self) -> &'static str {
            self.0
        }

        async fn reconcile(&self, _: &ObjectKey) -> Result<Next, Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Ok(Next::Change)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_begins_when_it_has_seen_what_it_reads_and_waits_for_nothing_else() {
        let (pods, nodes) = (Informer::<Pod>::default(), Informer::<Node>::default());
        let (many, one) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let looks = || (many.load(Ordering::Relaxed), one.load(Ordering::Relaxed));
        let register = |name, looks: &Arc<AtomicUsize>| {
            let queue = Arc::new(WorkQueue::default());
            queue.add(ObjectKey::cluster("a"));
            Registered::new(Reader(name, looks.clone()), queue)
        };
        let all = [
            register("many", &many).reads(&pods).reads(&nodes),
            register("one", &one).reads(&nodes),
        ];
        let (health, mut tasks) = (Health::default(), JoinSet::new());
        all.iter().for_each(|registered| work(registered, &mut tasks));
        let (telling, check) = (all.clone(), health.check("watching"));
        tasks.spawn(async move { begun(&telling, &check).await });
        let until_idle = || sleep(LONG * 3);

        until_idle().await;
        let waiting = "[-]watching failed: many waits for pods, nodes; one waits for nodes\n";
        assert_eq!((health.report().as_str(), looks()), (waiting, (0, 0)));
        [Event::Init, Event::InitDone].into_iter().for_each(|event| nodes.take_in(event));
        until_idle().await;
        let waiting = "[-]watching failed: many waits for pods\n";
        assert_eq!((health.report().as_str(), looks()), (waiting, (0, 1)));
        [Event::Init, Event::InitDone].into_iter().for_each(|event| pods.take_in(event));
        until_idle().await;
        assert_eq!((health.report().as_str(), looks()), ("[+]watching ok\n", (1, 1)));
    }

    /// Fails at every look.
    struct Failing(fn() -> Error, Arc<AtomicUsize>);

    #[async_trait::async_trait]
    impl Controller for Failing {
        fn name(&self) -> &'static str {
            "failing"
        }

        async fn reconcile(&self, _: &ObjectKey) -> Result<Next, Error> {
            self.1.fetch_add(1, Ordering::Relaxed);
            Err(self.0())
        }
    }

    #[derive(Debug, thiserror::Error)]
    #[error("something is wrong")]
    struct Wrong {
        passes: bool,
    }

    impl Fault for Wrong {
        fn may_pass(&self) -> bool {
            self.passes
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_looked_at_again_and_what_may_not_is_when_it_changes() {
        let check = async |error: fn() -> Error, again: bool| {
            let (queue, looks) = (Arc::new(WorkQueue::default()), Arc::<AtomicUsize>::default());
            let mut tasks = JoinSet::new();
            work(&Registered::new(Failing(error, looks.clone()), queue.clone()), &mut tasks);
            queue.add(ObjectKey::cluster("a"));
            sleep(Duration::from_secs(600)).await;
            let before = looks.load(Ordering::Relaxed);
            assert_eq!(before > 1, again, "{before} looks at {}", error());
            queue.add(ObjectKey::cluster("a"));
            sleep(Duration::from_millis(1)).await;
            assert_eq!(looks.load(Ordering::Relaxed), before + 1, "it has changed");
        };
        check(|| Wrong { passes: false }.into(), false).await;
        check(|| Wrong { passes: true }.into(), true).await;
        let call =
            || Error::Call { step: "asking", source: kube::Error::LinesCodecMaxLineLengthExceeded };
        check(call, true).await;
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
