//! The graph: nodes that call functions and choose, in few words. Its fields have the names that they have in the spec
//! of a Workflow.

use std::time::Duration;

use api_machinery::FieldPath;
use serde_json::Value;

use super::{
    Invocation, Kind, Machine, Next, Retrier, State, choice::graph_rule, fields::Fields, reach,
};
use crate::{error::ALL, faults::Faults};

/// Errors that a gateway tells when a function could not be asked: the next attempt may find it.
const UNAVAILABLE: [&str; 3] =
    ["Function.Unavailable", "Function.TooManyRequests", "Function.NotTaken"];

const WORDS: reach::Words = reach::Words {
    start: "startAt",
    states: "nodes",
    next: "next",
    choices: "choices",
    default: "default",
};

pub(super) fn machine(value: &Value, path: &FieldPath, faults: &mut Faults) -> Machine {
    let Some(mut fields) = Fields::of(value, path, faults) else { return Machine::default() };
    let mut machine = Machine {
        start_at: fields.required_text("startAt", faults).to_owned(),
        ..Machine::default()
    };
    let nodes = match fields.value("nodes") {
        Some(Value::Object(nodes)) if !nodes.is_empty() => nodes,
        Some(other) if !other.is_object() => {
            faults.invalid(&path.child("nodes"), other, "must be an object");
            return machine;
        }
        _ => {
            faults.errors.required(&path.child("nodes"), "");
            return machine;
        }
    };
    fields.end("a graph", faults);
    for (name, value) in nodes {
        if let Some(state) = node(name, value, &path.child("nodes").key(name), faults) {
            machine.states.insert(name.clone(), state);
        }
    }
    reach::check(&machine, nodes, (path, &WORDS), faults);
    machine
}

fn node(name: &str, value: &Value, path: &FieldPath, faults: &mut Faults) -> Option<State> {
    let mut fields = Fields::of(value, path, faults)?;
    let state = match fields.required_text("type", faults) {
        "Task" => Some(task(name, &mut fields, faults)),
        "Choice" => Some(choice(&mut fields, faults)),
        "" => None,
        other => {
            faults.errors.not_supported(&path.child("type"), other, &["Choice", "Task"]);
            None
        }
    };
    if state.is_some() {
        fields.end("a node of this type", faults);
    }
    state
}

fn task(name: &str, fields: &mut Fields<'_>, faults: &mut Faults) -> State {
    let function = fields.text("function", faults).unwrap_or(name);
    let next = fields.text("next", faults).map(str::to_owned);
    let function = Invocation::parse(function).unwrap_or_else(|why| {
        faults.errors.invalid(&fields.at("function"), function, &why);
        Invocation::Function(String::new())
    });
    let kind = Kind::Task { function, timeout: None };
    let mut state = State::new(kind, next.map_or(Next::End, Next::State));
    state.retry = vec![retrier(fields, faults)];
    state
}

/// A node without a rule of its own asks again for a function that cannot be reached: five times in all.
fn retrier(fields: &mut Fields<'_>, faults: &mut Faults) -> Retrier {
    let path = fields.at("retry");
    let mut retrier = Retrier {
        errors: UNAVAILABLE.map(str::to_owned).into(),
        interval: Duration::from_secs(1),
        max_attempts: 4,
        backoff: 2.0,
        max_delay: None,
        jitter: false,
    };
    let given = fields.value("retry").and_then(|value| Fields::of(value, &path, faults));
    if let Some(mut fields) = given {
        let attempts = fields.count("maxAttempts", 1, faults).unwrap_or(1);
        retrier.errors = vec![ALL.to_owned()];
        retrier.max_attempts = u32::try_from(attempts - 1).unwrap_or(u32::MAX);
        retrier.interval = fields.seconds("intervalSeconds", 0, faults).unwrap_or_default();
        retrier.backoff = 1.0;
        fields.end("a retry", faults);
    }
    retrier
}

fn choice(fields: &mut Fields<'_>, faults: &mut Faults) -> State {
    let path = fields.at("choices");
    let rules = fields.required_list("choices", faults).iter().enumerate();
    let rules = rules.filter_map(|(i, value)| graph_rule(value, &path.index(i), faults)).collect();
    let default = fields.text("default", faults).map(str::to_owned);
    if default.is_none() {
        faults.warn(&fields.path, "has no `default`: data for which no choice holds ends the run with States.NoChoiceMatched");
    }
    State::new(Kind::Choice { rules, default }, Next::End)
}
