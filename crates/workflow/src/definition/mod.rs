//! What a document says a run does. Both languages become the same states: [`asl`] reads the Amazon States Language,
//! [`graph`] the nodes. Reading does not stop at a fault: all are told, each with its path.

mod asl;
mod choice;
mod fields;
mod function;
mod graph;
mod machine;
mod reach;
mod retry;
mod selection;

use std::time::Duration;

use api_machinery::{FieldErrors, FieldPath};
use serde_json::Value;

use crate::faults::Faults;

pub(crate) use function::Invocation;
pub(crate) use machine::{Concurrency, Kind, Machine, Map, Next, State, Text, Timeout, Until};
pub(crate) use retry::Retrier;
pub(crate) use selection::Selection;

/// A document that was understood and has no fault.
#[derive(Clone, Debug)]
pub struct Definition {
    pub(crate) machine: Machine,
    pub(crate) timeout: Option<Duration>,
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
