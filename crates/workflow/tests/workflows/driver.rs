//! Drives runs as a gateway does, in virtual time.

use std::sync::Arc;

use api_machinery::FieldPath;
use serde_json::Value;
use workflow::{
    Action, Call, Definition, Engine, Event, Execution, Facts, Outcome, Record, RunError,
};

pub(crate) use jiff::Timestamp;

pub(crate) type Answer = Result<Value, RunError>;

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) outcome: Outcome,
    pub(crate) records: Vec<Record>,
    pub(crate) calls: Vec<Call>,
    /// Seconds from its start to its end.
    pub(crate) seconds: f64,
}

pub(crate) fn start() -> Timestamp {
    "2026-01-02T03:04:05Z".parse().unwrap()
}

pub(crate) fn definition(document: &Value) -> Definition {
    Definition::parse(document, &FieldPath::default()).unwrap_or_else(|errors| panic!("{errors}"))
}

pub(crate) fn engine(document: &Value, input: Value) -> Engine {
    let facts = Facts {
        id: "uid-1".to_owned(),
        name: "run-1".to_owned(),
        workflow: "flow".to_owned(),
        started: start(),
        input: Arc::new(input),
    };
    Engine::new(definition(document), facts)
}

/// Runs the document; `function` answers calls.
pub(crate) fn run(document: &Value, input: Value, function: impl FnMut(&Call) -> Answer) -> Run {
    let engine = engine(document, input);
    let (execution, records) = engine.start(7);
    drive(&engine, execution, records, function)
}

/// What a run without calls returns.
pub(crate) fn output(document: &Value, input: Value) -> Value {
    run(document, input, |call| panic!("{} was called", call.function)).output()
}

/// One thing after another: calls first, then the time that is next.
fn drive(
    engine: &Engine,
    mut execution: Execution,
    mut records: Vec<Record>,
    mut function: impl FnMut(&Call) -> Answer,
) -> Run {
    let (mut now, mut calls) = (start(), Vec::new());
    while execution.outcome().is_none() {
        let pending = engine.pending(&execution);
        let call = pending.iter().find_map(|action| match action {
            Action::Call(call) => Some(call.clone()),
            Action::Wait { .. } => None,
        });
        let event = if let Some(call) = call {
            let answer = function(&call);
            calls.push(call.clone());
            returned(call.step, answer)
        } else {
            let (until, step) =
                pending.iter().map(time).min().expect("the run waits for something");
            now = now.max(until);
            Event::Elapsed { step }
        };
        records.extend(engine.apply(&mut execution, event, now));
    }
    let outcome = execution.outcome().unwrap().clone();
    let seconds = now.duration_since(start()).as_secs_f64();
    Run { outcome, records, calls, seconds }
}

pub(crate) fn returned(step: u64, answer: Answer) -> Event {
    match answer {
        Ok(output) => Event::Returned { step, output },
        Err(error) => Event::Failed { step, error },
    }
}

fn time(action: &Action) -> (Timestamp, u64) {
    match action {
        Action::Wait { step, until } => (*until, *step),
        Action::Call(call) => panic!("{} is not answered", call.function),
    }
}

impl Run {
    pub(crate) fn output(&self) -> Value {
        match &self.outcome {
            Outcome::Succeeded(output) => output.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn error(&self) -> RunError {
        match &self.outcome {
            Outcome::Failed(error) => error.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn states(&self) -> Vec<&str> {
        self.records.iter().map(|record| record.state.as_str()).collect()
    }
}
