//! One run of a workflow: its input, its steps, its result.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resource::resource;
use crate::meta::{MicroTime, Time};

resource! {
    /// One run of a workflow. Its status holds every step, so that a run goes on after a restart where it was.
    WorkflowRun = "WorkflowRun", "workflowruns", WorkflowRunSpec, WorkflowRunStatus
}

impl WorkflowRun {
    /// How long a run is its holder's after the holder's last write. Whoever waits for that measures it himself:
    /// clocks differ.
    pub const LEASE: Duration = Duration::from_secs(10);
}

/// Which workflow is run with which input. Only `cancel` may change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowRunSpec")]
pub struct WorkflowRunSpec {
    /// The Workflow's name, in the same namespace.
    pub workflow: String,
    /// The input; the workflow's `params` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Ends the run at its next step; what is being called is not waited for. Cannot be taken back.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cancel: bool,
}

/// How far the run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowRunStatus")]
pub struct WorkflowRunStatus {
    /// The run as a whole.
    pub phase: RunPhase,
    /// When the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The gateway that runs the steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder: Option<String>,
    /// Until when nobody but the holder may run steps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_until: Option<MicroTime>,
    /// The workflow as it was when the run began; a later change does not disturb the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    /// The input, as it was when the run began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// Where the run is, in the words of the engine; gone when it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution: Option<Value>,
    /// The steps that have ended, in the order of their ends: the last 500, or fewer if they are longer than 256 KiB together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// Steps that ended before those in `steps`, of which there is no room for more.
    #[serde(skip_serializing_if = "is_zero")]
    pub steps_dropped: i32,
    /// The result of a run that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The name of the error that ended a run that failed, e.g. `States.Timeout`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why a run failed or was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

/// The phases of a run, as a pod has them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.minik8s.v1.WorkflowRunPhase")]
pub enum RunPhase {
    /// Not begun.
    #[default]
    Pending,
    /// Between its first and last step.
    Running,
    /// Ended with a result.
    Succeeded,
    /// Ended without one.
    Failed,
    /// Ended because somebody wished so.
    Cancelled,
}

/// One step that has ended: a visit to a state, with all attempts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowStep")]
pub struct Step {
    /// The state of the workflow (in a graph, the node).
    pub state: String,
    /// Which element it was about, if the state is inside a Map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iteration: Option<i32>,
    /// The function that was called, if the state is a Task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Attempts made.
    pub attempts: i32,
    /// When the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<MicroTime>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<MicroTime>,
    /// What the state was given; absent if it is the output of the step before it. One that is long is cut, and is
    /// a text then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
    /// What the state passed on; cut as the input is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// The name of the error that ended it, or that its last attempt but one ended with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// What the error was about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The attempts that failed, if there were several; of many, the last 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<StepFailure>,
}

/// An attempt of a step that failed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowStepFailure")]
pub struct StepFailure {
    /// Its number, from 1.
    pub attempt: i32,
    /// When it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<MicroTime>,
    /// The name of the error.
    pub error: String,
    /// What the error was about; cut if it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
}

impl RunPhase {
    /// Whether the run has ended.
    #[must_use]
    pub fn has_ended(self) -> bool {
        matches!(self, RunPhase::Succeeded | RunPhase::Failed | RunPhase::Cancelled)
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}
