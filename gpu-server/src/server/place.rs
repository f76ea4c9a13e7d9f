//! Where the job's files are on the login node.

use api_types::minik8s::{GpuJob, GpuJobCluster, GpuJobTask};

use super::Server;
use crate::{
    driver::{self, Attempt, Place},
    remote::{JobDirectory, Remote},
    slurm,
    ssh::Error,
};

/// About so many of a job's tasks Slurm is asked whether it has them: where it has none, it is not asked about thousands.
const LOOK_UPS: usize = 8;

impl Server {
    /// The job's directory here.
    pub(super) async fn directory(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
    ) -> Result<JobDirectory, Error> {
        if let Some(directory) = &self.directory {
            return Ok(directory.clone());
        }
        let (host, port) = self.host();
        let directory = match driver::place(job, &self.status, &host, port) {
            Place::Anew => self.wanted(remote).await?,
            Place::Here(path) => self.known(path)?,
            Place::Elsewhere(cluster) => {
                let path = cluster.directory.clone().unwrap_or_default();
                let directory = self.known(&path)?;
                if !remote.exists(&path).await? || !self.is_its_slurm(remote).await? {
                    let other = cluster.host.as_deref().unwrap_or_default();
                    return Err(Error::Elsewhere(elsewhere(&host, other, &path)));
                }
                directory
            }
        };
        if driver::is_on_cluster(&self.status) {
            self.is_in(&directory);
        }
        Ok(self.directory.insert(directory).clone())
    }

    /// Whether this is the Slurm that has the job's tasks, as far as any may be there. Several clusters may have the users'
    /// directories in common.
    async fn is_its_slurm(&self, remote: &Remote) -> Result<bool, Error> {
        let tasks: Vec<_> = driver::in_slurm(&self.status).collect();
        for task in tasks.iter().rev().take(LOOK_UPS) {
            let found = slurm::look_up(remote, &self.task(Attempt::of(task))).await?;
            if has(task, found.as_deref()) {
                return Ok(true);
            }
        }
        Ok(tasks.is_empty())
    }

    /// Says that this is the cluster of the job.
    pub(super) fn is_in(&mut self, directory: &JobDirectory) {
        let (host, port) = self.host();
        self.status.cluster = Some(GpuJobCluster {
            host: Some(host),
            port: Some(port.into()),
            directory: Some(directory.to_string()),
            ..GpuJobCluster::default()
        });
    }

    fn host(&self) -> (String, u16) {
        (self.args.ssh.ssh_host.clone().unwrap_or_default(), self.args.ssh.ssh_port)
    }

    async fn wanted(&self, remote: &Remote) -> Result<JobDirectory, Error> {
        let root = self.args.ssh.directory.as_deref().unwrap_or(".minik8s");
        let home = if root.starts_with('/') { String::new() } else { remote.home().await? };
        JobDirectory::new(root, &home, self.uid())
    }

    /// The directory that the status names: whatever it says, it is one of this job.
    fn known(&self, path: &str) -> Result<JobDirectory, Error> {
        let root = path.strip_suffix(self.uid());
        JobDirectory::new(root.unwrap_or_default(), "", self.uid())
    }

    fn uid(&self) -> &str {
        self.args.uid.as_deref().unwrap_or_default()
    }
}

/// Whether the number that Slurm has for the task's name says that it is the one that has the task.
fn has(task: &GpuJobTask, found: Option<&str>) -> bool {
    match task.job_id.as_deref() {
        Some(id) => found == Some(id),
        None => found.is_some(),
    }
}

fn elsewhere(host: &str, other: &str, path: &str) -> String {
    format!(
        "the job is in {path} on {other}, and {host} has no such directory, or a Slurm that does not know the job: name \
         {other} again where the Slurm cluster is named, and delete the job's pod"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slurm_has_a_task_if_it_has_its_number_under_its_name() {
        let check = |id: Option<&str>, found, expected| {
            let task = GpuJobTask { job_id: id.map(str::to_owned), ..GpuJobTask::default() };
            assert_eq!(has(&task, found), expected, "{id:?} {found:?}");
        };
        check(Some("7"), Some("7"), true);
        check(Some("7"), Some("8"), false);
        check(Some("7"), None, false);
        // Its number was not heard, but nobody else has the name.
        check(None, Some("8"), true);
        check(None, None, false);
    }
}
