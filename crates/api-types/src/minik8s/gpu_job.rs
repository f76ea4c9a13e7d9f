//! A CUDA job for a Slurm cluster.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::resource::{bytes, resource};
use crate::{
    ByteString,
    api::core::v1::EnvVar,
    meta::{Condition, Time},
};

resource! {
    /// Sources that are uploaded to a Slurm cluster, compiled and run there, and whose results are fetched.
    GpuJob = "GpuJob", "gpujobs", GpuJobSpec, GpuJobStatus
}

impl GpuJob {
    /// On the pod of a job: whose it is.
    pub const LABEL: &str = "minik8s.io/gpu-job";
    /// The container of the pod that takes the job through Slurm; it prints what the job prints.
    pub const SERVER_CONTAINER: &str = "gpu-server";
    /// The container of the pod that serves the results.
    pub const FILE_SERVER_CONTAINER: &str = "file-server";
    /// Where the results are served, below [`Self::FILES_PATH`].
    pub const FILES_PORT: u16 = 80;
    /// See [`Self::FILES_PORT`].
    pub const FILES_PATH: &str = "/files/";
    /// Where the container [`Self::SERVER_CONTAINER`] answers `/queue`, as JSON, and `/healthz`.
    pub const SERVER_PORT: u16 = 8080;
    /// Keeps a job until what it has in Slurm is cancelled and its directory there is gone.
    pub const FINALIZER: &str = "minik8s.io/gpu-job";
    /// Says where the Slurm cluster is, for jobs that do not: a ConfigMap of `kube-system`.
    pub const CLUSTER_CONFIG_NAME: &str = "gpu-cluster";
    /// The condition of a job all of whose tasks have completed, and whose results are here.
    pub const COMPLETE: &str = "Complete";
    /// The condition of a job that has failed for good.
    pub const FAILED: &str = "Failed";
    /// The condition of a job that waits until it is no longer suspended.
    pub const SUSPENDED: &str = "Suspended";
    /// The condition that says whether the sources are on the Slurm cluster. While a job has it, whatever it says, something
    /// of the job may be there.
    pub const UPLOADED: &str = "Uploaded";
    /// The condition that says whether the pod of a job runs and is at work.
    pub const SERVER_READY: &str = "ServerReady";

    /// The condition of this type, if there is one.
    #[must_use]
    pub fn condition(&self, type_: &str) -> Option<&Condition> {
        let conditions = &self.status.as_ref()?.conditions;
        conditions.iter().find(|condition| condition.type_ == type_)
    }

    /// The condition by which the job has ended, `Complete` or `Failed`, if it has.
    #[must_use]
    pub fn ended(&self) -> Option<&Condition> {
        let conditions = &self.status.as_ref()?.conditions;
        let ends = |c: &&Condition| [Self::COMPLETE, Self::FAILED].contains(&c.type_.as_str());
        conditions.iter().filter(ends).find(|c| c.status == "True")
    }
}

/// What is to be run, with which resources, and as whom.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobSpec")]
pub struct GpuJobSpec {
    /// The number of Slurm nodes (`sbatch --nodes`), 1 by default.
    pub num_process: i32,
    /// `sbatch --ntasks-per-node`, 1 by default.
    pub num_tasks_per_node: i32,
    /// `sbatch --cpus-per-task`, 1 by default.
    pub cpus_per_task: i32,
    /// The GPUs of each node (`sbatch --gres=gpu:N`), 1 by default; 0 asks for none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub num_gpus: Option<i32>,
    /// `sbatch --gres` as Slurm knows it, such as `gpu:a100:2`, instead of `numGpus`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gres: Option<String>,
    /// The Slurm partition; the cluster's own default if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The account that is charged.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The quality of service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos: Option<String>,
    /// How long one task may run, as Slurm writes it: `90` (minutes), `01:30:00`, `2-12:00:00`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<String>,
    /// The memory of each node, as Slurm writes it: `4G`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
    /// The indexes of a Slurm job array, such as `0-9%2`, for each completion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub array: Option<String>,
    /// Further options of `sbatch`, one each, such as `--exclusive` or `--constraint=a100`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub directives: Vec<String>,
    /// Environment variables of the compile and run scripts, with their values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub env: Vec<EnvVar>,
    /// Commands that build the sources, run on the login node in `workDir`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compile_scripts: Vec<String>,
    /// Commands of the batch script, run in `workDir`.
    pub run_scripts: Vec<String>,
    /// What is uploaded. Without it, the files of `volume`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sources: Option<GpuJobSources>,
    /// A directory of the node, which receives the results, and holds the sources if `sources` does not say others.
    /// Without it, results are kept as long as the job's pod. Which directories may be named, the controller-manager is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The labels of nodes that the job's pod may run on, such as those that have `volume`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Where the sources are in the job's own directory on the Slurm cluster: a relative path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub work_dir: Option<String>,
    /// The file that receives standard output, relative to `workDir`: `<name>.out` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_file: Option<String>,
    /// The file that receives standard error, relative to `workDir`: `<name>.err` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_file: Option<String>,
    /// Patterns of files to fetch besides output and error, relative to `workDir`, such as `out/*.csv`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<String>,
    /// Where the Slurm cluster is; what is absent here comes from the ConfigMap `kube-system/gpu-cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<GpuJobCluster>,
    /// Who logs in at the Slurm cluster.
    pub credentials: Credentials,
    /// How many tasks must complete, 1 by default. Each runs the batch script with its number, from 0 on, in
    /// `JOB_COMPLETION_INDEX`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completions: Option<i32>,
    /// How many tasks may be in Slurm at a time, 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallelism: Option<i32>,
    /// How many failed tasks are tried again, together, 0 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_limit: Option<i32>,
    /// How long the job may take in all, from when its server first had it in hand, or from when it was made if none ever had.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_deadline_seconds: Option<i64>,
    /// Whether nothing is to be submitted; tasks that are in Slurm are cancelled, and are no failures.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// How long after its end the job is deleted; by default it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_after_finished: Option<i32>,
}

/// Source files: exactly one of the fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobSources")]
pub struct GpuJobSources {
    /// The entries of a ConfigMap of the job's namespace, a file each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map: Option<NameRef>,
    /// The entries of a Secret of the job's namespace, a file each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<NameRef>,
    /// A tar archive, compressed by gzip or not: at most 768 KiB, so that the object stays below what can be stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "bytes")]
    pub archive: Option<ByteString>,
    /// A directory of the node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_path: Option<String>,
}

/// The login node of a Slurm cluster. Its ConfigMaps have the same fields as keys.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobCluster")]
pub struct GpuJobCluster {
    /// A ConfigMap of the job's namespace that says what is absent here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config_map_ref: Option<NameRef>,
    /// A name or an address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The port of its ssh server, 22 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<i32>,
    /// Its host key: the fingerprint (`SHA256:…`) or the public key (`ssh-ed25519 AAAA…`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_key: Option<String>,
    /// Its host keys, as OpenSSH's `known_hosts` has them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known_hosts: Option<String>,
    /// The directory there below which jobs have theirs: an absolute path; `.minik8s` in the home directory by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub directory: Option<String>,
}

/// Where the login is to be found; never the login itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobCredentials")]
pub struct Credentials {
    /// A Secret of the same namespace with `username` and `password` or `ssh-privatekey`.
    pub secret_ref: NameRef,
}

/// An object of the same namespace, of the kind that the field names.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.NameRef")]
pub struct NameRef {
    /// The object's name.
    pub name: String,
}

/// How far the job is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobStatus")]
pub struct GpuJobStatus {
    /// The state in Slurm's words, of the task that was last heard of: `PENDING`, `RUNNING`, `COMPLETED`, `FAILED`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Slurm's number of that task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The partition that it is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partition: Option<String>,
    /// The exit code of its batch script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// Why the job is in its state: Slurm's reason, or what is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The pod that follows the job.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_name: Option<String>,
    /// Where the job's files are: host, port and directory, from when its sources are on their way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<GpuJobCluster>,
    /// Since when the job's time counts: when it was first seen, or resumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When the last results were fetched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Time>,
    /// The tasks that are in Slurm.
    pub active: i32,
    /// The tasks that have completed.
    pub succeeded: i32,
    /// The tasks that have failed, those that were tried again among them.
    pub failed: i32,
    /// How many jobs of its partition wait in front of the job, while it is `PENDING`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<i32>,
    /// The last attempt of each task, in the order of their indexes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tasks: Vec<GpuJobTask>,
    /// `Complete` and `Failed`, as a Kubernetes Job has them, and how far the job is: `Uploaded`, `Compiled`,
    /// `ServerReady`, `Suspended`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub conditions: Vec<Condition>,
}

/// One task in Slurm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
#[schemars(rename = "io.minik8s.v1.GpuJobTask")]
pub struct GpuJobTask {
    /// Its number among the completions.
    pub index: i32,
    /// How many attempts at it have failed before.
    pub attempt: i32,
    /// Slurm's number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_id: Option<String>,
    /// The state in Slurm's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Why it is in its state, in Slurm's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The exit code of its batch script.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// When it was submitted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub submit_time: Option<Time>,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Time>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    /// How long it ran, in seconds, as Slurm counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub elapsed_seconds: Option<i64>,
    /// The Slurm nodes that it runs on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nodes: Option<String>,
    /// What it was given and used, as `sacct` names it: `AllocTRES`, `TotalCPU`, `MaxRSS`, ….
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub usage: BTreeMap<String, String>,
    /// Whether its files are here.
    pub fetched: bool,
}
