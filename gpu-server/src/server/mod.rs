//! Takes one job through the Slurm cluster: asks the driver what is to be done, writes the status, does it, and waits
//! until there may be something new.

mod steps;

use std::time::Duration;

use api_types::{
    jiff::Timestamp,
    minik8s::{GpuJob, GpuJobStatus, GpuJobTask},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    driver::{self, Action, CLUSTER_READY, News, Prepared, Told},
    link::Link,
    output::Outputs,
    remote::{JobDirectory, Remote},
    report::Reporter,
    ssh::Error,
};

/// How often the output of a task that runs is looked at.
const STREAMING: Duration = Duration::from_secs(1);
/// How soon is tried again what the API server did not take.
const REPORTING: Duration = Duration::from_secs(2);
/// How long is waited when there is nothing to do; what happens to the job ends it.
const IDLE: Duration = Duration::from_secs(3600);
/// How long Slurm may know nothing of a job that it has taken.
const LOST_AFTER: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    args: Args,
    jobs: watch::Receiver<Option<GpuJob>>,
    reporter: Reporter,
    link: Link,
    status: GpuJobStatus,
    prepared: Prepared,
    outputs: Outputs,
    /// When Slurm is asked next.
    look: Instant,
    /// Since when Slurm has known of all tasks.
    known: Instant,
}

impl Server {
    /// `jobs` has the job, until it is gone.
    pub(crate) fn new(
        args: Args,
        jobs: watch::Receiver<Option<GpuJob>>,
        reporter: Reporter,
        job: &GpuJob,
    ) -> Self {
        let mut status = job.status.clone().unwrap_or_default();
        // The volume may be another one by now; what is there is not fetched again.
        status.tasks.iter_mut().for_each(|task| task.fetched = false);
        Self {
            link: Link::new(args.ssh.clone()),
            outputs: Outputs::new(job.spec.completions.unwrap_or(1) > 1),
            prepared: Prepared::NotYet,
            look: Instant::now(),
            known: Instant::now(),
            args,
            jobs,
            reporter,
            status,
        }
    }

    /// Ends when the job is gone, or at shutdown. Whatever is in Slurm then goes on.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let Some(job) = self.jobs.borrow_and_update().clone() else { return };
            let wait = tokio::select! {
                wait = self.round(&job) => wait,
                () = shutdown.cancelled() => return,
            };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.jobs.changed() => if changed.is_err() { return },
                () = shutdown.cancelled() => return,
            }
        }
    }

    /// Does what is to be done now; how long nothing will be.
    async fn round(&mut self, job: &GpuJob) -> Duration {
        let (status, actions) = driver::next(job, &self.status, &self.prepared, Timestamp::now());
        self.status = status;
        // What is done has to be known to who comes after.
        let Ok(()) = self.report(job).await else { return REPORTING };
        if actions == [Action::Release] {
            return match self.reporter.release(job).await {
                Ok(()) => IDLE,
                Err(error) => {
                    tracing::warn!(%error, "the finalizer stays");
                    REPORTING
                }
            };
        }
        if actions.is_empty() && driver::in_slurm(&self.status).next().is_none() {
            self.link.close().await;
            return driver::pace(job, &self.status, Timestamp::now());
        }
        if let Some(pause) = self.link.pause() {
            return pause;
        }
        let before = (self.status.clone(), self.prepared.clone());
        let mut jobs = self.jobs.clone();
        let stopping = actions.iter().any(|action| matches!(action, Action::Cancel(_)));
        let worked = tokio::select! {
            worked = self.work(job, actions) => worked,
            () = other_intent(&mut jobs, job) => return Duration::ZERO,
        };
        match worked {
            Ok(()) => self.link.works(),
            Err(error) => self.trouble(&error),
        }
        let changed = before != (self.status.clone(), self.prepared.clone());
        self.wait(job, changed, stopping)
    }

    async fn report(&mut self, job: &GpuJob) -> Result<(), kube::Error> {
        let written = self.reporter.write(job, &self.status).await;
        written.inspect_err(|error| tracing::warn!(%error, "cannot write the status"))
    }

    /// How long nothing is to be done, after work.
    fn wait(&self, job: &GpuJob, changed: bool, stopping: bool) -> Duration {
        if let Some(pause) = self.link.pause() {
            // The status says why.
            return if changed { Duration::ZERO } else { pause };
        }
        if changed {
            return Duration::ZERO;
        }
        let streams = stopping || driver::in_slurm(&self.status).any(is_running);
        let look = self.look.saturating_duration_since(Instant::now());
        let pace = driver::pace(job, &self.status, Timestamp::now());
        look.min(pace).min(if streams { STREAMING } else { IDLE })
    }

    /// Something could not be done: says so, and waits.
    fn trouble(&mut self, error: &Error) {
        let message = error.to_string();
        let reason = match error {
            Error::Unreachable(_) => "ConnectionLost",
            Error::Refused(_) => "LoginRefused",
            Error::Failed { .. } => "CommandFailed",
            Error::Local { .. } => "SourcesUnreadable",
        };
        let told = Told { type_: CLUSTER_READY, holds: false, reason, message: &message };
        driver::set(&mut self.status, told, Timestamp::now());
        self.status.message = Some(message);
        self.link.failed(error);
    }

    fn tell(&mut self, news: News) {
        driver::tell(&mut self.status, news, Timestamp::now());
    }

    fn told(&mut self, type_: &str, reason: &str, message: &str) {
        let told = Told { type_, holds: true, reason, message };
        driver::set(&mut self.status, told, Timestamp::now());
    }

    /// Does everything that needs the login node.
    async fn work(&mut self, job: &GpuJob, actions: Vec<Action>) -> Result<(), Error> {
        let remote = self.link.remote().await?;
        self.connected();
        let directory = self.directory(&remote).await?;
        for action in actions {
            self.act(&remote, job, &directory, action).await?;
        }
        self.follow(&remote, job, &directory).await
    }

    fn connected(&mut self) {
        let trouble = driver::condition(&self.status, CLUSTER_READY);
        if trouble.is_some_and(|condition| Some(&condition.message) == self.status.message.as_ref())
        {
            self.status.message = None;
        }
        let host = self.args.ssh.ssh_host.clone().unwrap_or_default();
        self.told(CLUSTER_READY, "Connected", &format!("logged in at {host}"));
    }

    async fn directory(&self, remote: &Remote) -> Result<JobDirectory, Error> {
        let root = match &self.args.ssh.directory {
            Some(root) => root.clone(),
            None => format!("{}/.minik8s", remote.home().await?),
        };
        JobDirectory::new(&root, self.args.uid.as_deref().unwrap_or_default())
    }
}

fn is_running(task: &GpuJobTask) -> bool {
    task.state.as_deref() == Some("RUNNING")
}

/// Returns when the job is wanted to go another way: it is deleted, suspended or resumed.
async fn other_intent(jobs: &mut watch::Receiver<Option<GpuJob>>, now: &GpuJob) {
    let intent = |job: &GpuJob| (job.metadata.deletion_timestamp.is_some(), job.spec.suspend);
    let other = |job: &Option<GpuJob>| job.as_ref().map(intent) != Some(intent(now));
    if jobs.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}
