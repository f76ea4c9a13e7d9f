//! Where the job's files are on the login node.

use api_types::minik8s::{GpuJob, GpuJobCluster};

use super::Server;
use crate::{
    driver::{self, Place},
    remote::{JobDirectory, Remote},
    ssh::Error,
};

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
                if !remote.exists(&path).await? {
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

fn elsewhere(host: &str, other: &str, path: &str) -> String {
    format!(
        "the job is in {path} on {other}, and {host} has no such directory: name {other} again where the Slurm cluster is \
         named, and delete the job's pod"
    )
}
