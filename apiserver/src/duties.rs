//! What a server does all the time beside answering requests. A server without one of them goes on as if nothing were
//! wrong, while events pile up or listeners hear nothing: so a duty that panics, or ends before the stop, ends it all.

use std::{future::Future, panic::AssertUnwindSafe};

use futures::FutureExt;
use tokio::sync::watch;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Why a server can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DutyError {
    /// Its log has the panic itself.
    #[error("{0} has panicked")]
    Panicked(&'static str),
    /// It was to go on until the stop.
    #[error("{0} has ended")]
    Ended(&'static str),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Duties {
    tasks: TaskTracker,
    shutdown: CancellationToken,
    /// The first that failed.
    failed: watch::Sender<Option<DutyError>>,
}

impl Duties {
    /// Duties are among the `tasks`, and end with the `shutdown` wherever they are.
    pub(crate) fn new(tasks: TaskTracker, shutdown: CancellationToken) -> Self {
        Self { tasks, shutdown, failed: watch::Sender::default() }
    }

    /// Begins one in a task of its own.
    pub(crate) fn begin(
        &self,
        name: &'static str,
        duty: impl Future<Output = ()> + Send + 'static,
    ) {
        let (shutdown, failed) = (self.shutdown.clone(), self.failed.clone());
        self.tasks.spawn(async move {
            let duty = AssertUnwindSafe(shutdown.run_until_cancelled(duty)).catch_unwind();
            let error = match duty.await {
                Err(_) => DutyError::Panicked(name),
                Ok(Some(())) if !shutdown.is_cancelled() => DutyError::Ended(name),
                Ok(_) => return,
            };
            failed.send_if_modified(|first| first.is_none() && first.replace(error).is_none());
        });
    }

    /// Waits until one has failed, for ever if none does.
    pub(crate) async fn failed(&self) -> DutyError {
        let mut failed = self.failed.subscribe();
        let failed = failed.wait_for(Option::is_some).await;
        failed.ok().and_then(|first| first.clone()).expect("its sender is here")
    }
}
