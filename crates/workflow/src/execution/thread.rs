//! Where a line of states is: a run has one, and each branch of a Parallel and each element of a Map has one within.

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::{
    history::{Failure, keep_failures},
    step::{Action, Call, StepId},
};

/// The visit to a state that has not ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Thread {
    pub(super) step: StepId,
    pub(super) state: String,
    pub(super) entered: Timestamp,
    /// What the state was given, before anything was selected of it.
    pub(super) input: Value,
    /// Attempts begun.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) attempts: u32,
    /// How often each Retry was used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) retries: Vec<u32>,
    /// The attempts that failed, or some of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<Failure>,
    /// The function that was called last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) function: Option<String>,
    pub(super) progress: Progress,
}

/// What a visit waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Progress {
    /// For its turn: the state is to be begun.
    Entered,
    /// For a function.
    Calling {
        /// What it was given; the state's own input if absent.
        #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
        input: Option<Value>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<Duration>,
    },
    /// For a time, to pass on.
    Waiting(Timestamp),
    /// For a time, to begin again.
    Retrying(Timestamp),
    /// For its branches, or its elements.
    Forked(Fork),
}

/// Branches of a Parallel, or elements of a Map.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Fork {
    /// A Map's elements; a Parallel has none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) items: Vec<Value>,
    /// How many may run at a time.
    pub(super) limit: usize,
    pub(super) branches: Vec<Branch>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Branch {
    Waiting,
    Running(Box<Thread>),
    Done(Value),
}

impl Thread {
    pub(super) fn pending(&self, actions: &mut Vec<Action>) {
        let step = self.step;
        match &self.progress {
            Progress::Entered => actions.push(Action::Wait { step, until: self.entered }),
            Progress::Calling { input, timeout } => actions.push(Action::Call(Call {
                step,
                attempt: self.attempts,
                function: self.function.clone().unwrap_or_default(),
                input: input.as_ref().unwrap_or(&self.input).clone(),
                timeout: *timeout,
            })),
            Progress::Waiting(until) | Progress::Retrying(until) => {
                actions.push(Action::Wait { step, until: *until });
            }
            Progress::Forked(fork) => {
                fork.running().for_each(|thread| thread.pending(actions));
            }
        }
    }

    /// Of more failures of this visit, or of one within, only some stay.
    pub(super) fn keep_failures(&mut self, most: usize) {
        keep_failures(&mut self.failures, most);
        if let Progress::Forked(fork) = &mut self.progress {
            fork.branches.iter_mut().for_each(|branch| {
                if let Branch::Running(thread) = branch {
                    thread.keep_failures(most);
                }
            });
        }
    }

    /// Whether the step is this one, or one within.
    pub(super) fn holds(&self, step: StepId) -> bool {
        self.step == step
            || match &self.progress {
                Progress::Forked(fork) => fork.running().any(|thread| thread.holds(step)),
                _ => false,
            }
    }
}

impl Fork {
    pub(super) fn running(&self) -> impl Iterator<Item = &Thread> {
        self.running_with_position().map(|(_, thread)| thread)
    }

    pub(super) fn running_with_position(&self) -> impl Iterator<Item = (usize, &Thread)> {
        self.branches.iter().enumerate().filter_map(|(position, branch)| match branch {
            Branch::Running(thread) => Some((position, thread.as_ref())),
            _ => None,
        })
    }

    /// Which branch the step is in.
    pub(super) fn position(&self, step: StepId) -> Option<usize> {
        self.branches
            .iter()
            .position(|branch| matches!(branch, Branch::Running(thread) if thread.holds(step)))
    }

    /// What all have returned, if all have.
    pub(super) fn results(&self) -> Option<Vec<Value>> {
        let results = self.branches.iter().map(|branch| match branch {
            Branch::Done(value) => Some(value.clone()),
            _ => None,
        });
        results.collect()
    }
}

/// Null is a value too.
fn given<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(input).map(Some)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}
