//! Takes one job through the Slurm cluster: asks the driver what is to be done, writes the status, does it, and waits
//! until there may be something new.

mod cancels;
mod cleaning;
mod fetching;
mod place;
mod printing;
mod reporting;
mod retries;
mod steps;
mod streaming;
mod unwritten;

use std::{collections::BTreeSet, ops::ControlFlow, time::Duration};

use api_types::{
    jiff::Timestamp,
    minik8s::{GpuJob, GpuJobStatus, GpuJobTask},
};
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::{
    args::Args,
    driver::{self, Action, Attempt, CLUSTER_READY, Missing, News, Prepared, Told},
    link::Link,
    output::Outputs,
    remote::{JobDirectory, Remote},
    report::{self, Reporter},
    ssh::Error,
};
use cancels::Cancels;
use fetching::Fetching;
use printing::Printing;
use retries::{Retries, Step};
use unwritten::Unwritten;

/// How long is waited when there is nothing to do; what happens to the job ends it.
const IDLE: Duration = Duration::from_secs(3600);
/// How long after the pod was told to end the job may be deleted too: with a namespace, both are, in whatever order.
const LINGER: Duration = Duration::from_secs(5);

pub(crate) struct Server {
    args: Args,
    jobs: watch::Receiver<Option<GpuJob>>,
    reporter: Reporter,
    link: Link,
    status: GpuJobStatus,
    prepared: Prepared,
    /// The attempts whose files are here.
    here: BTreeSet<Attempt>,
    /// Where the job's files are on the login node, once that is known.
    directory: Option<JobDirectory>,
    outputs: Outputs,
    printing: Printing,
    /// When Slurm is asked next.
    look: Instant,
    /// Tasks that Slurm does not know at the time.
    missing: Missing,
    retries: Retries,
    cancels: Cancels,
    fetching: Fetching,
    /// The pod is to end.
    shutdown: CancellationToken,
}

impl Server {
    /// `jobs` has the job, until it is gone.
    pub(crate) fn new(
        args: Args,
        jobs: watch::Receiver<Option<GpuJob>>,
        reporter: Reporter,
        job: &GpuJob,
        shutdown: CancellationToken,
    ) -> Self {
        let mut server = Self {
            link: Link::new(args.ssh.clone()),
            here: BTreeSet::new(),
            directory: None,
            outputs: Outputs::new(job.spec.completions.unwrap_or(1) > 1),
            printing: Printing::default(),
            prepared: Prepared::NotYet,
            look: Instant::now(),
            missing: Missing::default(),
            retries: Retries::default(),
            cancels: Cancels::default(),
            fetching: Fetching::default(),
            shutdown,
            args,
            jobs,
            reporter,
            status: GpuJobStatus::default(),
        };
        server.take_over(job, report::own(job.status.as_ref()));
        server
    }

    /// Goes on from what another server has written, or an earlier one.
    fn take_over(&mut self, job: &GpuJob, status: GpuJobStatus) {
        self.status = status;
        self.directory = None;
        for task in &mut self.status.tasks {
            // Its volume may be another one.
            task.fetched = self.here.contains(&Attempt::of(task));
        }
        let compiles = !job.spec.compile_scripts.is_empty() && driver::is_on_cluster(&self.status);
        self.prepared = if compiles { Prepared::Begun } else { Prepared::NotYet };
        self.look = Instant::now();
    }

    /// Ends when the job is gone, or nothing holds it any more, or at shutdown. Whatever is in Slurm then goes on, unless the
    /// job is deleted: then this is the last server that it has, and goes on until it is killed.
    pub(crate) async fn run(self) {
        let (jobs, shutdown) = (self.jobs.clone(), self.shutdown.clone());
        tokio::select! {
            () = self.serve() => {}
            () = leave(&shutdown, jobs) => {}
        }
    }

    async fn serve(mut self) {
        loop {
            let Some(job) = self.jobs.borrow_and_update().clone() else { return };
            let ControlFlow::Continue(wait) = self.round(&job).await else { return };
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                changed = self.jobs.changed() => if changed.is_err() { return },
                (attempt, fetched) = self.fetching.end() => self.fetched(attempt, fetched),
            }
        }
    }

    /// Does what is to be done now; how long nothing will be, if anything will.
    async fn round(&mut self, job: &GpuJob) -> ControlFlow<(), Duration> {
        let (status, actions) = driver::next(job, &self.status, &self.prepared, Timestamp::now());
        self.status = status;
        let deleted = job.metadata.deletion_timestamp.is_some();
        if deleted {
            self.fetching.give_up().await;
        }
        match self.report(job).await {
            Ok(()) => {}
            // The cluster is cleared up whether anybody hears of it or not.
            Err(Unwritten::Failed) if deleted => {}
            // Else, what is done has to be known to who comes after.
            Err(unwritten) => return unwritten.then(),
        }
        if actions == [Action::Release] {
            return self.release().await;
        }
        ControlFlow::Continue(self.act_on(job, actions).await)
    }

    async fn act_on(&mut self, job: &GpuJob, actions: Vec<Action>) -> Duration {
        if actions.is_empty() && driver::in_slurm(&self.status).next().is_none() {
            self.link.close().await;
            return driver::pace(job, &self.status, Timestamp::now());
        }
        if let Some(pause) = self.link.pause() {
            return pause;
        }
        let before = (self.status.clone(), self.prepared.clone());
        let mut jobs = self.jobs.clone();
        let deadline = driver::until_deadline(&job.spec, &self.status, Timestamp::now());
        let worked = tokio::select! {
            worked = self.work(job, actions) => worked,
            () = other_intent(&mut jobs, job) => return Duration::ZERO,
            () = after(deadline) => return Duration::ZERO,
        };
        match worked {
            Ok(()) => self.link.works(),
            Err(error) => {
                self.trouble(None, &error);
                self.link.failed(&error);
            }
        }
        let changed = before != (self.status.clone(), self.prepared.clone());
        self.wait(job, changed)
    }

    /// How long nothing is to be done, after work.
    fn wait(&self, job: &GpuJob, changed: bool) -> Duration {
        if let Some(pause) = self.link.pause() {
            // The status says why.
            return if changed { Duration::ZERO } else { pause };
        }
        if changed {
            return Duration::ZERO;
        }
        let streams = driver::in_slurm(&self.status).any(is_running);
        let until = |at: Instant| at.saturating_duration_since(Instant::now());
        let look =
            if self.retries.waits(Step::Look, Instant::now()) { IDLE } else { until(self.look) };
        let again = self.retries.next(self.fetching.is_busy()).map_or(IDLE, until);
        let cancels = self.cancels.next().map_or(IDLE, until);
        let pace = driver::pace(job, &self.status, Timestamp::now());
        let streaming = match streams {
            _ if self.printing.has_more() => Duration::ZERO,
            true => self.printing.wait(Instant::now()),
            false => IDLE,
        };
        look.min(pace).min(again).min(cancels).min(streaming)
    }

    /// Something could not be done: says so.
    fn trouble(&mut self, step: Option<Step>, error: &Error) {
        let message = driver::short(&error.to_string());
        let reason = retries::reason(step, error);
        let told = Told { type_: CLUSTER_READY, holds: false, reason, message: &message };
        driver::set(&mut self.status, told, Timestamp::now());
        if !driver::has_ended(&self.status) {
            self.status.message = Some(message);
        }
    }

    /// A step could not be done. It is tried again, unless that is of no use.
    fn failed(&mut self, step: Step, error: &Error) {
        tracing::debug!(?step, %error, "tried in vain");
        let reason = match step {
            Step::Act(Action::Prepare) if retries::is_archive(error) => Some("InvalidSources"),
            _ if !retries::stays(error) || !self.retries.is_last(step) => None,
            Step::Act(Action::Prepare) => Some("PreparationFailed"),
            Step::Act(Action::Submit(_)) => Some("SubmissionFailed"),
            _ => None,
        };
        if let Some(reason) = reason {
            self.retries.done(step);
            return self.tell(News::GivenUp(reason, error.to_string()));
        }
        self.retries.failed(step, Instant::now());
        self.trouble(Some(step), error);
        if error.is_transient() {
            self.link.lost();
        }
    }

    fn tell(&mut self, news: News) {
        driver::tell(&mut self.status, news, Timestamp::now());
    }

    fn told(&mut self, type_: &str, reason: &str, message: &str) {
        let told = Told { type_, holds: true, reason, message };
        driver::set(&mut self.status, told, Timestamp::now());
    }

    /// Does everything that needs the login node. What cannot be done keeps nothing else from being done, unless there is no
    /// connection any more.
    async fn work(&mut self, job: &GpuJob, actions: Vec<Action>) -> Result<(), Error> {
        let remote = self.link.remote().await?;
        if self.retries.is_empty() {
            self.connected();
        }
        let directory = self.directory(&remote, job).await?;
        self.retries.keep(&actions, &self.running());
        self.cancels.keep(&actions);
        self.printing.begin();
        for action in actions {
            let step = Step::Act(action);
            let (submits, now) = (matches!(action, Action::Submit(_)), Instant::now());
            let waits = self.retries.waits(step, now) || self.cancels.waits(action, now);
            if waits || (submits && self.retries.waits_to_submit(now)) {
                continue;
            }
            let done = self.act(&remote, job, &directory, action).await;
            self.came(&remote, step, done)?;
        }
        self.follow(&remote, job, &directory).await?;
        if self.retries.has_only(self.fetching.step()) {
            self.connected();
        }
        Ok(())
    }

    /// What has come of a step; an error if nothing will come of others either.
    fn came(&mut self, remote: &Remote, step: Step, done: Result<(), Error>) -> Result<(), Error> {
        match done {
            // Its end is told of by itself.
            Ok(()) if matches!(step, Step::Act(Action::Fetch(_))) => {}
            Ok(()) => self.retries.done(step),
            Err(error) if remote.is_closed() => return Err(error),
            Err(error) => self.failed(step, &error),
        }
        Ok(())
    }

    fn running(&self) -> Vec<Attempt> {
        let running = driver::in_slurm(&self.status).filter(|task| is_running(task));
        running.map(Attempt::of).collect()
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
}

fn is_running(task: &GpuJobTask) -> bool {
    task.state.as_deref() == Some("RUNNING")
}

async fn after(wait: Option<Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Returns some time after the shutdown, unless the job is deleted by then.
async fn leave(shutdown: &CancellationToken, mut jobs: watch::Receiver<Option<GpuJob>>) {
    shutdown.cancelled().await;
    let deleted = |job: &Option<GpuJob>| {
        job.as_ref().is_none_or(|job| job.metadata.deletion_timestamp.is_some())
    };
    let heard = tokio::time::timeout(LINGER, jobs.wait_for(deleted)).await;
    // What was heard is a lock on the job: held, it would keep everybody else from hearing anything.
    if heard.is_ok_and(|heard| heard.is_ok()) {
        std::future::pending::<()>().await;
    }
}

/// Returns when the job is wanted to go another way: it is deleted, suspended or resumed, or has another deadline.
async fn other_intent(jobs: &mut watch::Receiver<Option<GpuJob>>, now: &GpuJob) {
    let intent = |job: &GpuJob| {
        let spec = &job.spec;
        (job.metadata.deletion_timestamp.is_some(), spec.suspend, spec.active_deadline_seconds)
    };
    let other = |job: &Option<GpuJob>| job.as_ref().map(intent) != Some(intent(now));
    if jobs.wait_for(other).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests;
