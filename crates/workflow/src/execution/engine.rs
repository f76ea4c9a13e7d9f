//! What drives a run: begins it, takes in what happened, says what is to be done.

use jiff::Timestamp;

use super::{
    Execution, Outcome,
    history::Record,
    interpreter::{Flow, Interpreter},
    step::{Action, Event, RUN},
};
use crate::{Definition, context::Facts, error::RunError, random::Random};

/// A definition and the facts of one run of it.
#[derive(Clone, Debug)]
pub struct Engine {
    pub(super) definition: Definition,
    facts: Facts,
}

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
                if !execution.fits() {
                    execution.end(Outcome::Failed(RunError::execution_limit()));
                }
            }
            Flow::Ended(Ok(output)) => execution.end(Outcome::Succeeded(output)),
            Flow::Ended(Err(error)) => execution.end(Outcome::Failed(error)),
        }
        records
    }
}
