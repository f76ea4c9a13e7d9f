//! What is told of a step that has ended.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::step::StepId;
use crate::{
    error::RunError,
    limits::{MAX_DEPTH, Size},
};

/// A step that has ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The visit.
    pub step: StepId,
    /// The state's name.
    pub state: String,
    /// The element that a Map was at.
    pub iteration: Option<usize>,
    /// The function that was called last.
    pub function: Option<String>,
    /// Attempts begun.
    pub attempts: u32,
    /// When the state was entered.
    pub started: Timestamp,
    /// When it was left.
    pub ended: Timestamp,
    /// What it was given. If it is long, the beginning of its text.
    pub input: Value,
    /// What it passed on, if it did; the beginning of its text if it is long.
    pub output: Option<Value>,
    /// What it ended with, or the last attempt that failed before one that did not.
    pub error: Option<RunError>,
    /// The attempts that failed; of many, the first and the last ones, of a run that is long, fewer.
    pub failures: Vec<Failure>,
}

/// An attempt that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it failed.
    pub at: Timestamp,
    /// Why. A long name or cause is cut.
    #[serde(flatten)]
    pub error: RunError,
}

/// How many failures of a step are told.
const MAX_FAILURES: usize = 20;
/// How many bytes of the name and of the cause of each.
const MAX_NAME: usize = 256;
const MAX_CAUSE: usize = 1024;

/// One more.
pub(super) fn add_failure(
    failures: &mut Vec<Failure>,
    attempt: u32,
    at: Timestamp,
    error: &RunError,
) {
    let mut error = error.clone();
    shorten(&mut error.error, MAX_NAME);
    shorten(&mut error.cause, MAX_CAUSE);
    failures.push(Failure { attempt, at, error });
    keep_failures(failures, MAX_FAILURES);
}

/// Of many failures the first and the last ones stay.
pub(super) fn keep_failures(failures: &mut Vec<Failure>, most: usize) {
    let first = most / 4;
    if let Some(dropped) = failures.len().checked_sub(most) {
        failures.drain(first..first + dropped);
    }
}

fn shorten(text: &mut String, most: usize) {
    if text.len() > most {
        text.truncate(text.floor_char_boundary(most));
        text.push('…');
    }
}

/// The longest JSON text of a value that is told in full.
const MAX_VALUE: usize = 4 * 1024;

/// A value that is long becomes the beginning of its text.
pub(super) fn cut(value: Value) -> Value {
    let size = Size::of(&value);
    if size.bytes <= MAX_VALUE && size.depth <= MAX_DEPTH {
        return value;
    }
    let text = value.to_string();
    Value::String(text[..text.floor_char_boundary(MAX_VALUE)].to_owned() + "…")
}
