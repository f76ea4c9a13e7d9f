//! What `kubectl gpu submit` says of a job beside its sources.

use clap::Args;
use serde_json::{Map, Value, json};

use crate::{Failure, flags};

#[derive(Args, Debug)]
pub(super) struct Settings {
    /// A command of the batch script; may be given several times
    #[arg(long = "run", value_name = "COMMAND")]
    run_scripts: Vec<String>,
    /// A command that builds the sources, on the login node; may be given several times
    #[arg(long = "compile", value_name = "COMMAND")]
    compile_scripts: Vec<String>,
    /// The secret with the login: username, and password or ssh-privatekey
    #[arg(long, value_name = "NAME")]
    secret: Option<String>,
    /// The config map of the job's namespace that says where the Slurm cluster is; else kube-system/gpu-cluster does
    #[arg(long, value_name = "NAME")]
    cluster_config: Option<String>,
    /// The GPUs of each Slurm node; 0 is none
    #[arg(long, value_name = "NUMBER", conflicts_with = "gres")]
    gpus: Option<u32>,
    /// What else of Slurm's generic resources, e.g. gpu:a100:2
    #[arg(long)]
    gres: Option<String>,
    /// How many Slurm nodes
    #[arg(long, value_name = "NUMBER")]
    nodes: Option<u32>,
    /// How many processes on each
    #[arg(long, value_name = "NUMBER")]
    ntasks_per_node: Option<u32>,
    /// How many processors for each process
    #[arg(long, value_name = "NUMBER")]
    cpus_per_task: Option<u32>,
    /// The memory of each Slurm node, e.g. 4G
    #[arg(long, value_name = "SIZE")]
    memory: Option<String>,
    /// How long the batch script may run, as Slurm writes it: 90 (minutes), 01:30:00
    #[arg(long, value_name = "LIMIT")]
    time: Option<String>,
    /// The Slurm partition
    #[arg(long)]
    partition: Option<String>,
    /// The Slurm account
    #[arg(long)]
    account: Option<String>,
    /// The quality of service
    #[arg(long)]
    qos: Option<String>,
    /// The indexes of a Slurm job array, e.g. 0-9%2
    #[arg(long)]
    array: Option<String>,
    /// One more option of sbatch, e.g. --directive=--exclusive; may be given several times
    #[arg(long = "directive", value_name = "OPTION", allow_hyphen_values = true)]
    directives: Vec<String>,
    /// KEY=VALUE: an environment variable of the scripts; may be given several times
    #[arg(long)]
    env: Vec<String>,
    /// Files to fetch besides output and error, e.g. 'out/*.csv'; may be given several times
    #[arg(long = "result", value_name = "PATTERN")]
    results: Vec<String>,
    /// Where the sources are put in the job's directory on the Slurm cluster; the scripts run there
    #[arg(long, value_name = "FOLDER")]
    work_dir: Option<String>,
    /// How many times it must complete
    #[arg(long, value_name = "NUMBER")]
    completions: Option<u32>,
    /// How many of them may be in Slurm at a time
    #[arg(long, value_name = "NUMBER")]
    parallelism: Option<u32>,
    /// How many that fail are tried again
    #[arg(long, value_name = "NUMBER")]
    backoff_limit: Option<u32>,
}

impl Settings {
    /// Sets what the flags say.
    pub(super) fn apply(&self, spec: &mut Map<String, Value>) -> Result<(), Failure> {
        for (field, number) in self.numbers().into_iter().filter_map(|(f, v)| Some((f, v?))) {
            spec.insert(field.to_owned(), json!(number));
        }
        for (field, text) in self.texts().into_iter().filter_map(|(f, v)| Some((f, v?))) {
            spec.insert(field.to_owned(), json!(text));
        }
        for (field, texts) in self.lists().into_iter().filter(|(_, texts)| !texts.is_empty()) {
            spec.insert(field.to_owned(), json!(texts));
        }
        if let Some(secret) = &self.secret {
            spec.insert("credentials".to_owned(), json!({"secretRef": {"name": secret}}));
        }
        if let Some(cluster) = &self.cluster_config {
            spec.insert("cluster".to_owned(), json!({"configMapRef": {"name": cluster}}));
        }
        if !self.env.is_empty() {
            let variables = flags::assignments(&self.env)?.into_iter();
            let variables = variables.map(|(name, value)| json!({"name": name, "value": value}));
            spec.insert("env".to_owned(), variables.collect());
        }
        Ok(())
    }

    fn numbers(&self) -> [(&'static str, Option<u32>); 7] {
        [
            ("numGpus", self.gpus),
            ("numProcess", self.nodes),
            ("numTasksPerNode", self.ntasks_per_node),
            ("cpusPerTask", self.cpus_per_task),
            ("completions", self.completions),
            ("parallelism", self.parallelism),
            ("backoffLimit", self.backoff_limit),
        ]
    }

    fn texts(&self) -> [(&'static str, Option<&String>); 8] {
        [
            ("gres", self.gres.as_ref()),
            ("memory", self.memory.as_ref()),
            ("timeLimit", self.time.as_ref()),
            ("partition", self.partition.as_ref()),
            ("account", self.account.as_ref()),
            ("qos", self.qos.as_ref()),
            ("array", self.array.as_ref()),
            ("workDir", self.work_dir.as_ref()),
        ]
    }

    fn lists(&self) -> [(&'static str, &Vec<String>); 4] {
        [
            ("runScripts", &self.run_scripts),
            ("compileScripts", &self.compile_scripts),
            ("directives", &self.directives),
            ("results", &self.results),
        ]
    }
}
