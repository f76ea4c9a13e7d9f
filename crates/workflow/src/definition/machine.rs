//! States, as both languages say them.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    function::Invocation,
    retry::{Catcher, Retrier},
    selection::Selection,
};
use crate::{
    choice::Rule,
    intrinsic::Expression,
    path::{Path, ReferencePath},
    template::Template,
};

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
    Expression(Expression),
}

impl Machine {
    pub(super) fn functions(&self, names: &mut Vec<String>) {
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
