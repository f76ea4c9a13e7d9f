//! What a document says a run does. Both languages become the same states: [`asl`] reads the Amazon States Language,
//! [`graph`] the nodes. Reading does not stop at a fault: all are told, each with its path.

mod asl;
mod choice;
mod fields;
mod function;
mod graph;
mod reach;
mod retry;

use std::{collections::BTreeMap, fmt, time::Duration};

use api_machinery::{FieldErrors, FieldPath};
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    choice::Rule,
    path::{Path, ReferencePath},
    template::Template,
};

pub(crate) use function::Invocation;
pub(crate) use retry::{Catcher, Retrier};

/// A document that was understood and has no fault.
#[derive(Clone, Debug)]
pub struct Definition {
    pub(crate) machine: Machine,
    pub(crate) timeout: Option<Duration>,
    warnings: Vec<String>,
}

/// States and where to begin: a definition, a branch of a Parallel, what a Map does for each element.
#[derive(Clone, Debug, Default)]
pub(crate) struct Machine {
    pub(crate) start_at: String,
    pub(crate) states: BTreeMap<String, State>,
}

/// A state: what it does, what it is given and what it passes on.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    pub(crate) next: Next,
    pub(crate) input: Selection,
    pub(crate) parameters: Option<Template>,
    pub(crate) selector: Option<Template>,
    /// Where the result is put in what the state was given; absent if it is dropped.
    pub(crate) result: Option<ReferencePath>,
    pub(crate) output: Selection,
    pub(crate) retry: Vec<Retrier>,
    pub(crate) catch: Vec<Catcher>,
}

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Task { function: Invocation, timeout: Option<Timeout> },
    Pass { result: Option<Value> },
    Choice { rules: Vec<Rule>, default: Option<String> },
    Wait(Until),
    Succeed,
    Fail { error: Option<Text>, cause: Option<Text> },
    Parallel { branches: Vec<Machine> },
    Map(Box<Map>),
}

#[derive(Clone, Debug)]
pub(crate) struct Map {
    pub(crate) items: Path,
    /// What an element becomes before the machine is given it.
    pub(crate) selector: Option<Template>,
    pub(crate) machine: Machine,
    pub(crate) concurrency: Concurrency,
}

/// What follows a state that does not choose by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    State(String),
    End,
}

/// What of the data is passed.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    All,
    /// An empty object.
    Nothing,
    Path(Path),
}

#[derive(Clone, Debug)]
pub(crate) enum Until {
    After(Duration),
    AfterPath(Path),
    At(Timestamp),
    AtPath(Path),
}

#[derive(Clone, Debug)]
pub(crate) enum Timeout {
    Fixed(Duration),
    Path(Path),
}

/// How many elements a Map is at, at a time.
#[derive(Clone, Debug)]
pub(crate) enum Concurrency {
    Unlimited,
    Fixed(usize),
    Path(Path),
}

/// A text, or where it is in the data.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Fixed(String),
    Expression(crate::intrinsic::Expression),
}

/// What was found on the way through a document.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(crate) errors: FieldErrors,
    warnings: Vec<String>,
}

impl Definition {
    /// Reads a document: one with `nodes` is a graph, every other is of the Amazon States Language.
    ///
    /// # Errors
    ///
    /// All faults, with their paths below `path`.
    pub fn parse(document: &Value, path: &FieldPath) -> Result<Self, FieldErrors> {
        let mut faults = Faults::default();
        let is_graph = document.get("nodes").is_some() || document.get("startAt").is_some();
        let (machine, timeout) = if is_graph {
            (graph::machine(document, path, &mut faults), None)
        } else {
            asl::definition(document, path, &mut faults)
        };
        if faults.errors.is_empty() {
            return Ok(Self { machine, timeout, warnings: faults.warnings });
        }
        Err(faults.errors)
    }

    /// What is allowed and yet hardly meant so, each with its path.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The functions that a run may call, as far as they are known before it, in the order of their names.
    #[must_use]
    pub fn functions(&self) -> Vec<String> {
        let mut names = Vec::new();
        self.machine.functions(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Machine {
    fn functions(&self, names: &mut Vec<String>) {
        for state in self.states.values() {
            match &state.kind {
                Kind::Task { function, .. } => {
                    names.extend(function.known(state.parameters.as_ref()));
                }
                _ => state.machines().for_each(|machine| machine.functions(names)),
            }
        }
    }
}

impl Next {
    pub(crate) fn name(&self) -> Option<&str> {
        match self {
            Next::State(name) => Some(name),
            Next::End => None,
        }
    }
}

impl State {
    pub(crate) fn new(kind: Kind, next: Next) -> Self {
        Self {
            kind,
            next,
            input: Selection::All,
            parameters: None,
            selector: None,
            result: ReferencePath::parse("$").ok(),
            output: Selection::All,
            retry: Vec::new(),
            catch: Vec::new(),
        }
    }

    /// The machines within it.
    pub(crate) fn machines(&self) -> impl Iterator<Item = &Machine> {
        match &self.kind {
            Kind::Parallel { branches } => branches.as_slice(),
            Kind::Map(map) => std::slice::from_ref(&map.machine),
            _ => &[],
        }
        .iter()
    }
}

impl Faults {
    /// A value that is wrong, shown as JSON.
    pub(crate) fn invalid(&mut self, path: &FieldPath, value: &Value, why: &str) {
        self.errors.invalid(path, Json(value), why);
    }

    pub(crate) fn warn(&mut self, path: &FieldPath, what: impl fmt::Display) {
        self.warnings.push(format!("{path}: {what}"));
    }
}

struct Json<'a>(&'a Value);

impl fmt::Debug for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.0, f)
    }
}
