//! What ends a step or a run, by the names that Retry and Catch know.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::limits::{MAX_DEPTH, MAX_EXECUTION, MAX_EXECUTION_DEPTH};

/// An error and what it is about, as the Amazon States Language names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunError {
    /// The name, e.g. `States.Timeout`, or the type of a function's own exception.
    pub error: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub cause: String,
}

/// Matches every error that may be caught.
pub(crate) const ALL: &str = "States.ALL";
/// Matches every error of a call but a timeout.
pub(crate) const TASK_FAILED: &str = "States.TaskFailed";
const BRANCH_FAILED: &str = "States.BranchFailed";
const TIMEOUT: &str = "States.Timeout";
const RUNTIME: &str = "States.Runtime";
const STEP_LIMIT: &str = "States.StepLimitExceeded";
const DATA_LIMIT: &str = "States.DataLimitExceeded";

impl RunError {
    /// An error by its name.
    #[must_use]
    pub fn new(error: &str, cause: impl Into<String>) -> Self {
        Self { error: error.to_owned(), cause: cause.into() }
    }

    /// A call, or a run, took longer than it may.
    #[must_use]
    pub fn timeout(cause: impl Into<String>) -> Self {
        Self::new(TIMEOUT, cause)
    }

    /// What is to be passed on or stored is too long.
    #[must_use]
    pub fn data_limit(cause: impl Into<String>) -> Self {
        Self::new(DATA_LIMIT, cause)
    }

    /// The data is not what the definition needs it to be; another attempt would find the same.
    pub(crate) fn runtime(cause: impl Into<String>) -> Self {
        Self::new(RUNTIME, cause)
    }

    pub(crate) fn step_limit(limit: u64) -> Self {
        Self::new(STEP_LIMIT, format!("the run took more than {limit} steps"))
    }

    pub(crate) fn execution_limit() -> Self {
        Self::data_limit(format!(
            "the run's state is longer than {MAX_EXECUTION} bytes or nested deeper than {MAX_EXECUTION_DEPTH} levels"
        ))
    }

    pub(crate) fn depth_limit() -> Self {
        Self::data_limit(format!("a step's data is nested deeper than {MAX_DEPTH} levels"))
    }

    pub(crate) fn parameter_path(cause: impl Into<String>) -> Self {
        Self::new("States.ParameterPathFailure", cause)
    }

    pub(crate) fn result_path(cause: impl Into<String>) -> Self {
        Self::new("States.ResultPathMatchFailure", cause)
    }

    pub(crate) fn intrinsic(cause: impl Into<String>) -> Self {
        Self::new("States.IntrinsicFailure", cause)
    }

    pub(crate) fn no_choice() -> Self {
        Self::new("States.NoChoiceMatched", "no rule of the Choice holds, and it has no default")
    }

    /// Whether a Retry or Catch that lists `name` is meant.
    pub(crate) fn is(&self, name: &str, of_branches: bool) -> bool {
        match self.error.as_str() {
            RUNTIME | STEP_LIMIT => false,
            DATA_LIMIT => name == DATA_LIMIT,
            error => {
                name == error
                    || name == ALL
                    || (name == TASK_FAILED && error != TIMEOUT)
                    || (name == BRANCH_FAILED && of_branches)
            }
        }
    }

    /// What a Catch passes on.
    pub(crate) fn output(&self) -> Value {
        json!({"Error": self.error, "Cause": self.cause})
    }
}
