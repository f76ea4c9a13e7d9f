//! What the runtime and the network are asked for one pod, and have not answered yet: a task each, so that a
//! call that is slow, or never ends, holds up nothing else of the pod. How they end is told to the worker,
//! which decides anew.

use std::{future::pending, time::Duration};

use api_types::jiff::Timestamp;
use tokio::{
    task::{Id, JoinError, JoinSet},
    time::timeout,
};

use super::{
    pace::{Held, Pace},
    plan::Step,
    sandbox::SandboxError,
};
use crate::{
    network::NetworkError,
    runtime::{RuntimeError, observed::Observed},
    volumes::VolumeError,
};

/// After which one is given up, as in Kubernetes (`--runtime-request-timeout`).
const LIMIT: Duration = Duration::from_secs(120);

/// Why one failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum OperationError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Files(#[from] VolumeError),
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    #[error(
        "attempting to set container {name:?} memory limit ({limit}) below current usage ({usage})"
    )]
    BelowUsage { name: String, limit: i64, usage: u64 },
    #[error("no answer within {} s", LIMIT.as_secs())]
    GivenUp,
    #[error("its task was lost")]
    Lost(#[source] JoinError),
}

/// What has come of one; of a sandbox that was made, its id; of ports, those that were chosen.
pub(super) type Outcome = Result<Option<String>, OperationError>;

/// Gives up after a time.
pub(super) async fn within_limit<T>(
    operation: impl Future<Output = Result<T, OperationError>>,
) -> Result<T, OperationError> {
    timeout(LIMIT, operation).await.unwrap_or(Err(OperationError::GivenUp))
}

/// Those of one pod. They end with its worker.
#[derive(Debug, Default)]
pub(super) struct Operations {
    tasks: JoinSet<Outcome>,
    under_way: Vec<(Id, Step)>,
    pace: Pace,
}

impl Operations {
    /// Begins with one more.
    pub(super) fn begin(
        &mut self,
        step: Step,
        operation: impl Future<Output = Outcome> + Send + 'static,
    ) {
        // Files are removed by a thread that cannot be ended: a second must not do the same beside it.
        let task = if step == Step::Leave {
            self.tasks.spawn(operation)
        } else {
            self.tasks.spawn(within_limit(operation))
        };
        self.under_way.push((task.id(), step));
    }

    /// Whether nothing that is under way forbids this.
    pub(super) fn allow(&self, step: &Step) -> bool {
        let hinders = |other: &Step| {
            other == step || (other.uses_network() && step.uses_network()) || other.overtakes(step)
        };
        !self.under_way.iter().any(|(_, other)| hinders(other))
    }

    /// Whether the pod's sandbox is being made and connected.
    pub(super) fn connect(&self) -> bool {
        self.attempts().next().is_some()
    }

    /// The sandbox that is being made is not there before it is connected, nor is what runs in it; nothing
    /// else runs meanwhile.
    pub(super) fn conceal(&self, observed: &mut Observed) {
        if self.connect() {
            observed.sandboxes.retain(|sandbox| !self.attempts().any(|a| a == sandbox.attempt));
            observed.containers.retain(|container| !container.is_running());
        }
    }

    fn attempts(&self) -> impl Iterator<Item = u32> {
        self.under_way.iter().filter_map(|(_, step)| match step {
            Step::RunSandbox { attempt } => Some(*attempt),
            _ => None,
        })
    }

    /// Waits for the end of one: which it was, and what has come of it.
    pub(super) async fn ended(&mut self) -> (Step, Outcome) {
        let (task, outcome) = match self.tasks.join_next_with_id().await {
            None => return pending().await,
            Some(Ok(ended)) => ended,
            Some(Err(lost)) => (lost.id(), Err(OperationError::Lost(lost))),
        };
        let known = self.under_way.iter().position(|(id, _)| *id == task);
        let (_, step) = self.under_way.remove(known.expect("it was noted when it began"));
        (step, outcome)
    }

    /// Whether the step has to wait because it was done a moment ago.
    pub(super) fn held(&self, step: &Step, now: Timestamp) -> Option<Held> {
        self.pace.held(step, now)
    }

    /// The step is not done again before that.
    pub(super) fn hold(&mut self, step: Step, held: Held, now: Timestamp) {
        self.pace.done(step, held, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_never_ends_is_given_up_and_may_be_asked_again() {
        let mut operations = Operations::default();
        let publish = Step::PublishPorts { ports: Vec::new() };
        operations.begin(publish.clone(), pending());
        assert!(!operations.allow(&publish));
        let (step, outcome) = operations.ended().await;
        assert_eq!(step, publish);
        assert!(matches!(outcome, Err(OperationError::GivenUp)), "{outcome:?}");
        assert!(operations.allow(&publish));
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_removed_once_however_long_that_takes() {
        let mut operations = Operations::default();
        let remove = async {
            tokio::time::sleep(10 * LIMIT).await;
            Ok(None)
        };
        operations.begin(Step::Leave, remove);
        assert!(matches!(operations.ended().await, (Step::Leave, Ok(None))));
    }

    #[tokio::test]
    async fn one_that_panics_has_failed_and_the_others_go_on() {
        let mut operations = Operations::default();
        let remove = |id: &str| Step::RemoveContainer { id: id.to_owned() };
        operations.begin(remove("a"), async { panic!("as the test wants it") });
        let (step, outcome) = operations.ended().await;
        assert_eq!(step, remove("a"));
        assert!(matches!(outcome, Err(OperationError::Lost(_))), "{outcome:?}");
        operations.begin(remove("b"), async { Ok(None) });
        assert!(matches!(operations.ended().await, (step, Ok(None)) if step == remove("b")));
    }

    #[test]
    fn of_those_that_use_the_network_there_is_one_at_a_time() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _entered = runtime.enter();
        let mut operations = Operations::default();
        operations.begin(Step::RunSandbox { attempt: 0 }, pending());
        assert!(!operations.allow(&Step::PublishPorts { ports: Vec::new() }));
        assert!(operations.allow(&Step::RemoveContainer { id: "a".to_owned() }));
    }
}
