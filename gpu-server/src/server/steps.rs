//! What a server does on the login node. Each step may be done again.

use std::sync::Arc;

use api_types::{
    jiff::Timestamp,
    minik8s::{GpuJob, GpuJobTask},
};
use tokio::time::Instant;

use super::{
    Server,
    retries::{self, Step},
    unwritten::Unwritten,
};
use crate::{
    driver::{self, Action, Attempt, COMPILED, News, Observation, Prepared, Told},
    fetch::Way,
    prepare,
    remote::{JobDirectory, Remote},
    slurm::{self, Submission, Submitted, Task},
    sources::Sources,
    ssh::Error,
};

impl Server {
    pub(super) async fn act(
        &mut self,
        remote: &Arc<Remote>,
        job: &GpuJob,
        directory: &JobDirectory,
        action: Action,
    ) -> Result<(), Error> {
        match action {
            Action::Prepare => self.prepare(remote, job, directory).await,
            Action::Submit(attempt) => {
                let submitted =
                    prepare::submit(remote, job, directory, &self.task(attempt)).await?;
                self.look = Instant::now();
                self.missing.forget(attempt);
                self.tell(match submitted {
                    Submission::Submitted(id) | Submission::Found(id) => {
                        News::Submitted(attempt, id)
                    }
                    Submission::Rejected(words) => News::Refused(attempt, words),
                });
                Ok(())
            }
            Action::Cancel(attempt) => {
                let cancelled = self.cancel(remote, directory, attempt).await;
                cancelled.inspect_err(|_| self.cancels.failed(attempt))
            }
            Action::Fetch(attempt) => self.fetch(remote, job, directory, attempt).await,
            Action::StopCompiling => {
                prepare::stop_compiling(remote, directory).await?;
                self.prepared = Prepared::NotYet;
                Ok(())
            }
            Action::FetchLog => {
                self.fetch_log(remote, directory).await?;
                self.prepared = Prepared::Yes;
                Ok(())
            }
            Action::CleanUp => self.clean_up(remote, job, directory).await,
            Action::Release => Ok(()),
        }
    }

    pub(super) fn task(&self, Attempt { index, attempt }: Attempt) -> Task<'_> {
        let name = self.args.job.as_ref();
        Task {
            namespace: name.map_or("", |name| &name.namespace),
            name: name.map_or("", |name| &name.name),
            uid: self.args.uid.as_deref().unwrap_or_default(),
            index,
            attempt,
        }
    }

    pub(super) fn submitted(
        &self,
        directory: &JobDirectory,
        attempt: Attempt,
        id: String,
    ) -> Submitted {
        self.task(attempt).submitted(id, directory.task(attempt.index, attempt.attempt))
    }

    async fn prepare(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
    ) -> Result<(), Error> {
        if !driver::is_true(&self.status, GpuJob::UPLOADED) {
            let (reason, message) = ("Uploading", "the sources are on their way");
            let told = Told { type_: GpuJob::UPLOADED, holds: false, reason, message };
            driver::set(&mut self.status, told, Timestamp::now());
            self.is_in(directory);
            // From here on there is something to clean up, which has to be known.
            let Ok(()) = self.report(job).await else { return Ok(()) };
            let sources = Sources::of(&job.spec, self.args.sources.as_deref()).await?;
            remote.upload(sources.path(), &directory.sources()).await?;
            self.told(GpuJob::UPLOADED, "Uploaded", &format!("the sources are in {directory}"));
            match self.report(job).await {
                Err(Unwritten::Gone | Unwritten::Other) => return Ok(()),
                // Its failure is told of; the next one says this too.
                Ok(()) | Err(Unwritten::Failed) => {}
            }
        }
        self.prepared = Prepared::Begun;
        let compiled = prepare::compile(remote, job, directory).await?;
        if !job.spec.compile_scripts.is_empty() {
            self.fetch_log(remote, directory).await?;
        }
        self.prepared = match compiled {
            Ok(()) => Prepared::Yes,
            Err(tail) => Prepared::CompileFailed(tail),
        };
        if self.prepared == Prepared::Yes && !job.spec.compile_scripts.is_empty() {
            self.told(COMPILED, COMPILED, "the compile scripts have succeeded");
        }
        Ok(())
    }

    /// It can be done without.
    async fn fetch_log(&self, remote: &Remote, directory: &JobDirectory) -> Result<(), Error> {
        let Some(results) = &self.args.results else { return Ok(()) };
        match prepare::fetch_log(remote, directory, results).await {
            Err(error) if retries::stays(&error) => {
                tracing::warn!(%error, "the log of the compile scripts is not here");
                Ok(())
            }
            fetched => fetched,
        }
    }

    /// What was about to be submitted may be in Slurm nevertheless.
    async fn cancel(
        &mut self,
        remote: &Remote,
        directory: &JobDirectory,
        attempt: Attempt,
    ) -> Result<(), Error> {
        let known = self.status.tasks.iter().find(|task| Attempt::of(task) == attempt);
        let id = match known.and_then(|task| task.job_id.clone()) {
            Some(id) => id,
            None => match self.withdraw(remote, directory, attempt).await? {
                Some(id) => {
                    self.tell(News::Submitted(attempt, id.clone()));
                    id
                }
                None => {
                    self.tell(News::Withdrawn(attempt));
                    return Ok(());
                }
            },
        };
        tracing::debug!(id, %directory, "cancelling");
        slurm::cancel(remote, &[self.submitted(directory, attempt, id)]).await?;
        self.cancels.told(attempt, Instant::now());
        // It is looked at at once, and cancelled again until it has ended.
        self.look = Instant::now();
        Ok(())
    }

    async fn withdraw(
        &self,
        remote: &Remote,
        directory: &JobDirectory,
        attempt: Attempt,
    ) -> Result<Option<String>, Error> {
        let place = directory.task(attempt.index, attempt.attempt);
        slurm::withdraw(remote, &self.task(attempt), &place).await
    }

    /// Begins to, if nothing else is being fetched.
    async fn fetch(
        &mut self,
        remote: &Arc<Remote>,
        job: &GpuJob,
        directory: &JobDirectory,
        attempt: Attempt,
    ) -> Result<(), Error> {
        if self.fetching.is_busy() {
            return Ok(());
        }
        let last = self.retries.is_last(Step::Act(Action::Fetch(attempt)));
        match self.print_rest(remote, job, directory, attempt).await {
            Ok(()) if self.printing.has_more() => return Ok(()),
            Ok(()) => {}
            Err(error) if last && retries::stays(&error) => {
                tracing::warn!(%error, "output that is not printed");
            }
            Err(error) => return Err(error),
        }
        let Some(results) = self.args.results.clone() else { return Ok(()) };
        let patterns = slurm::output_patterns(&job.spec, self.task(attempt).name);
        let attempts = (0..=attempt.attempt).map(|number| {
            let task = self.task(Attempt { attempt: number, ..attempt });
            prepare::task_dir(job, directory, &task)
        });
        let attempts = attempts.collect();
        let to = match job.spec.completions.unwrap_or(1) {
            ..=1 => results,
            _ => results.join(attempt.index.to_string()),
        };
        let way = Way { top: directory.to_string(), attempts, patterns, to };
        self.fetching.begin(remote, attempt, way, last);
        Ok(())
    }

    pub(super) fn fetched(&mut self, attempt: Attempt, fetched: Result<Option<String>, Error>) {
        let step = Step::Act(Action::Fetch(attempt));
        match fetched {
            Ok(missing) => {
                self.retries.done(step);
                self.here.insert(attempt);
                self.tell(News::Fetched(attempt, missing));
            }
            Err(error) => self.failed(step, &error),
        }
    }

    /// Asks Slurm when it is time, and prints what the tasks that run have printed.
    pub(super) async fn follow(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
    ) -> Result<(), Error> {
        let now = Instant::now();
        if self.look <= now && !self.retries.waits(Step::Look, now) {
            let seen = self.observe(remote, job, directory).await;
            if seen.is_ok() {
                let pace = driver::pace(job, &self.status, Timestamp::now());
                self.look = Instant::now() + pace.min(self.missing.pace());
            }
            self.came(remote, Step::Look, seen)?;
        }
        self.print_running(remote, job, directory).await
    }

    async fn observe(
        &mut self,
        remote: &Remote,
        job: &GpuJob,
        directory: &JobDirectory,
    ) -> Result<(), Error> {
        let asked: Vec<_> = driver::in_slurm(&self.status)
            .filter_map(|task| {
                Some((Attempt::of(task), task.job_id.clone()?, task.start_time.clone()))
            })
            .collect();
        let jobs: Vec<_> = asked
            .iter()
            .map(|(attempt, id, _)| self.submitted(directory, *attempt, id.clone()))
            .collect();
        let mut seen = slurm::observe(remote, &jobs).await?;
        // The first of those that wait speaks for the others, which are behind it.
        let mut waiting = true;
        for (attempt, id, began) in asked {
            let Some(observed) = seen.remove(&id) else {
                if self.missing.miss(attempt, Instant::now().into_std()) {
                    self.lost(remote, directory, attempt, id).await?;
                }
                continue;
            };
            self.missing.forget(attempt);
            let begins = observed.start_time.is_some() && observed.start_time != began;
            // Tasks of an array begin one after the other, each with files of its own.
            let requeued = began.is_some() && (begins || observed.state.is_pending());
            if requeued && job.spec.array.is_none() {
                // Slurm empties its files when it begins anew.
                self.outputs.forget(attempt);
            }
            let position = match observed.state.is_pending() && std::mem::take(&mut waiting) {
                true => slurm::queue_position(remote, &id).await?,
                false => None,
            };
            self.tell(News::Observed(attempt, Box::new(observation(observed, position))));
        }
        Ok(())
    }

    /// Slurm has known nothing of a task for long. It is not to come back while another attempt runs.
    async fn lost(
        &mut self,
        remote: &Remote,
        directory: &JobDirectory,
        attempt: Attempt,
        id: String,
    ) -> Result<(), Error> {
        let found = slurm::look_up(remote, &self.task(attempt)).await?;
        self.missing.forget(attempt);
        match found.filter(|found| *found != id) {
            Some(other) => self.tell(News::Submitted(attempt, other)),
            None => {
                slurm::cancel(remote, &[self.submitted(directory, attempt, id)]).await?;
                self.tell(News::Observed(attempt, Box::new(unknown())));
            }
        }
        Ok(())
    }
}

pub(super) fn observation(seen: slurm::Observed, queue_position: Option<i32>) -> Observation {
    let task = GpuJobTask {
        state: Some(seen.state.to_string()),
        reason: seen.reason,
        exit_code: seen.exit_code,
        signal: seen.signal,
        submit_time: seen.submit_time,
        // Of one that waits it is only a guess.
        start_time: seen.start_time.filter(|_| !seen.state.is_pending()),
        end_time: seen.end_time,
        elapsed_seconds: seen.elapsed_seconds,
        nodes: seen.nodes,
        usage: seen.usage,
        ..GpuJobTask::default()
    };
    Observation { task, partition: seen.partition, queue_position, is_unwanted: false }
}

fn unknown() -> Observation {
    let task = GpuJobTask {
        state: Some("FAILED".to_owned()),
        reason: Some("Slurm knows nothing of the job any more".to_owned()),
        ..GpuJobTask::default()
    };
    Observation { task, ..Observation::default() }
}
