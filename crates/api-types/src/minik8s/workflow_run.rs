//! One run of a workflow: its input, its steps, its result.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::resource::resource;
use crate::meta::Time;

resource! {
    /// One run of a workflow. Its status holds every step, so that a run goes on after a restart where it was.
    WorkflowRun = "WorkflowRun", "workflowruns", WorkflowRunSpec, WorkflowRunStatus
}

/// Which workflow is run with which input.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowRunSpec")]
pub struct WorkflowRunSpec {
    /// The Workflow's name, in the same namespace.
    pub workflow: String,
    /// The input; the workflow's `params` if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input: Option<Value>,
}

/// How far the run is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowRunStatus")]
pub struct WorkflowRunStatus {
    /// The run as a whole.
    pub phase: RunPhase,
    /// The node that is being run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_node: Option<String>,
    /// When the first step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The steps done, in their order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<Step>,
    /// The result of a run that succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why a run failed.
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
}

/// One step that was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowStep")]
pub struct Step {
    /// The workflow's node.
    pub node: String,
    /// The function that was called, if the node is a Task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Attempts made.
    pub attempts: i32,
    /// When the step began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// What the step returned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
