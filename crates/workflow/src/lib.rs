//! Workflows: what a definition says, and how a run of it goes on. Pure: no I/O, no clock, no source of chance of its
//! own, so that an [`Execution`] that was stored goes on as if nothing had happened, wherever it is read again.
//!
//! A [`Definition`] is made of a document, in the Amazon States Language or as a graph of nodes; either becomes the
//! same states. An [`Engine`] is a definition and the facts of one run. It begins an [`Execution`], tells what is to be
//! done for it ([`Engine::pending`]) and takes in what came of that ([`Engine::apply`]).
//!
//! The Amazon States Language is taken with its JSONPath data flow, as <https://states-language.net> has it; a Task
//! calls a function. What it has beyond that and is not understood here is refused, not ignored.

mod choice;
mod context;
mod definition;
mod error;
mod execution;
mod faults;
mod intrinsic;
mod limits;
mod path;
mod random;
mod source;
mod template;

pub use context::Facts;
pub use definition::Definition;
pub use error::RunError;
pub use execution::{
    Action, Ahead, Call, Engine, Event, Execution, Failure, Outcome, Record, StepId,
};
pub use limits::{MAX_DEPTH, MAX_EXECUTION, MAX_PAYLOAD, MAX_STEPS, Size};
