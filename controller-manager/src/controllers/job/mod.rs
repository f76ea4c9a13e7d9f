//! Runs the pods of a Job to their end.
//!
//! *Flow*: claim the pods, see how they stand ([`assessment`]), make or delete some ([`plan`]), count those that have ended
//! ([`tracking`]), and say in the end what has become of the Job. One that is over goes when its time has come.
//!
//! *Guarantees*: a pod counts once, whoever is killed when: a finalizer holds it until the status has it. No more pods
//! than wanted are made, however far the store lags behind: the controller's own writes are waited for, and the status is
//! written at the version that it was worked out from.

mod assessment;
mod back_off;
mod failure_policy;
mod job_pod;
mod orphans;
mod plan;
mod spec;
mod tracking;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use api_types::api::batch::v1::{Job, JobSpec, JobStatus};
use api_types::api::core::v1::Pod;
use api_types::meta::Time;
use component::events::{EventType, Recorder};
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Api, Client, Resource};
use parking_lot::Mutex;

use self::assessment::{Assessment, End, View, count};
use self::back_off::BackOff;
use self::plan::Action;
use self::tracking::{Tally, number};
use crate::clock::Clock;
use crate::context::Context;
use crate::frame::{
    Change, Controller, Error, Expectations, Next, ObjectKey, Registered, Step, WorkQueue,
};
use crate::indexes::Selecting;
use crate::informers::Informers;
use crate::jobs;
use crate::pod_control::{self, Claims, PodControl};
use crate::pods;

pub(super) use orphans::register as register_orphans;

const NAME: &str = "job-controller";

/// While own writes have not come back, look again this often.
const UNSEEN: Duration = Duration::from_secs(1);

pub(super) fn register(context: &Context) -> Registered {
    let queue = Arc::new(WorkQueue::default());
    let Informers { pods, jobs, .. } = &context.informers;
    let changed = queue.clone();
    jobs.on_change(move |change: &Change<Job>| {
        change.latest().into_iter().for_each(|job| changed.add(ObjectKey::of(&job.metadata)));
    });
    pod_control::watch(pods, jobs, &queue);
    Registered::new(Jobs::new(context), queue).reads(pods).reads(jobs)
}

struct Jobs {
    client: Client,
    clock: Clock,
    recorder: Recorder,
    informers: Informers,
    control: PodControl<Job>,
    claims: Claims<Job, Pod>,
    /// The statuses that were written and are not seen yet: what they count is no longer to be seen of the pods.
    statuses: Expectations,
    back_offs: Mutex<HashMap<ObjectKey, BackOff>>,
}

impl Jobs {
    fn new(context: &Context) -> Self {
        let (client, informers) = (context.client(), context.informers.clone());
        let recorder = context.recorder(NAME);
        let control = PodControl::new(client.clone(), recorder.clone(), informers.pods.clone());
        let claims = control.claims(|pod| !pods::is_terminating(pod)).holding(job_pod::TRACKING);
        let (clock, statuses) = (context.clock, Expectations::default());
        let back_offs = Mutex::default();
        Self { client, clock, recorder, informers, control, claims, statuses, back_offs }
    }

    fn forget(&self, key: &ObjectKey) {
        self.control.forget(key);
        self.statuses.forget(key);
        self.back_offs.lock().remove(key);
    }
}

#[async_trait::async_trait]
impl Controller for Jobs {
    fn name(&self) -> &'static str {
        NAME
    }

    async fn reconcile(&self, key: &ObjectKey) -> Result<Next, Error> {
        let Some(job) = self.informers.jobs.get(key) else {
            self.forget(key);
            return Ok(Next::Change);
        };
        let Some(spec) = job.spec.as_ref().filter(|spec| !spec::is_foreign(spec)) else {
            return Ok(Next::Change);
        };
        if jobs::is_finished(&job) {
            self.forget(key);
            return self.remove_in_time(key, &job, spec).await;
        }
        self.control.settle(key, &job).await?;
        if !self.shows_own_writes(key) {
            return Ok(Next::After(UNSEEN));
        }
        // What is seen may be newer by now, and another Job.
        let same = |it: &Arc<Job>| it.metadata.uid == job.metadata.uid && !jobs::is_finished(it);
        let Some(job) = self.informers.jobs.get(key).filter(same) else {
            return Ok(Next::After(UNSEEN));
        };
        let (Some(spec), Some(selector)) = (&job.spec, job.selector()) else {
            return Ok(Next::After(UNSEEN));
        };
        let pods = self.claims.claim(key, &job, &selector).await?;
        if !self.control.shows_own_writes(key) {
            // What was adopted is not held yet, as far as it is seen.
            return Ok(Next::After(UNSEEN));
        }
        self.sync(key, &job, spec, &pods).await
    }
}

/// What has been done about the pods in this look.
struct Done {
    next: Next,
    /// Whether it has gone as it should.
    result: Result<(), Error>,
    made: usize,
    deleted: Vec<Arc<Pod>>,
}

impl Jobs {
    fn shows_own_writes(&self, key: &ObjectKey) -> bool {
        self.control.shows_own_writes(key) && self.statuses.are_met(key, &self.informers.jobs)
    }

    async fn sync(
        &self,
        key: &ObjectKey,
        job: &Job,
        spec: &JobSpec,
        pods: &[Arc<Pod>],
    ) -> Result<Next, Error> {
        let mut status = job.status.clone().unwrap_or_default();
        let now = self.clock.now();
        if status.start_time.is_none() && !spec::is_suspended(spec) {
            status.start_time = Some(Time(now));
        }
        let before = status.clone();
        let view = View { job, spec, status: &before, pods, now };
        let known = self.back_offs.lock().get(key).cloned().unwrap_or_default();
        let mut assessment = view.assess(&known);
        let done = self.manage(key, &view, &assessment).await;
        let active = assessment.active.len() + done.made - done.deleted.len();
        self.conclude(&view, &mut assessment, &done, active, &mut status);
        status.active = number(active).filter(|active| *active > 0);
        let deleted_ready = done.deleted.iter().filter(|pod| pods::is_ready(pod)).count();
        let ready = assessment.active.iter().filter(|pod| pods::is_ready(pod)).count();
        status.ready = number(ready - deleted_ready);
        status.terminating = number(assessment.going + done.deleted.len());
        let tally = tracking::tally(&view, &assessment, &mut status);
        let back_off = View { pods: &tally.released, ..view }.back_off(&known);
        if let Some(job) = self.write(key, job, status).await? {
            // Those pods are known to the status from now on, and no others.
            self.back_offs.lock().insert(key.clone(), back_off);
            self.release(key, &job, &tally, assessment.end.as_ref()).await?;
        }
        done.result?;
        let deadline = assessment.deadline.filter(|deadline| !deadline.is_zero());
        Ok(deadline.map_or(done.next, |deadline| done.next.or_after(deadline)))
    }

    /// Makes and deletes pods.
    async fn manage(&self, key: &ObjectKey, view: &View<'_>, now: &Assessment) -> Done {
        let done = Done { next: Next::Change, result: Ok(()), made: 0, deleted: Vec::new() };
        if now.end.is_some() {
            // Their finalizers stay until they are counted.
            return self.delete(key, view, now.active.clone(), done).await;
        }
        if view.job.metadata.deletion_timestamp.is_some() {
            return done;
        }
        match plan::of(view, now) {
            Action::Nothing => done,
            Action::Wait(time) => Done { next: Next::After(time), ..done },
            Action::Delete(pods) => {
                let (_, released) =
                    self.control.remove_finalizer(key, &pods, job_pod::TRACKING).await;
                match released {
                    Ok(()) => self.delete(key, view, pods, done).await,
                    result => Done { result, ..done },
                }
            }
            Action::Create(wanted) => {
                let template = &view.spec.template;
                let pods: Vec<_> =
                    wanted.iter().map(|it| job_pod::make(view.job, template, it)).collect();
                let result = self.control.create(key, view.job, &pods).await;
                let made = if result.is_ok() { pods.len() } else { 0 };
                Done { result, made, ..done }
            }
        }
    }

    async fn delete(
        &self,
        key: &ObjectKey,
        view: &View<'_>,
        pods: Vec<Arc<Pod>>,
        done: Done,
    ) -> Done {
        match self.control.delete(key, view.job, &pods).await {
            Ok(()) => Done { deleted: pods, ..done },
            result => Done { result, ..done },
        }
    }

    /// Finds out whether the Job has come to its end by that.
    fn conclude(
        &self,
        view: &View<'_>,
        now: &mut Assessment,
        done: &Done,
        active: usize,
        status: &mut JobStatus,
    ) {
        if now.end.is_some() {
            // While a pod runs, it may still succeed.
            now.end = now.end.take().filter(|_| done.result.is_ok());
            return;
        }
        let least = view.spec.completions.map_or(1, |_| count(view.spec.completions));
        let enough = now.succeeded >= least;
        if enough && active == 0 {
            now.end = Some(End::complete());
        } else if view.job.metadata.deletion_timestamp.is_none() {
            let suspended = spec::is_suspended(view.spec);
            if tracking::suspend(status, suspended, view.now) {
                let (reason, message) = if suspended {
                    ("Suspended", "Job suspended")
                } else {
                    ("Resumed", "Job resumed")
                };
                self.tell(view.job, EventType::Normal, reason, message);
            }
        }
    }

    /// Lets counted pods go, and writes what has come of that.
    async fn release(
        &self,
        key: &ObjectKey,
        job: &Job,
        tally: &Tally,
        end: Option<&End>,
    ) -> Result<(), Error> {
        let (released, result) =
            self.control.remove_finalizer(key, &tally.released, job_pod::TRACKING).await;
        let mut status = job.status.clone().unwrap_or_default();
        tracking::count_released(&mut status, |uid| !released.contains(uid));
        let end = end.filter(|_| tally.is_whole && result.is_ok());
        let finished = end.filter(|end| tracking::finish(&mut status, end, self.clock.now()));
        self.write(key, job, status).await?;
        if let Some(end) = finished {
            self.tell_end(job, end);
        }
        result
    }

    /// The Job with this status; `None` if it is gone.
    async fn write(
        &self,
        key: &ObjectKey,
        job: &Job,
        status: JobStatus,
    ) -> Result<Option<Job>, Error> {
        if job.status.as_ref() == Some(&status) {
            return Ok(Some(job.clone()));
        }
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        let job = Job { status: Some(status), ..job.clone() };
        let written = api.replace_status(&key.name, &PostParams::default(), &job).await;
        let written = written.unless_gone("writing the status")?;
        written.iter().for_each(|job| self.statuses.written(key, self.informers.jobs.mark(job)));
        Ok(written)
    }

    fn tell_end(&self, job: &Job, end: &End) {
        if !end.succeeds {
            return self.tell(job, EventType::Warning, &end.reason, &end.message);
        }
        self.tell(job, EventType::Normal, "Completed", "Job completed");
    }

    fn tell(&self, job: &Job, type_: EventType, reason: &str, message: &str) {
        self.recorder.record(&job.object_ref(&()), type_, reason, message.to_owned());
    }

    /// Deletes a Job that is over, with its pods, when the time has come that its spec names.
    async fn remove_in_time(
        &self,
        key: &ObjectKey,
        job: &Job,
        spec: &JobSpec,
    ) -> Result<Next, Error> {
        let Some(seconds) = spec.ttl_seconds_after_finished else { return Ok(Next::Change) };
        if job.metadata.deletion_timestamp.is_some() {
            return Ok(Next::Change);
        }
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let mut ends = conditions.filter(|it| matches!(&*it.type_, "Complete" | "Failed"));
        let end = ends.find_map(|condition| condition.last_transition_time.as_ref());
        let gone = end.map_or(Duration::ZERO, |end| {
            Duration::try_from(self.clock.now().duration_since(end.0)).unwrap_or_default()
        });
        let left = Duration::from_secs(seconds.try_into().unwrap_or(0)).saturating_sub(gone);
        if !left.is_zero() {
            return Ok(Next::After(left));
        }
        let api = Api::<Job>::namespaced(self.client.clone(), &key.namespace);
        let this_one = Preconditions {
            uid: job.metadata.uid.clone(),
            // Its time may have been changed.
            resource_version: job.metadata.resource_version.clone(),
        };
        let deleted =
            api.delete(&key.name, &DeleteParams::foreground().preconditions(this_one)).await;
        deleted.unless_gone("deleting a Job whose time is over")?;
        Ok(Next::Change)
    }
}

#[cfg(test)]
mod tests;
