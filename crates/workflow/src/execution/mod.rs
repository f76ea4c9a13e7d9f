//! A run: where it is, what is to be done for it, and what it makes of what came of that.
//!
//! *Flow.* [`Engine::start`] enters the first state and goes on to where something has to be waited for. From then on
//! [`Engine::pending`] says what that is: calls and times, each for a step. Whoever drives the run does all of it, gives
//! what comes of it to [`Engine::apply`], stores the execution, and looks at `pending` again: what is there anew is to
//! be begun, what is there no more is of no interest any longer. After many steps of which none had to wait there is a
//! time to wait for that has come already, so that they are stored before the next ones.
//!
//! *Guarantees.* The same execution and event give the same execution again. An event for a step that does not wait for
//! it changes nothing, so a result that comes twice, or too late, does no harm. A step's id is never used again, and
//! stays the same through its attempts: what is called with it as its key is called for one visit of one state.

mod ahead;
mod history;
mod interpreter;
mod thread;

use std::time::Duration;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use history::{Failure, Record};

use crate::{
    Definition,
    context::Facts,
    error::RunError,
    limits::{MAX_EXECUTION, length},
    random::Random,
};
use interpreter::{Flow, Interpreter};
use thread::{Progress, Thread};

/// A visit to a state, unlike any other of the run. 0 is the run itself.
pub type StepId = u64;

const RUN: StepId = 0;

/// A definition and the facts of one run of it.
#[derive(Clone, Debug)]
pub struct Engine {
    definition: Definition,
    facts: Facts,
}

/// Where a run is. It can be stored and read again at any time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Execution {
    /// Gone when the run has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    thread: Option<Thread>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// Steps begun.
    steps: u64,
    random: Random,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline: Option<Timestamp>,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// With this output.
    Succeeded(Value),
    /// With this error, which nothing caught.
    Failed(RunError),
    /// By a wish.
    Cancelled,
}

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
    fn step(&self) -> StepId {
        match self {
            Event::Returned { step, .. } | Event::Failed { step, .. } | Event::Elapsed { step } => {
                *step
            }
            Event::Cancelled => RUN,
        }
    }
}

// === impl Execution ===

impl Execution {
    /// How the run ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    fn end(&mut self, outcome: Outcome) {
        self.thread = None;
        self.outcome = Some(outcome);
    }
}

// === impl Engine ===

impl Engine {
    /// Runs `definition` as the run that `facts` tell of.
    #[must_use]
    pub fn new(definition: Definition, facts: Facts) -> Self {
        Self { definition, facts }
    }

    /// Begins the run. What it takes by chance comes of `seed`.
    #[must_use]
    pub fn start(&self, seed: u64) -> (Execution, Vec<Record>) {
        let now = self.facts.started;
        let deadline = self.definition.timeout.and_then(|timeout| now.checked_add(timeout).ok());
        let mut execution = Execution {
            thread: None,
            outcome: None,
            steps: 0,
            random: Random::new(seed),
            deadline,
        };
        let records = self.advance(&mut execution, now, |interpreter| {
            interpreter.start(&self.definition.machine, (*self.facts.input).clone())
        });
        (execution, records)
    }

    /// Takes in what happened at `now`, and tells which steps ended by it.
    pub fn apply(&self, execution: &mut Execution, event: Event, now: Timestamp) -> Vec<Record> {
        let late = |deadline: &Timestamp| *deadline <= now;
        match event {
            _ if execution.outcome.is_some() => Vec::new(),
            Event::Cancelled => {
                execution.end(Outcome::Cancelled);
                Vec::new()
            }
            Event::Elapsed { step: RUN } => {
                if execution.deadline.as_ref().is_some_and(late) {
                    execution.end(Outcome::Failed(RunError::timeout("the run took too long")));
                }
                Vec::new()
            }
            event => {
                let Some(thread) = execution.thread.take() else { return Vec::new() };
                self.advance(execution, now, |interpreter| {
                    interpreter.deliver(&self.definition.machine, thread, event)
                })
            }
        }
    }

    /// All that is to be done now.
    #[must_use]
    pub fn pending(&self, execution: &Execution) -> Vec<Action> {
        let mut actions = Vec::new();
        if let Some(thread) = &execution.thread {
            thread.pending(&mut actions);
            actions.extend(execution.deadline.map(|until| Action::Wait { step: RUN, until }));
        }
        actions
    }

    fn advance(
        &self,
        execution: &mut Execution,
        now: Timestamp,
        go: impl FnOnce(&mut Interpreter<'_>) -> Flow,
    ) -> Vec<Record> {
        let mut interpreter = Interpreter::new(&self.facts, now, execution);
        let flow = go(&mut interpreter);
        let records = interpreter.end();
        match flow {
            Flow::Waits(thread) => {
                execution.thread = Some(thread);
                if length(execution) > MAX_EXECUTION {
                    execution.end(Outcome::Failed(RunError::execution_limit()));
                }
            }
            Flow::Ended(Ok(output)) => execution.end(Outcome::Succeeded(output)),
            Flow::Ended(Err(error)) => execution.end(Outcome::Failed(error)),
        }
        records
    }
}
