//! Makes the Jobs of a CronJob when they are due.
//!
//! *Flow*: take from the status what is over, delete Jobs that are over and too many, and if one is due that is not there
//! yet, make it.
//!
//! *Guarantees*: a Job's name is the time at which it was due, so none is made twice, whatever is lost.

mod decision;

use std::sync::Arc;
use std::time::Duration;

use api_machinery::cron::Schedule;
use api_types::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use api_types::api::core::v1::ObjectReference;
use api_types::jiff::{Timestamp, tz::TimeZone};
use api_types::meta::{ObjectMeta, Time};
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, Resource};

use self::decision::Due;
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Expectations, Next, ObjectKey, Registered, Step, WorkQueue, code,
    is_terminating, reason,
};
use crate::informers::Informers;
use crate::jobs::{is_complete, is_finished};
use crate::owners::{controller_of, controller_reference, is_controlled_by};

const NAME: &str = "cronjob-controller";
const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

/// A clock that is a little behind would find nothing due.
const SLACK: Duration = Duration::from_millis(100);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { jobs, cron_jobs, .. } = &context.informers;
    let changed = queue.clone();
    cron_jobs.on_change(move |change: &Change<CronJob>| {
        change.latest().into_iter().for_each(|it| changed.add(ObjectKey::of(&it.metadata)));
    });
    let changed = queue.clone();
    jobs.on_change(move |change: &Change<Job>| {
        for job in change.versions() {
            let namespace = job.metadata.namespace.as_deref().unwrap_or_default();
            let owner = controller_of(&job.metadata).filter(|owner| owner.kind == "CronJob");
            owner.into_iter().for_each(|it| changed.add(ObjectKey::new(namespace, &it.name)));
        }
    });
    let controller = CronJobs {
        client: context.client(),
        clock: context.clock,
        recorder: context.recorder(NAME),
        informers: context.informers.clone(),
        statuses: Expectations::default(),
    };
    Registered::new(controller, queue).reads(jobs).reads(cron_jobs)
}

struct CronJobs {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    informers: Informers,
    /// The statuses that were written and are not seen yet: they say which Jobs there are.
    statuses: Expectations,
}

#[async_trait::async_trait]
impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        if !self.statuses.are_met(key, &self.informers.cron_jobs) {
            return Ok(Next::After(UNSEEN));
        }
        let Some(cron_job) = self.informers.cron_jobs.get(key) else {
            self.statuses.forget(key);
            return Ok(Next::Change);
        };
        let spec = &cron_job.spec;
        let uid = cron_job.metadata.uid.as_deref().unwrap_or_default();
        let jobs = self.informers.jobs.controlled_by(&key.namespace, uid);
        let mut status = cron_job.status.clone().unwrap_or_default();
        self.take_stock(&cron_job, &jobs, &mut status).await?;
        self.remove_outlived(key, spec, &jobs).await?;
        let next = match cron_job.metadata.deletion_timestamp {
            None => self.make_due(key, &cron_job, spec, &mut status).await,
            Some(_) => Ok(Next::Change),
        };
        self.write(key, &cron_job, status).await?;
        next
    }
}

/// A schedule in its zone.
struct Clockwork {
    schedule: Schedule,
    zone: TimeZone,
}

impl CronJobs {
    /// Which Jobs run, and when the last one succeeded.
    async fn take_stock(
        &self,
        cron_job: &CronJob,
        jobs: &[Arc<Job>],
        status: &mut CronJobStatus,
    ) -> Result<(), Error> {
        let mut active = status.active.take().unwrap_or_default();
        for job in jobs {
            let is_it = |it: &ObjectReference| it.uid == job.metadata.uid;
            let (name, known) = (name(&job.metadata), active.iter().any(is_it));
            if is_finished(job) && known {
                active.retain(|it| !is_it(it));
                let how = if is_complete(job) { "Complete" } else { "Failed" };
                let message = format!("Saw completed job: {name}, condition: {how}");
                self.tell(cron_job, EventType::Normal, "SawCompletedJob", message);
            } else if !is_finished(job) && !known {
                let message =
                    format!("Saw a job that the controller did not create or forgot: {name}");
                self.tell(cron_job, EventType::Warning, "UnexpectedJob", message);
            }
            let done = job.status.as_ref().and_then(|status| status.completion_time.clone());
            if is_complete(job) && done > status.last_successful_time {
                status.last_successful_time = done;
            }
        }
        let (there, missing): (Vec<_>, Vec<_>) =
            active.into_iter().partition(|it| jobs.iter().any(|job| job.metadata.uid == it.uid));
        status.active = Some(there);
        for job in missing {
            if self.exists(&job).await? {
                status.active.get_or_insert_default().push(job);
                continue;
            }
            let message = format!("Active job went missing: {}", job.name.unwrap_or_default());
            self.tell(cron_job, EventType::Normal, "MissingJob", message);
        }
        status.active = status.active.take().filter(|active| !active.is_empty());
        Ok(())
    }

    /// What is seen of Jobs may be older than the status.
    async fn exists(&self, job: &ObjectReference) -> Result<bool, Error> {
        let namespace = job.namespace.as_deref().unwrap_or_default();
        let api = Api::<Job>::namespaced(self.client.clone(), namespace);
        let found = api.get_opt(job.name.as_deref().unwrap_or_default()).await;
        let found = found.step("looking for a Job that runs")?;
        Ok(found.is_some_and(|found| found.metadata.uid == job.uid))
    }

    async fn remove_outlived(
        &self,
        key: &ObjectKey,
        spec: &CronJobSpec,
        jobs: &[Arc<Job>],
    ) -> Result<(), Error> {
        for job in decision::outlived(spec, jobs) {
            if job.metadata.deletion_timestamp.is_none() {
                self.delete(key, name(&job.metadata), job.metadata.uid.clone()).await?;
            }
        }
        Ok(())
    }

    async fn delete(&self, key: &ObjectKey, name: &str, uid: Option<String>) -> Result<(), Error> {
        let this_one = Preconditions { uid, ..Preconditions::default() };
        let how = DeleteParams::background().preconditions(this_one);
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        api.delete(name, &how).await.unless_gone("deleting a Job").map(drop)
    }

    /// Makes the Job that is due, if there is one and it may run.
    async fn make_due(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        spec: &CronJobSpec,
        status: &mut CronJobStatus,
    ) -> Result<Next, Error> {
        let clockwork = self.clockwork(cron_job, spec);
        let Some(clockwork) = clockwork.filter(|_| spec.suspend != Some(true)) else {
            return Ok(Next::Change);
        };
        let now = self.clock.now();
        let Clockwork { schedule, zone } = &clockwork;
        let due = decision::due(cron_job, schedule, zone, now);
        let next = decision::next(cron_job, schedule, zone, due, now);
        let next = next.map_or(Next::Change, |next| {
            let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            Next::After(left + SLACK)
        });
        let Some(due) = due else { return Ok(next) };
        if !self.may_begin(key, cron_job, spec, status, due, now).await? {
            return Ok(next);
        }
        if let Some(job) = self.create(key, cron_job, spec, due.at, zone).await? {
            decision::note_active(status, &job);
            status.last_schedule_time = Some(Time(due.at));
        }
        Ok(next)
    }

    fn clockwork(&self, cron_job: &CronJob, spec: &CronJobSpec) -> Option<Clockwork> {
        let zone = spec.time_zone.as_deref().map_or(Ok(TimeZone::UTC), TimeZone::get);
        match (zone, Schedule::parse(&spec.schedule)) {
            (Ok(zone), Ok(schedule)) => return Some(Clockwork { schedule, zone }),
            (Err(error), _) => {
                let zone = spec.time_zone.as_deref().unwrap_or_default();
                let message = format!("invalid timeZone: {zone:?}: {error}");
                self.tell(cron_job, EventType::Warning, "UnknownTimeZone", message);
            }
            (_, Err(error)) => {
                let message = format!("unparseable schedule: {:?} : {error}", spec.schedule);
                self.tell(cron_job, EventType::Warning, "UnparseableSchedule", message);
            }
        }
        None
    }

    /// Whether the Job that was due then may run beside those that do.
    async fn may_begin(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        spec: &CronJobSpec,
        status: &mut CronJobStatus,
        due: Due,
        now: Timestamp,
    ) -> Result<bool, Error> {
        if due.missed_many {
            let message = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.tell(cron_job, EventType::Warning, "TooManyMissedTimes", message.to_owned());
        }
        if decision::is_too_late(spec, due.at, now) {
            let at = due.at.strftime("%a, %d %b %Y %H:%M:%S +0000");
            let message = format!("Missed scheduled time to start a job: {at}");
            self.tell(cron_job, EventType::Warning, "MissSchedule", message);
            return Ok(false);
        }
        let active = status.active.take().unwrap_or_default();
        match spec.concurrency_policy.as_deref() {
            Some("Forbid") if !active.is_empty() => {
                let message = "Not starting job because prior execution is running and concurrency policy is Forbid";
                self.tell(cron_job, EventType::Normal, "JobAlreadyActive", message.to_owned());
                status.active = Some(active);
                return Ok(false);
            }
            Some("Replace") => {
                for job in active {
                    let name = job.name.unwrap_or_default();
                    self.delete(key, &name, job.uid).await?;
                    let message = format!("Deleted job {name}");
                    self.tell(cron_job, EventType::Normal, "SuccessfulDelete", message);
                }
            }
            _ => status.active = Some(active).filter(|active| !active.is_empty()),
        }
        Ok(true)
    }

    /// The Job, new or there already; `None` if its name is somebody else's, or nothing is made in its namespace any more.
    async fn create(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        spec: &CronJobSpec,
        due: Timestamp,
        zone: &TimeZone,
    ) -> Result<Option<Job>, Error> {
        let job = job(cron_job, spec, due, zone);
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        match api.create(&PostParams::default(), &job).await {
            Ok(made) => {
                let message = format!("Created job {}", name(&made.metadata));
                self.tell(cron_job, EventType::Normal, "SuccessfulCreate", message);
                Ok(Some(made))
            }
            Err(error) if is_terminating(&error) => Ok(None),
            Err(error) if code(&error) == Some(409) => {
                let there = api.get_opt(name(&job.metadata)).await.step("looking for a Job")?;
                let uid = cron_job.metadata.uid.as_deref().unwrap_or_default();
                Ok(there.filter(|job| is_controlled_by(&job.metadata, uid)))
            }
            Err(error) => {
                let message = format!("Error creating job: {}", reason(&error));
                self.tell(cron_job, EventType::Warning, "FailedCreate", message);
                Err(error).step("creating a Job")
            }
        }
    }

    async fn write(
        &self,
        key: &ObjectKey,
        cron_job: &CronJob,
        status: CronJobStatus,
    ) -> Result<(), Error> {
        if cron_job.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let api = Api::<CronJob>::namespaced(self.client.clone(), &key.namespace);
        let changed = CronJob { status: Some(status), ..cron_job.clone() };
        let written = api.replace_status(&key.name, &PostParams::default(), &changed).await;
        let written = written.unless_gone("writing the status")?;
        let mark = |it: &CronJob| self.informers.cron_jobs.mark(it);
        written.iter().for_each(|it| self.statuses.written(key, mark(it)));
        Ok(())
    }

    fn tell(&self, cron_job: &CronJob, type_: EventType, reason: &str, message: String) {
        self.recorder.record(&cron_job.object_ref(&()), type_, reason, message);
    }
}

fn name(metadata: &ObjectMeta) -> &str {
    metadata.name.as_deref().unwrap_or_default()
}

/// The Job that was due then: its name is the minute.
fn job(cron_job: &CronJob, spec: &CronJobSpec, due: Timestamp, zone: &TimeZone) -> Job {
    let given = spec.job_template.metadata.clone().unwrap_or_default();
    let mut annotations = given.annotations.unwrap_or_default();
    let at = due.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string();
    annotations.insert(SCHEDULED_AT.to_owned(), at.replace("+00:00", "Z"));
    let metadata = ObjectMeta {
        name: Some(format!("{}-{}", name(&cron_job.metadata), due.as_second() / 60)),
        namespace: cron_job.metadata.namespace.clone(),
        labels: given.labels,
        annotations: Some(annotations),
        owner_references: controller_reference(cron_job).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Job { metadata, spec: spec.job_template.spec.clone(), status: None }
}
