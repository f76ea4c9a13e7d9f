//! The starts of containers that are under way: a task each, so that a slow pull holds up nothing else of
//! the pod. How they end is told to the worker, which decides anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
};

use api_types::api::core::v1::{Container as Wanted, Pod};
use tokio::{
    sync::watch,
    task::{Id, JoinSet},
};
use tokio_util::sync::CancellationToken;

use super::{
    place::Place,
    plan::Failure,
    start::{Started, Starter},
};
use crate::{runtime::observed::Observed, spec};

/// The starts of one pod. They end with it.
#[derive(Debug, Default)]
pub(super) struct Starts {
    tasks: JoinSet<Result<Started, Failure>>,
    /// By container name.
    under_way: BTreeMap<String, Start>,
    /// Those of the present round, each cancelled when the start has ended.
    round: Vec<CancellationToken>,
}

#[derive(Debug)]
struct Start {
    task: Id,
    attempt: u32,
    place: watch::Receiver<Place>,
    hash: String,
    cancel: CancellationToken,
}

impl Starts {
    /// What begins from here on waits for nothing that began before.
    pub(super) fn new_round(&mut self) {
        self.round.clear();
    }

    /// Begins with one more. Containers are made side by side; one is started once the starts that began
    /// before it in this round have ended, as Kubernetes starts containers one by one.
    pub(super) fn begin(&mut self, starter: Starter, wanted: Wanted, attempt: u32) {
        let (cancel, ended) = (CancellationToken::new(), CancellationToken::new());
        let (name, hash) = (wanted.name.clone(), spec::hash(&wanted));
        let (place, cancelled) = (starter.place.clone(), cancel.clone());
        let (before, done) = (self.round.clone(), ended.clone().drop_guard());
        let task = self.tasks.spawn(async move {
            let _done = done;
            let turn = async {
                futures::future::join_all(before.iter().map(|b| b.cancelled())).await;
            };
            starter.start(&wanted, attempt, turn, &cancelled).await
        });
        self.under_way.insert(name, Start { task: task.id(), attempt, place, hash, cancel });
        self.round.push(ended);
    }

    /// Whether there are any.
    pub(super) fn are_under_way(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// The containers that are being started.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.under_way.keys().cloned().collect()
    }

    /// Only starts in this sandbox, of containers as the pod has them, are wanted; the others end as soon
    /// as they can. So do those whose sandbox could not be made.
    pub(super) fn keep(&self, sandbox: Option<&str>, pod: &Pod) {
        for (name, start) in &self.under_way {
            let wanted = spec::container(pod, name).map(|wanted| spec::hash(&wanted));
            let here = start.place.borrow().id.as_deref().is_some_and(|id| Some(id) == sandbox);
            if !here || wanted.as_ref() != Some(&start.hash) {
                start.cancel.cancel();
            }
        }
    }

    /// A container runs once its start has ended: before, its postStart hook is not through.
    pub(super) fn conceal(&self, observed: &mut Observed) {
        observed.containers.retain(|container| {
            let start = self.under_way.get(&container.name);
            !(container.is_running() && start.is_some_and(|s| s.attempt == container.attempt))
        });
    }

    /// Waits for the end of one: which it was, and what has come of it. One that panicked has failed, and
    /// the others go on.
    pub(super) async fn ended(&mut self) -> (String, Result<Started, Failure>) {
        let (task, outcome) = match self.tasks.join_next_with_id().await {
            None => pending().await,
            Some(Ok(ended)) => ended,
            Some(Err(error)) => (error.id(), Err(Failure::lost(&error))),
        };
        // Never absent: a container begins anew only once it is not under way.
        let known = self.under_way.iter().find(|(_, start)| start.task == task);
        let name = known.map(|(name, _)| name.clone()).unwrap_or_default();
        self.under_way.remove(&name);
        (name, outcome)
    }
}
