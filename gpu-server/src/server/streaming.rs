//! Prints what tasks print.

use api_types::minik8s::GpuJob;
use tokio::time::Instant;

use super::{Server, retries::Step};
use crate::{
    driver::Attempt,
    output::{Source, Stream},
    prepare,
    remote::{JobDirectory, Remote},
    slurm,
    ssh::Error,
};

impl Server {
    /// Prints what is new of the tasks that run, if it is time.
    pub(super) async fn print_running(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
    ) -> Result<(), Error> {
        let (running, now) = (self.running(), Instant::now());
        self.printing.keep(&running);
        if running.is_empty() || !self.printing.wait(now).is_zero() {
            return Ok(());
        }
        let due: Vec<_> = running
            .into_iter()
            .filter(|attempt| !self.retries.waits(Step::Print(*attempt), now))
            .collect();
        for attempt in due.iter().copied() {
            if !self.printing.is_known(attempt, now) {
                let sources = self.sources(remote, job, directory, attempt).await;
                let sources = sources.map(|sources| self.printing.found(attempt, sources, now));
                self.came(remote, Step::Print(attempt), sources)?;
            }
        }
        let sources = due.iter().flat_map(|attempt| self.printing.sources(*attempt)).cloned();
        let sources: Vec<_> = sources.collect();
        let paths: Vec<_> = sources.iter().map(|source| source.path.clone()).collect();
        let sizes = remote.sizes(&paths).await?;
        for (source, size) in sources.iter().zip(sizes) {
            let printed = match size {
                Some(size) => self.print(remote, source, Some(size)).await,
                // It is not what it was: it is looked for anew.
                None => {
                    self.printing.forget(source.attempt);
                    Ok(())
                }
            };
            self.came(remote, Step::Print(source.attempt), printed)?;
        }
        self.printing.looked(Instant::now());
        Ok(())
    }

    /// Prints what is left of the output of a task that has ended.
    pub(super) async fn print_rest(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
        attempt: Attempt,
    ) -> Result<(), Error> {
        for source in self.sources(remote, job, directory, attempt).await? {
            self.print(remote, &source, None).await?;
        }
        Ok(())
    }

    async fn print(
        &mut self,
        remote: &Remote,
        source: &Source,
        size: Option<u64>,
    ) -> Result<(), Error> {
        let progress = self.outputs.follow(remote, source, size).await?;
        self.printing.see(progress);
        Ok(())
    }

    /// The files that a task prints into.
    async fn sources(
        &self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
        attempt: Attempt,
    ) -> Result<Vec<Source>, Error> {
        let task = self.task(attempt);
        let (top, from) = (directory.to_string(), prepare::task_dir(job, directory, &task));
        let patterns = slurm::output_patterns(&job.spec, task.name);
        let mut files: Vec<_> = [Stream::Output, Stream::Error].into_iter().zip(patterns).collect();
        // Both may be one file.
        files.dedup_by(|one, other| one.1 == other.1);
        let mut sources = Vec::new();
        for (stream, pattern) in files {
            let files = remote.list(&top, &from, &[pattern]).await?;
            let source = |path: String| Source { attempt, stream, path: format!("{from}/{path}") };
            sources.extend(files.into_iter().map(|file| source(file.path)));
        }
        Ok(sources)
    }
}
