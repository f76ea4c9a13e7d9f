//! A CUDA job for a Slurm cluster.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::resource;
use crate::meta::{Condition, Time};

resource! {
    /// Sources that are uploaded to a Slurm cluster, compiled and run there, and whose results are fetched.
    GpuJob = "GpuJob", "gpujobs", GpuJobSpec, GpuJobStatus
}

/// What is to be run, with which resources, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobSpec")]
pub struct GpuJobSpec {
    /// The number of Slurm nodes (`sbatch -N`).
    pub num_process: i32,
    /// `sbatch --ntasks-per-node`.
    pub num_tasks_per_node: i32,
    /// `sbatch --cpus-per-task`.
    pub cpus_per_task: i32,
    /// `sbatch --gres=gpu:N`.
    pub num_gpus: i32,
    /// The Slurm partition; the cluster's own default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// Commands that build the sources, run on the login node in `workDir`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compile_scripts: Vec<String>,
    /// Commands of the batch script.
    pub run_scripts: Vec<String>,
    /// The host directory that holds the sources and receives the results.
    pub volume: String,
    /// The directory on the Slurm cluster, made anew for each job.
    pub work_dir: String,
    /// The file that receives the job's standard output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
    /// The file that receives the job's standard error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_file: Option<String>,
    /// Who logs in at the Slurm cluster.
    pub credentials: Credentials,
}

/// Where the login is to be found; never the login itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobCredentials")]
pub struct Credentials {
    /// A Secret of the same namespace with `username` and `password` or `ssh-privatekey`.
    pub secret_ref: SecretRef,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.SecretRef")]
pub struct SecretRef {
    /// The Secret's name.
    pub name: String,
}

/// How far the job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobStatus")]
pub struct GpuJobStatus {
    /// The state in Slurm's words: `PENDING`, `RUNNING`, `COMPLETED`, `FAILED`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Slurm's number of the job: a job that has one is never submitted again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The pod that follows the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// The batch script's exit code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When the job was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When its results were fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// Why the job is in its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// `Complete` and `Failed`, as a Kubernetes Job has them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}
