//! A serverless function.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::resource;
use crate::{api::core::v1::EnvVar, meta::Condition};

resource! {
    /// Source code that is run when its HTTP trigger is called, by as many instances as the calls need, or none.
    Function = "Function", "functions", FunctionSpec, FunctionStatus
}

/// The code and how it may scale.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.FunctionSpec")]
pub struct FunctionSpec {
    /// What runs the code: `python`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The source text: a module with `main(params)`, which returns something that JSON can tell.
    pub code: String,
    /// Environment variables of the instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// The fewest instances; 0 lets an idle function go away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_scale: Option<i32>,
    /// The most instances.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_scale: Option<i32>,
    /// The calls that one instance is to have in hand at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_concurrency: Option<i32>,
    /// How long a function without calls keeps its last instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<i32>,
    /// How long one call may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
}

/// What there is of a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.FunctionStatus")]
pub struct FunctionStatus {
    /// Instances that exist.
    pub replicas: i32,
    /// Instances that answer.
    pub ready_replicas: i32,
    /// Where the function is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The generation of the spec that this status tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Ready`: calls are answered (by an instance that is made for them, if need be).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
