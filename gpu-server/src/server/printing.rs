//! What tasks print while they run. It is looked at together, at a pace of its own: nobody is told when a file grows.

use std::{collections::BTreeMap, time::Duration};

use api_types::minik8s::GpuJob;
use tokio::time::Instant;

use super::{Server, retries::Step};
use crate::{
    driver::{self, Attempt},
    output::{Progress, Source, Stream},
    prepare,
    remote::{JobDirectory, Remote},
    slurm,
    ssh::Error,
};

/// After how long is looked for more files that a task may have begun.
const LISTING: Duration = Duration::from_secs(30);

/// When and where output is looked for.
#[derive(Debug, Default)]
pub(super) struct Printing {
    /// The files that tasks have, as far as they have been found.
    found: BTreeMap<Attempt, Found>,
    next: Option<Instant>,
    wait: Duration,
    /// What has come of this look.
    progress: Progress,
}

#[derive(Debug)]
struct Found {
    sources: Vec<Source>,
    at: Instant,
}

impl Printing {
    /// Another round begins.
    pub(super) fn begin(&mut self) {
        self.progress = Progress::default();
    }

    /// Tasks have printed more than was printed here.
    pub(super) fn has_more(&self) -> bool {
        self.progress.more
    }

    /// How long it is not looked again.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        self.next.map(|next| next.saturating_duration_since(now)).unwrap_or_default()
    }

    fn see(&mut self, progress: Progress) {
        self.progress.some |= progress.some;
        self.progress.more |= progress.more;
    }

    fn looked(&mut self, now: Instant) {
        self.wait = driver::streaming(self.wait, self.progress.some);
        self.next = Some(now + self.wait);
    }

    fn is_known(&self, attempt: Attempt, now: Instant) -> bool {
        self.found.get(&attempt).is_some_and(|found| now < found.at + LISTING)
    }

    fn found(&mut self, attempt: Attempt, sources: Vec<Source>, at: Instant) {
        // What has begun a moment ago has no file yet.
        if sources.is_empty() {
            self.found.remove(&attempt);
        } else {
            self.found.insert(attempt, Found { sources, at });
        }
    }
}

impl Server {
    /// Prints what is new of the tasks that run, if it is time.
    pub(super) async fn print_running(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
    ) -> Result<(), Error> {
        let (running, now) = (self.running(), Instant::now());
        self.printing.found.retain(|attempt, _| running.contains(attempt));
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
        let known = due.iter().filter_map(|attempt| self.printing.found.get(attempt));
        let sources: Vec<_> = known.flat_map(|found| found.sources.clone()).collect();
        let paths: Vec<_> = sources.iter().map(|source| source.path.clone()).collect();
        let sizes = remote.sizes(&paths).await?;
        for (source, size) in sources.iter().zip(sizes) {
            let printed = match size {
                Some(size) => self.print(remote, source, Some(size)).await,
                // It is not what it was: it is looked for anew.
                None => {
                    self.printing.found.remove(&source.attempt);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_looked_for_at_once_and_then_at_its_pace() {
        let (mut printing, now) = (Printing::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        assert!(printing.wait(now).is_zero());
        printing.looked(now);
        assert_eq!(printing.wait(now), Duration::from_secs(1));
        assert!(printing.wait(after(1)).is_zero());
        printing.looked(after(1));
        assert_eq!(printing.wait(after(1)), Duration::from_secs(2));
        printing.see(Progress { some: true, more: true });
        printing.looked(after(3));
        assert!(printing.has_more());
        assert_eq!(printing.wait(after(3)), Duration::from_secs(1));
        printing.begin();
        assert!(!printing.has_more());
    }

    #[test]
    fn the_files_of_a_task_are_looked_for_until_there_are_some_and_then_seldom() {
        let (mut printing, now) = (Printing::default(), Instant::now());
        let attempt = Attempt { index: 0, attempt: 0 };
        printing.found(attempt, Vec::new(), now);
        assert!(!printing.is_known(attempt, now));
        let source = Source { attempt, stream: Stream::Output, path: "/x".to_owned() };
        printing.found(attempt, vec![source], now);
        assert!(printing.is_known(attempt, now) && !printing.is_known(attempt, now + LISTING));
    }
}
