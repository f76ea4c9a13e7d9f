//! The starts of containers that are under way: a task each, so that a slow pull holds up nothing else of
//! the pod. How they end is told to the worker, which decides anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
};

use api_types::api::core::v1::Container as Wanted;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{next_step::Failure, start::Starter};

/// The starts of one pod. They end with it.
#[derive(Debug, Default)]
pub(super) struct Starts {
    tasks: JoinSet<(String, Result<(), Failure>)>,
    /// By container name.
    under_way: BTreeMap<String, Start>,
}

#[derive(Debug)]
struct Start {
    sandbox: String,
    cancel: CancellationToken,
}

impl Starts {
    /// Begins with one more.
    pub(super) fn begin(&mut self, starter: Starter, wanted: Wanted, attempt: u32) {
        let cancel = CancellationToken::new();
        let start = Start { sandbox: starter.sandbox_id.clone(), cancel: cancel.clone() };
        self.under_way.insert(wanted.name.clone(), start);
        self.tasks.spawn(async move {
            let outcome = starter.start(&wanted, attempt, cancel.cancelled()).await;
            (wanted.name, outcome)
        });
    }

    /// The containers that are being started.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.under_way.keys().cloned().collect()
    }

    /// Only starts in this sandbox are wanted; the others end as soon as they can.
    pub(super) fn keep(&self, sandbox: Option<&str>) {
        let unwanted = self.under_way.values().filter(|start| Some(&*start.sandbox) != sandbox);
        unwanted.for_each(|start| start.cancel.cancel());
    }

    /// Waits for the end of one: which it was, and how it ended.
    ///
    /// # Panics
    /// If the start did.
    pub(super) async fn ended(&mut self) -> (String, Result<(), Failure>) {
        match self.tasks.join_next().await {
            None => pending().await,
            Some(Ok((name, outcome))) => {
                self.under_way.remove(&name);
                (name, outcome)
            }
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}
