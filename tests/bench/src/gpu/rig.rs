//! The cluster, the control plane, and `gpu-server`s.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use api_types::minik8s::GpuJob;
use kube::{Api, ResourceExt, api::PostParams, runtime::wait::await_condition};
use serde_json::json;
use tempfile::TempDir;
use testkit::{ControlPlane, Slurm};
use tokio::time::timeout;

use crate::memory::Memory;

/// What each job does: its result is when it ended.
pub(super) const COMMAND: &str = "date +%s%N > end";
/// No job takes as long.
const LIMIT: Duration = Duration::from_secs(300);
/// Nobody tells when a file is there. It is shorter than what is measured by far.
const TICK: Duration = Duration::from_millis(2);

pub(super) struct Rig {
    pub(super) slurm: Slurm,
    api: Api<GpuJob>,
    _plane: ControlPlane,
    folder: TempDir,
    kubeconfig: PathBuf,
}

/// A job, and where its results come to.
pub(super) struct Job {
    name: String,
    uid: String,
    results: PathBuf,
}

/// A `gpu-server`, until it is dropped.
pub(super) struct Server(Child);

impl Rig {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let slurm = tokio::task::spawn_blocking(Slurm::start).await?;
        let plane = ControlPlane::builder().listen().start().await;
        let folder = tempfile::tempdir()?;
        let credentials = folder.path().join("credentials");
        fs::create_dir(&credentials)?;
        fs::write(credentials.join("username"), slurm.user())?;
        fs::write(credentials.join("password"), slurm.password())?;
        let api = Api::namespaced(plane.client(), "default");
        let kubeconfig = plane.kubeconfig("bench", &["system:masters"], &[]);
        Ok(Self { slurm, api, _plane: plane, folder, kubeconfig })
    }

    pub(super) async fn job(&self, name: &str) -> anyhow::Result<Job> {
        let job: GpuJob = serde_json::from_value(json!({
            "apiVersion": "minik8s.io/v1",
            "kind": "GpuJob",
            "metadata": { "name": name },
            "spec": {
                "numGpus": 0,
                "runScripts": [COMMAND],
                "results": ["end"],
                "credentials": { "secretRef": { "name": "login" } },
                "cluster": { "host": self.slurm.host() },
            },
        }))?;
        let job = self.api.create(&PostParams::default(), &job).await?;
        let results = self.folder.path().join(name);
        fs::create_dir(&results)?;
        Ok(Job { name: name.to_owned(), uid: job.uid().context("it has no uid")?, results })
    }

    pub(super) fn server(&self, job: &Job) -> anyhow::Result<Server> {
        let program = std::env::current_exe()?.with_file_name("gpu-server");
        let log = File::create(self.folder.path().join(format!("{}.log", job.name)))?;
        let mut command = Command::new(&program);
        command
            .args(["--address=127.0.0.1:0".to_owned()])
            .arg(format!("--job=default/{}", job.name))
            .arg(format!("--uid={}", job.uid))
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg(format!("--ssh-host={}", self.slurm.host()))
            .arg(format!("--ssh-port={}", self.slurm.port()))
            .arg(format!("--ssh-host-key={}", self.slurm.host_key()))
            .arg(format!("--credentials={}", self.folder.path().join("credentials").display()))
            .arg(format!("--results={}", job.results.display()))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command.spawn().with_context(|| format!("starting {}", program.display()))?;
        Ok(Server(child))
    }

    /// How often somebody has logged in.
    pub(super) fn logins(&self) -> anyhow::Result<usize> {
        let home = self.slurm.home();
        let log = home.parent().context("it is in a folder")?.join("log/sshd.log");
        Ok(fs::read_to_string(log)?.matches("Accepted ").count())
    }

    /// How many connections the login node has.
    pub(super) fn connections(&self) -> anyhow::Result<usize> {
        let (port, established) = (format!(":{:04X}", self.slurm.port()), "01");
        let is_ours = |line: &&str| {
            let mut words = line.split_whitespace().skip(1);
            words.next().is_some_and(|local| local.ends_with(&port))
                && words.nth(1) == Some(established)
        };
        Ok(fs::read_to_string("/proc/net/tcp")?.lines().filter(is_ours).count())
    }
}

impl Job {
    /// Waits until Slurm has it.
    pub(super) async fn submitted(&self, rig: &Rig) -> anyhow::Result<()> {
        let id = rig.slurm.home().join(".minik8s").join(&self.uid).join("tasks/0-0/id");
        while !id.exists() {
            tokio::time::sleep(TICK).await;
        }
        Ok(())
    }

    /// Waits until its status says that its results are here.
    pub(super) async fn complete(&self, rig: &Rig) -> anyhow::Result<()> {
        let ended = |job: Option<&GpuJob>| job.is_some_and(|job| job.ended().is_some());
        let ended = await_condition(rig.api.clone(), &self.name, ended);
        let waited = timeout(LIMIT, ended).await;
        let job = waited.with_context(|| format!("{} does not end", self.name))??;
        let ended = job.as_ref().and_then(GpuJob::ended).context("the job is gone")?;
        anyhow::ensure!(ended.type_ == GpuJob::COMPLETE, "{}: {}", self.name, ended.message);
        Ok(())
    }

    pub(super) fn has_result(&self) -> bool {
        self.results.join("end").exists()
    }

    /// When it ended, as its result says.
    pub(super) fn end(&self) -> anyhow::Result<SystemTime> {
        when(&fs::read_to_string(self.results.join("end"))?)
    }
}

impl Server {
    pub(super) fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `date +%s%N` has said.
pub(super) fn when(text: &str) -> anyhow::Result<SystemTime> {
    Ok(SystemTime::UNIX_EPOCH + Duration::from_nanos(text.trim().parse()?))
}

/// The memory of all of them.
pub(super) fn sum(servers: &[Server]) -> anyhow::Result<Memory> {
    servers.iter().try_fold(Memory::default(), |sum, server| {
        Ok(sum.plus(Memory::of(&server.id().to_string())?))
    })
}
