//! The floor: the same by plain ssh.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    process::Stdio,
    time::{Duration, Instant, SystemTime},
};

use anyhow::Context;
use tempfile::TempDir;
use tokio::process::Command;

use super::rig::{COMMAND, Rig, when};

/// Who logs in, and where.
pub(super) struct Plain {
    folder: TempDir,
    options: Vec<String>,
    port: String,
    login: String,
}

impl Plain {
    pub(super) fn new(rig: &Rig) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let (key, known) = (folder.path().join("key"), folder.path().join("known_hosts"));
        fs::write(&key, rig.slurm.key())?;
        fs::set_permissions(&key, fs::Permissions::from_mode(0o600))?;
        fs::write(&known, rig.slurm.known_hosts())?;
        fs::write(folder.path().join("job.sh"), format!("#!/bin/bash\n{COMMAND}\n"))?;
        let option = |option: String| ["-o".to_owned(), option];
        let options = [
            format!("IdentityFile={}", key.display()),
            format!("UserKnownHostsFile={}", known.display()),
            "BatchMode=yes".to_owned(),
        ];
        Ok(Self {
            options: options.into_iter().flat_map(option).collect(),
            port: rig.slurm.port().to_string(),
            login: format!("{}@{}", rig.slurm.user(), rig.slurm.host()),
            folder,
        })
    }

    /// Takes one job through: how long its submission took, and when it ended. Its result is here then.
    pub(super) async fn job(&self, index: usize) -> anyhow::Result<(Duration, SystemTime)> {
        let begin = Instant::now();
        let (directory, login) = (format!("plain-{index}"), &self.login);
        self.ssh(&format!("mkdir {directory}")).await?;
        let script = self.folder.path().join("job.sh").display().to_string();
        self.scp(&script, &format!("{login}:{directory}/")).await?;
        let id = self.ssh(&format!("cd {directory} && sbatch --parsable job.sh")).await?;
        let submitted = begin.elapsed();
        let id = id.trim();
        self.ssh(&format!(
            "until sacct -X -n -P -j {id} --format=State | grep -qx COMPLETED; do sleep 0.1; done"
        ))
        .await?;
        let here: PathBuf = self.folder.path().join(&directory);
        self.scp(&format!("{login}:{directory}/end"), &here.display().to_string()).await?;
        Ok((submitted, when(&fs::read_to_string(here)?)?))
    }

    async fn ssh(&self, command: &str) -> anyhow::Result<String> {
        let mut ssh = Command::new("ssh");
        ssh.args(["-p", &self.port]).args(&self.options).args([&self.login, command]);
        output(ssh).await
    }

    async fn scp(&self, from: &str, to: &str) -> anyhow::Result<()> {
        let mut scp = Command::new("scp");
        scp.args(["-q", "-P", &self.port]).args(&self.options).args([from, to]);
        output(scp).await.map(drop)
    }
}

async fn output(mut command: Command) -> anyhow::Result<String> {
    let output = command.stdin(Stdio::null()).output().await.context("OpenSSH's client")?;
    let words = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "{command:?}: {words}");
    Ok(String::from_utf8(output.stdout)?)
}
