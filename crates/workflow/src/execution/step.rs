//! What is to be done for a step, and what may happen to it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::error::RunError;

/// A visit to a state, unlike any other of the run. 0 is the run itself.
pub type StepId = u64;

pub(super) const RUN: StepId = 0;

/// Something that is to be done for a run.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Call a function, and tell what it returned or how it failed.
    Call(Call),
    /// Tell when it is that late.
    Wait {
        /// The step that waits.
        step: StepId,
        /// Until when.
        until: Timestamp,
    },
}

/// A call of a function.
#[derive(Clone, Debug, PartialEq)]
pub struct Call {
    /// The step that calls; the same at each attempt.
    pub step: StepId,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The function's name.
    pub function: String,
    /// What it is given.
    pub input: Value,
    /// When it has failed, if the state says so.
    pub timeout: Option<Duration>,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A call returned.
    Returned {
        /// The step that called.
        step: StepId,
        /// What the function returned.
        output: Value,
    },
    /// A call failed.
    Failed {
        /// The step that called.
        step: StepId,
        /// Why.
        error: RunError,
    },
    /// It is as late as a step waits for.
    Elapsed {
        /// The step that waits.
        step: StepId,
    },
    /// The run is to end.
    Cancelled,
}

impl Action {
    /// The step that it is for.
    #[must_use]
    pub fn step(&self) -> StepId {
        match self {
            Action::Call(call) => call.step,
            Action::Wait { step, .. } => *step,
        }
    }
}

impl Event {
    pub(super) fn step(&self) -> StepId {
        match self {
            Event::Returned { step, .. } | Event::Failed { step, .. } | Event::Elapsed { step } => {
                *step
            }
            Event::Cancelled => RUN,
        }
    }
}
