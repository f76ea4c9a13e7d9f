//! Fetching results: beside all else, as it may take hours.

use std::sync::Arc;

use tokio::task::{JoinError, JoinSet};

use super::retries::Step;
use crate::{
    driver::{Action, Attempt},
    fetch::{self, Current, Way},
    remote::Remote,
    ssh::Error,
};

/// The files of one task, which are on their way. Dropped, they come no more.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    attempt: Option<Attempt>,
    current: Current,
    /// One at most.
    task: JoinSet<Result<Option<String>, Error>>,
}

impl Fetching {
    pub(super) fn is_busy(&self) -> bool {
        self.attempt.is_some()
    }

    /// What is done.
    pub(super) fn step(&self) -> Option<Step> {
        self.attempt.map(|attempt| Step::Act(Action::Fetch(attempt)))
    }

    /// With `last`, what cannot be fetched is left out.
    pub(super) fn begin(&mut self, remote: &Arc<Remote>, attempt: Attempt, way: Way, last: bool) {
        let (remote, current) = (remote.clone(), self.current.clone());
        self.attempt = Some(attempt);
        self.task.spawn(async move { fetch::fetch(&remote, &way, &current, last).await });
    }

    /// Waits for its end; for ever, if there is none.
    pub(super) async fn end(&mut self) -> (Attempt, Result<Option<String>, Error>) {
        let Some(ended) = self.task.join_next().await else { return std::future::pending().await };
        let Some(attempt) = self.attempt.take() else { return std::future::pending().await };
        (
            attempt,
            ended.unwrap_or_else(|error: JoinError| {
                Err(Error::failed("fetching the results", error.to_string()))
            }),
        )
    }

    /// Nobody wants the files any more: the one that is half here goes.
    pub(super) async fn give_up(&mut self) {
        self.task.shutdown().await;
        if self.attempt.take().is_some() {
            self.current.discard();
        }
    }
}
