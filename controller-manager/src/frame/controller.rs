//! A controller and the workers that drive it.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use tokio::task::JoinSet;
use tracing::Instrument;

use super::{Error, ObjectKey, WorkQueue};

/// No reconciliation takes this long; one that does hangs on a connection that died silently.
const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the world as an object says. It gets no hint about what has changed: it reads the stores,
/// compares, acts, and may run twice.
#[async_trait::async_trait]
pub trait Controller: Send + Sync {
    /// The name in logs, in Kubernetes' words.
    fn name(&self) -> &'static str;

    /// Looks at one key.
    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error>;

    /// How many keys may be looked at at a time.
    fn workers(&self) -> usize {
        8
    }
}

/// When to look at a key again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// When something changes.
    Change,
    /// After this time, if nothing changes before.
    After(Duration),
}

/// A controller with the queue that the informers fill for it.
#[derive(Clone)]
pub struct Registered {
    controller: Arc<dyn Controller>,
    queue: Arc<WorkQueue>,
}

impl std::fmt::Debug for Registered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Registered")
            .field("controller", &self.controller.name())
            .finish_non_exhaustive()
    }
}

impl Registered {
    /// Joins the two.
    pub fn new(controller: impl Controller + 'static, queue: Arc<WorkQueue>) -> Self {
        Self { controller: Arc::new(controller), queue }
    }
}

/// Starts the workers of a controller.
pub fn work(registered: &Registered, tasks: &mut JoinSet<()>) {
    for _ in 0..registered.controller.workers() {
        tasks.spawn(worker(registered.clone()));
    }
}

async fn worker(registered: Registered) {
    let Registered { controller, queue } = registered;
    loop {
        let key = queue.next().await;
        let span = tracing::debug_span!("reconcile", controller = controller.name(), %key);
        reconcile(&*controller, &queue, &key).instrument(span).await;
        queue.done(&key);
    }
}

/// One look. Whatever happens in it, the worker lives on.
async fn reconcile(controller: &dyn Controller, queue: &WorkQueue, key: &ObjectKey) {
    let looking = AssertUnwindSafe(controller.reconcile(key)).catch_unwind();
    match tokio::time::timeout(PATIENCE, looking).await {
        Ok(Ok(Ok(next))) => {
            queue.succeeded(key);
            if let Next::After(delay) = next {
                queue.add_after(key.clone(), delay);
            }
            return;
        }
        Ok(Ok(Err(error))) => log(&error, controller, key),
        Ok(Err(_)) => tracing::error!(controller = controller.name(), %key, "reconcile panicked"),
        Err(_) => tracing::warn!(controller = controller.name(), %key, "reconcile took too long"),
    }
    queue.failed(key);
}

fn log(error: &Error, controller: &dyn Controller, key: &ObjectKey) {
    let (controller, reason) = (controller.name(), error.reason());
    if error.is_conflict() {
        tracing::debug!(controller, %key, step = %error, reason, "somebody else was faster");
    } else {
        tracing::warn!(controller, %key, step = %error, reason, "reconcile failed");
    }
}
