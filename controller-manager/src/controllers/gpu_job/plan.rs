//! What there is to do for a job: pure.
//!
//! A job has one pod at a time, from its beginning until it is deleted: while it waits, runs, is suspended, and when it has
//! ended, for the file server in it serves the results. A pod that is lost with its node is replaced before anybody has
//! seen its end: two servers of a job submit nothing twice, and who writes the job's status second sees that it was written.
//!
//! Its server takes the finalizer away when nothing of the job is left in Slurm. So a job that is being deleted needs a
//! server too, unless nothing of it ever was there, or it can't get one any more. The time that a job may take is counted by
//! its server, and here until something of it is in Slurm.

use std::sync::Arc;
use std::time::Duration;

use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use api_types::meta::Time;
use api_types::minik8s::GpuJob;

use crate::frame::Next;
use crate::pods;

/// While a pod goes, or a job can't be helped, look again this often.
pub(super) const PERIOD: Duration = Duration::from_secs(10);
/// A pod that has failed is replaced when it is so old: one that is refused by its node fails at once.
const REPLACED_AFTER: Duration = Duration::from_secs(10);

/// What is seen of a job.
pub(super) struct Seen<'a> {
    pub(super) job: &'a GpuJob,
    /// The pods that it controls.
    pub(super) pods: &'a [Arc<Pod>],
    /// Whether anybody is there to end the pods of a node.
    pub(super) is_node_ready: &'a dyn Fn(&str) -> bool,
    /// Whether its namespace is on its way out: nothing can be made there.
    pub(super) is_namespace_going: bool,
    pub(super) now: Timestamp,
}

#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// The finalizer is put on it.
    Hold,
    /// A pod is made for it.
    Serve,
    /// These pods go.
    DeletePods(Vec<Arc<Pod>>),
    /// The pod, if there is one, does what there is to do.
    Wait,
    /// The finalizer is taken away: nothing of the job was ever in Slurm.
    Release,
    /// The finalizer is taken away though something may be left in Slurm: no server can be made any more.
    Abandon,
    /// The job is deleted: it has ended long ago.
    Expire,
    /// The job has failed: its time is over before a server had it in hand.
    Fail,
}

/// What to do now, and when to look again if nothing changes before.
pub(super) fn decide(seen: &Seen<'_>) -> (Step, Next) {
    if is_going(seen.job) { deleted(seen) } else { living(seen) }
}

pub(super) fn is_going(job: &GpuJob) -> bool {
    job.metadata.deletion_timestamp.is_some()
}

pub(super) fn is_held(job: &GpuJob) -> bool {
    let mut finalizers = job.metadata.finalizers.iter().flatten();
    finalizers.any(|finalizer| finalizer == GpuJob::FINALIZER)
}

/// The pod that follows the job: the oldest of those that live.
pub(super) fn server(pods: &[Arc<Pod>]) -> Option<&Arc<Pod>> {
    let living = pods.iter().filter(|pod| pods::is_active(pod));
    living.min_by_key(|pod| (&pod.metadata.creation_timestamp, &pod.metadata.name))
}

fn living(seen: &Seen<'_>) -> (Step, Next) {
    let left = left(seen.job, seen.now);
    if left.is_some_and(|left| left.is_zero()) {
        return (Step::Expire, Next::Change);
    }
    let until_failed = until_failed(seen.job, seen.now);
    let (step, next) = match is_held(seen.job) {
        _ if seen.is_namespace_going => (Step::Wait, Next::Change),
        false => (Step::Hold, Next::Change),
        true if until_failed.is_some_and(|left| left.is_zero()) => (Step::Fail, Next::Change),
        true if needs_no_server(seen.job) => (Step::Wait, Next::Change),
        true => served(seen),
    };
    let times = left.into_iter().chain(until_failed.filter(|left| !left.is_zero()));
    (step, times.fold(next, Next::or_after))
}

/// Whether it has ended before anything of it was in Slurm: there are no results to serve.
pub(super) fn needs_no_server(job: &GpuJob) -> bool {
    job.ended().is_some() && job.condition(GpuJob::UPLOADED).is_none()
}

fn deleted(seen: &Seen<'_>) -> (Step, Next) {
    let may_be_in_slurm = seen.job.condition(GpuJob::UPLOADED).is_some();
    match is_held(seen.job) {
        false => (Step::Wait, Next::Change),
        true if !may_be_in_slurm => (Step::Release, Next::Change),
        true => match served(seen) {
            (Step::Serve, _) if seen.is_namespace_going => (Step::Abandon, Next::Change),
            (step, next) => (step, next.or_after(PERIOD)),
        },
    }
}

/// Takes care that there is one pod.
fn served(seen: &Seen<'_>) -> (Step, Next) {
    let server = server(seen.pods);
    let (mut over, mut next) = (Vec::new(), Next::Change);
    for pod in seen.pods.iter().filter(|pod| !pods::is_terminating(pod)) {
        if server.is_some_and(|server| Arc::ptr_eq(server, pod)) {
            continue;
        }
        match rest(pod, seen.now).filter(|_| pods::is_finished(pod)) {
            Some(rest) => next = next.or_after(rest),
            None => over.push(pod.clone()),
        }
    }
    if !over.is_empty() {
        return (Step::DeletePods(over), next);
    }
    let is_ending = |pod: &&Arc<Pod>| {
        pods::is_terminating(pod) && pods::node_of(pod).is_none_or(seen.is_node_ready)
    };
    if server.is_some() || next != Next::Change {
        (Step::Wait, next)
    } else if seen.pods.iter().any(|pod| is_ending(&pod)) {
        (Step::Wait, Next::After(PERIOD))
    } else {
        (Step::Serve, Next::Change)
    }
}

/// How long a pod that has failed stays.
fn rest(pod: &Pod, now: Timestamp) -> Option<Duration> {
    let created = pod.metadata.creation_timestamp.as_ref()?.0;
    Some(until(created + REPLACED_AFTER, now)).filter(|left| !left.is_zero())
}

/// How long a job that has ended stays, if not for ever.
fn left(job: &GpuJob, now: Timestamp) -> Option<Duration> {
    let ttl = u64::try_from(job.spec.ttl_seconds_after_finished?).unwrap_or_default();
    Some(until(job.ended()?.last_transition_time.0 + Duration::from_secs(ttl), now))
}

/// How long a job of which nothing is in Slurm may still wait for that, if not for ever.
fn until_failed(job: &GpuJob, now: Timestamp) -> Option<Duration> {
    let limit = u64::try_from(job.spec.active_deadline_seconds?).unwrap_or_default();
    if job.condition(GpuJob::UPLOADED).is_some() || is_suspended(job) || job.ended().is_some() {
        return None;
    }
    let Time(start) = job.status.as_ref()?.start_time.as_ref()?;
    Some(until(start.checked_add(Duration::from_secs(limit)).ok()?, now))
}

/// Whether its time is not counted. One that is resumed is suspended until its server has told otherwise.
pub(super) fn is_suspended(job: &GpuJob) -> bool {
    let told = job.condition(GpuJob::SUSPENDED).is_some_and(|it| it.status == "True");
    told || job.spec.suspend == Some(true)
}

fn until(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(then.duration_since(now)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NOW: &str = "2026-01-02T03:00:00Z";

    /// A job that is held, and on the Slurm cluster, with changes.
    fn job(changes: Value) -> GpuJob {
        let metadata = json!({"name": "j", "uid": "u", "finalizers": [GpuJob::FINALIZER]});
        let mut job =
            json!({"metadata": metadata, "status": {"conditions": [condition("Uploaded")]}});
        json_patch::merge(&mut job, &changes);
        serde_json::from_value(job).unwrap()
    }

    fn condition(type_: &str) -> Value {
        json!({"type": type_, "status": "True", "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-02T02:59:00Z"})
    }

    fn pod(name: &str, changes: Value) -> Arc<Pod> {
        let metadata = json!({"name": name, "creationTimestamp": "2026-01-02T02:00:00Z"});
        let mut pod = json!({"metadata": metadata, "spec": {"nodeName": "n1", "containers": []}});
        json_patch::merge(&mut pod, &changes);
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn going() -> Value {
        json!({"metadata": {"deletionTimestamp": "2026-01-02T02:59:59Z"}})
    }

    fn failed() -> Value {
        json!({"status": {"phase": "Failed"}})
    }

    fn check(job: &GpuJob, pods: &[Arc<Pod>], expected: (Step, Next)) {
        check_in(job, pods, false, expected);
    }

    fn check_in(job: &GpuJob, pods: &[Arc<Pod>], is_namespace_going: bool, expected: (Step, Next)) {
        let is_node_ready: &dyn Fn(&str) -> bool = &|node| node == "n1";
        let now = NOW.parse().unwrap();
        let seen = Seen { job, pods, is_node_ready, is_namespace_going, now };
        assert_eq!(decide(&seen), expected, "{job:?} {pods:?}");
    }

    #[test]
    fn a_job_is_held_before_it_is_served() {
        let new = job(json!({"metadata": {"finalizers": null}}));
        check(&new, &[], (Step::Hold, Next::Change));
        check_in(&new, &[], true, (Step::Wait, Next::Change));
        check(&job(json!({})), &[], (Step::Serve, Next::Change));
    }

    #[test]
    fn it_has_one_pod_at_a_time() {
        let here = job(json!({}));
        let (one, two) = (pod("a", json!({})), pod("b", json!({})));
        check(&here, std::slice::from_ref(&one), (Step::Wait, Next::Change));
        check(&here, &[two.clone(), one.clone()], (Step::DeletePods(vec![two]), Next::Change));
        check(&here, &[pod("c", going())], (Step::Wait, Next::After(PERIOD)));
        check(&here, &[pod("c", going()), one], (Step::Wait, Next::Change));
    }

    #[test]
    fn a_pod_that_nobody_ends_is_replaced() {
        let mut lost = going();
        lost["spec"] = json!({"nodeName": "n2"});
        check(&job(json!({})), &[pod("a", lost)], (Step::Serve, Next::Change));
    }

    #[test]
    fn a_pod_that_has_failed_is_replaced_but_not_again_and_again() {
        let old = pod("a", failed());
        check(
            &job(json!({})),
            std::slice::from_ref(&old),
            (Step::DeletePods(vec![old.clone()]), Next::Change),
        );
        let mut young = failed();
        young["metadata"] = json!({"creationTimestamp": "2026-01-02T02:59:53Z"});
        let left = Next::After(Duration::from_secs(3));
        check(&job(json!({})), &[pod("a", young)], (Step::Wait, left));
    }

    #[test]
    fn a_job_that_has_ended_keeps_its_pod_until_it_is_old() {
        let ended = |ttl: Value| {
            let conditions = json!([condition("Uploaded"), condition("Complete")]);
            job(
                json!({"spec": {"ttlSecondsAfterFinished": ttl}, "status": {"conditions": conditions}}),
            )
        };
        let pods = [pod("a", json!({}))];
        check(&ended(json!(null)), &pods, (Step::Wait, Next::Change));
        let left = Next::After(Duration::from_secs(40));
        check(&ended(json!(100)), &pods, (Step::Wait, left));
        check(&ended(json!(100)), &[], (Step::Serve, left));
        check(&ended(json!(60)), &pods, (Step::Expire, Next::Change));
        check(&ended(json!(0)), &[], (Step::Expire, Next::Change));
    }

    #[test]
    fn a_job_goes_when_its_server_has_cleared_up_and_gets_one_for_that() {
        let deleted = job(going());
        let after = Next::After(PERIOD);
        check(&deleted, &[pod("a", json!({}))], (Step::Wait, after));
        check(&deleted, &[pod("a", going())], (Step::Wait, after));
        check(&deleted, &[], (Step::Serve, after));
        let mut free = deleted.clone();
        free.metadata.finalizers = Some(vec!["other".to_owned()]);
        check(&free, &[], (Step::Wait, Next::Change));
    }

    #[test]
    fn a_job_that_was_never_in_slurm_goes_at_once() {
        let mut deleted = job(going());
        deleted.status = None;
        check(&deleted, &[], (Step::Release, Next::Change));
        check(&deleted, &[pod("a", json!({}))], (Step::Release, Next::Change));
    }

    #[test]
    fn with_its_namespace_a_job_goes_when_no_server_is_left() {
        let (deleted, after) = (job(going()), Next::After(PERIOD));
        check_in(&deleted, &[pod("a", json!({}))], true, (Step::Wait, after));
        check_in(&deleted, &[pod("a", going())], true, (Step::Wait, after));
        check_in(&deleted, &[], true, (Step::Abandon, Next::Change));
        let living = job(json!({}));
        check_in(&living, &[], true, (Step::Wait, Next::Change));
    }

    #[test]
    fn a_job_that_no_server_has_had_in_hand_fails_when_its_time_is_over() {
        let waiting = |changes: Value| {
            let status = json!({"conditions": null, "startTime": "2026-01-02T02:59:00Z"});
            let mut all = json!({"status": status, "spec": {"activeDeadlineSeconds": 100}});
            json_patch::merge(&mut all, &changes);
            job(all)
        };
        let left = Next::After(Duration::from_secs(40));
        check(&waiting(json!({})), &[pod("a", json!({}))], (Step::Wait, left));
        check(&waiting(json!({})), &[], (Step::Serve, left));
        let at_its_end = json!({"spec": {"activeDeadlineSeconds": 60}});
        let with = |mut changes: Value| {
            json_patch::merge(&mut changes, &at_its_end);
            waiting(changes)
        };
        check(&with(json!({})), &[], (Step::Fail, Next::Change));
        check(&with(json!({"spec": {"suspend": true}})), &[], (Step::Serve, Next::Change));
        for conditions in ["Uploaded", "Suspended"].map(|type_| json!([condition(type_)])) {
            let in_hand = with(json!({"status": {"conditions": conditions}}));
            check(&in_hand, &[], (Step::Serve, Next::Change));
        }
        let not_started = with(json!({"status": {"startTime": null}}));
        check(&not_started, &[], (Step::Serve, Next::Change));
        let failed = with(json!({"status": {"conditions": [condition("Failed")]}}));
        check(&failed, &[], (Step::Wait, Next::Change));
    }

    #[test]
    fn times_do_not_go_below_zero() {
        let (then, now) = (Timestamp::UNIX_EPOCH, Time(NOW.parse().unwrap()).0);
        assert_eq!(until(then, now), Duration::ZERO);
    }
}
