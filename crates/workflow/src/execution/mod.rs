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
mod engine;
mod history;
mod interpreter;
mod step;
mod thread;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use ahead::Ahead;
pub use engine::Engine;
pub use history::{Failure, Record};
pub use step::{Action, Call, Event, StepId};

use crate::{
    error::RunError,
    limits::{MAX_EXECUTION, MAX_EXECUTION_DEPTH, Size},
    random::Random,
};
use thread::Thread;

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

impl Execution {
    /// How the run ended, if it has.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome> {
        self.outcome.as_ref()
    }

    /// Whether it can be stored. What is kept only to be told gives way.
    fn fits(&mut self) -> bool {
        for failures in [5, 1, 0] {
            if self.is_small() {
                return true;
            }
            self.thread.iter_mut().for_each(|thread| thread.keep_failures(failures));
        }
        self.is_small()
    }

    fn is_small(&self) -> bool {
        let size = Size::of(self);
        size.bytes <= MAX_EXECUTION && size.depth <= MAX_EXECUTION_DEPTH
    }

    fn end(&mut self, outcome: Outcome) {
        self.thread = None;
        self.outcome = Some(outcome);
    }
}
