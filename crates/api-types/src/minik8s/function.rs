//! A serverless function.

use std::{collections::BTreeMap, num::NonZeroU32};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    resource::{bytes, resource},
    runtime::Runtime,
};
use crate::{
    ByteString,
    api::core::v1::{EnvFromSource, EnvVar, LocalObjectReference, ResourceRequirements},
    meta::{Condition, Time},
};

resource! {
    /// Source code that is run when its HTTP trigger is called, by as many instances as the calls need, or none.
    Function = "Function", "functions", FunctionSpec, FunctionStatus
}

impl Function {
    /// On a function's ReplicaSets and pods: whose instances they are.
    pub const LABEL: &str = "minik8s.io/function";
    /// On a function's ReplicaSets and pods: the number of the version that they run.
    pub const VERSION_LABEL: &str = "minik8s.io/function-version";
    /// On the ReplicaSets and pods of warm pools: the runtime whose functions their instances can become.
    pub const POOL_LABEL: &str = "minik8s.io/warm-pool";
    /// On an instance that came from a warm pool: the generation of its ReplicaSet from which on it is one of the set's.
    pub const ADOPTED_ANNOTATION: &str = "minik8s.io/adopted-at-generation";
    /// The container of an instance.
    pub const CONTAINER: &str = "function";
    /// Where an instance listens.
    pub const PORT: u16 = 8080;

    /// The version that serves.
    #[must_use]
    pub fn serving(&self) -> Option<&FunctionVersion> {
        let status = self.status.as_ref()?;
        status.versions.iter().find(|version| Some(version.version) == status.version)
    }

    /// What holds for the calls that come now: as the version that serves has it, whatever the spec asks for meanwhile.
    #[must_use]
    pub fn call_limits(&self) -> CallLimits {
        let (serving, spec) = (self.serving(), &self.spec);
        let positive = |of_version: Option<i32>, of_spec: Option<i32>| {
            of_version.or(of_spec).and_then(|value| value.try_into().ok()).and_then(NonZeroU32::new)
        };
        let runtime =
            serving.and_then(|version| version.runtime.as_ref()).or(spec.runtime.as_ref());
        let runtime = Runtime::named(runtime.map(String::as_str));
        let said = positive(
            serving.and_then(|version| version.container_concurrency),
            spec.container_concurrency,
        );
        CallLimits {
            concurrency: said.or_else(|| runtime?.concurrency),
            timeout_seconds: positive(
                serving.and_then(|version| version.timeout_seconds),
                spec.timeout_seconds,
            ),
        }
    }
}

/// What holds for the calls of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallLimits {
    /// The most that one instance is given at a time, if there is a limit.
    pub concurrency: Option<NonZeroU32>,
    /// How long one may take, if the function says so.
    pub timeout_seconds: Option<NonZeroU32>,
}

/// The code and how it may scale.
///
/// What an instance is made of (`runtime`, `source`, `image`, `entryPoint`, `resources`, `env`, `envFrom`,
/// `imagePullSecrets`, `containerConcurrency`, `timeoutSeconds`) makes a version: a change of it is built and started beside the version that
/// serves, and takes over once it is ready. The other fields act at once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.FunctionSpec")]
pub struct FunctionSpec {
    /// What runs the code: `python` (the default; an image is built of `source`), or `container` (`image` is run as it is).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The source code, at most 1 MiB, for runtimes that build an image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<FunctionSource>,
    /// The image of the runtime `container`, which answers calls on port 8080, and `GET /readyz` once it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// What is called, as `module:function`; of the only `.py` file, of `func.py` or of `main.py` the function `main` if
    /// it is not said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry_point: Option<String>,
    /// Compute resources of an instance.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<ResourceRequirements>,
    /// Environment variables of the instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Secrets and ConfigMaps whose entries are environment variables of the instances.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env_from: Vec<EnvFromSource>,
    /// Secrets with which nodes pull the image.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub image_pull_secrets: Vec<LocalObjectReference>,
    /// The fewest instances; 0 (the default) lets an idle function go away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_scale: Option<i32>,
    /// The most instances, 10 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_scale: Option<i32>,
    /// The calls that one instance is to have in hand at a time, on average: 10 by default, and never more than
    /// `containerConcurrency`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_concurrency: Option<i32>,
    /// The calls a second that one instance is to take, on average. There are as many instances as this or
    /// `targetConcurrency` asks for, whichever are more; by default only the latter does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target_requests_per_second: Option<i32>,
    /// The most calls that one instance is given at a time; 0 (the default) is no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i32>,
    /// How long a function without calls keeps its last instance, 60 s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_seconds: Option<i32>,
    /// How long one call may take, from the first byte of the request to the last of the answer, 60 s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// How long fewer instances must have been enough before some are removed, 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scale_down_delay_seconds: Option<i32>,
    /// How many versions are kept to return to, beside the one that serves, 3 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_limit: Option<i32>,
    /// The earlier version that is to serve instead of this spec's. It holds until it is removed, or until an update
    /// changes what makes a version and not this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_to: Option<i64>,
}

impl FunctionSpec {
    /// What makes a version, without the other fields.
    #[must_use]
    pub fn template(&self) -> FunctionSpec {
        FunctionSpec {
            min_scale: None,
            max_scale: None,
            target_concurrency: None,
            target_requests_per_second: None,
            idle_seconds: None,
            scale_down_delay_seconds: None,
            history_limit: None,
            rollback_to: None,
            ..self.clone()
        }
    }
}

/// Source code: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.FunctionSource")]
pub struct FunctionSource {
    /// Texts by their relative paths. `requirements.txt` names packages that the image gets.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, String>,
    /// A zip archive of such files.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes")]
    pub archive: Option<ByteString>,
}

/// What there is of a function.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.FunctionStatus")]
pub struct FunctionStatus {
    /// The version that serves: calls go to its instances and to no others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// Since when it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serving_since: Option<Time>,
    /// The versions that there are, by number.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub versions: Vec<FunctionVersion>,
    /// Instances of the version that serves.
    pub replicas: i32,
    /// Instances of it that answer.
    pub ready_replicas: i32,
    /// Where the function is called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The generation of the spec that this status tells of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// `Built`: the spec's version has its image. `Ready`: calls are answered (by an instance that is made for them, if
    /// need be), and the version that is asked for is the one that serves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One state of what a function's instances are made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.FunctionVersion")]
pub struct FunctionVersion {
    /// Its number, of which no two of a function are equal.
    pub version: i64,
    /// SHA-256 of what the image is made of: the source, the runtime and the entry point. Versions with the same share
    /// an image.
    pub digest: String,
    /// SHA-256 of all that makes a version.
    pub template_digest: String,
    /// What runs it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runtime: Option<String>,
    /// The most calls that one of its instances is given at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_concurrency: Option<i32>,
    /// How long one call of it may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<i32>,
    /// The image that its instances run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// How far it is.
    pub phase: FunctionVersionPhase,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The end of what a build that failed printed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build_log: Option<String>,
    /// When it was first seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Time>,
}

/// How far a version is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "io.minik8s.v1.FunctionVersionPhase")]
pub enum FunctionVersionPhase {
    /// Its image is being built, or its first instances are not ready.
    #[default]
    Building,
    /// It can serve.
    Ready,
    /// Its image cannot be built, or its instances do not become ready.
    Failed,
}
