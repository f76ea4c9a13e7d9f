//! A graph of functions and choices, or a state machine of the Amazon States Language.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};

use super::resource::resource;
use super::workflow_run::RunPhase;
use crate::meta::{Condition, Time};

resource! {
    /// States that call functions, choose, wait and fork: each gets what the one before it returned. It is written
    /// either as `startAt` and `nodes`, or as a `definition`.
    Workflow = "Workflow", "workflows", WorkflowSpec, WorkflowStatus
}

/// What a run does: a graph of nodes, or a definition.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowSpec")]
pub struct WorkflowSpec {
    /// Graph: the node that a run begins with.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub start_at: String,
    /// Graph: the nodes by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, WorkflowNode>,
    /// A state machine in the Amazon States Language, in place of a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub definition: Option<Value>,
    /// The input of runs that bring none of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<Value>,
    /// The runs that are kept after their end; those that ended first go first. 100 if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<i32>,
    /// How long a run is kept after its end. A week if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_seconds: Option<i64>,
}

impl WorkflowSpec {
    /// What it says a run does, as a document: the definition, or an object with `startAt` and `nodes`.
    #[must_use]
    pub fn document(&self) -> Value {
        match &self.definition {
            Some(definition) => definition.clone(),
            None => json!({"startAt": self.start_at, "nodes": self.nodes}),
        }
    }
}

/// One node: a call of a function, or a choice.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowNode")]
pub struct WorkflowNode {
    /// What the node does.
    #[serde(rename = "type")]
    pub type_: NodeType,
    /// Task: the function called; the node's own name if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub function: Option<String>,
    /// Task: the node that gets the function's result. A Task without one ends the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Task: how often a failed call is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Choice: the branches; the first whose condition holds is taken.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// Choice: the node taken when no branch's condition holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// The two sorts of node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.minik8s.v1.WorkflowNodeType")]
pub enum NodeType {
    /// Calls a function.
    #[default]
    Task,
    /// Chooses the next node by the data.
    Choice,
}

/// How a failed call is repeated.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowRetry")]
pub struct Retry {
    /// Attempts in all.
    pub max_attempts: i32,
    /// The pause between two attempts.
    pub interval_seconds: i32,
}

/// A branch: one variable, one operator with the value to compare with, and where it leads.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowChoice")]
pub struct Choice {
    /// The path of the variable in the data, with dots: `order.total`.
    pub variable: String,
    /// Equal, as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numeric_equals: Option<Number>,
    /// Not equal, as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numeric_not_equals: Option<Number>,
    /// Less, as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numeric_less_than: Option<Number>,
    /// Greater, as numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numeric_greater_than: Option<Number>,
    /// Equal, as truth values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub boolean_equals: Option<bool>,
    /// Equal, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_equals: Option<String>,
    /// Not equal, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_not_equals: Option<String>,
    /// Less, byte by byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_less_than: Option<String>,
    /// Greater, byte by byte.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub string_greater_than: Option<String>,
    /// The node that gets the data if the condition holds.
    pub next: String,
}

/// What is known of a workflow as such; its runs are objects of their own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowStatus")]
pub struct WorkflowStatus {
    /// The run that was created last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_run: Option<LastRun>,
    /// Runs that have not ended.
    pub active: i32,
    /// The generation of the spec that this status tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: the definition can be run; the message has what is odd about it. `FunctionsExist`: every function that it names
    /// is there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// A run in short.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.WorkflowLastRun")]
pub struct LastRun {
    /// The WorkflowRun's name.
    pub name: String,
    /// How far it is.
    pub phase: RunPhase,
    /// When it began or, if it has ended, when it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// Its result as JSON text, cut if it is long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
