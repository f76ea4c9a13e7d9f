//! When a CronJob's next Job is due, and which of its Jobs are to go (Kubernetes: `pkg/controller/cronjob/utils.go`).

use std::cmp::Reverse;
use std::sync::Arc;

use api_machinery::cron::Schedule;
use api_types::api::batch::v1::{CronJob, CronJobSpec, CronJobStatus, Job};
use api_types::jiff::{SignedDuration, Timestamp, tz::TimeZone};
use kube::Resource;

use crate::jobs::{is_complete, is_finished};

/// As many times may be missed without a word.
const MANY: usize = 100;

/// The last time at which a Job was due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) at: Timestamp,
    /// Whether very many others were due before it, and none was made.
    pub(super) missed_many: bool,
}

/// The last time that was due since the Job before, if there is one.
pub(super) fn due(
    cron_job: &CronJob,
    schedule: &Schedule,
    zone: &TimeZone,
    now: Timestamp,
) -> Option<Due> {
    let mut at = schedule.after(since(cron_job, now), zone).filter(|at| *at <= now)?;
    for missed in 0.. {
        match schedule.after(at, zone).filter(|next| *next <= now && *next > at) {
            Some(next) if missed < MANY => at = next,
            Some(_) => return Some(Due { at: last(schedule, zone, at, now), missed_many: true }),
            None => break,
        }
    }
    Some(Due { at, missed_many: false })
}

/// The first time after now at which one is due. `due` is the last time before, if it is not made up for yet.
pub(super) fn next(
    cron_job: &CronJob,
    schedule: &Schedule,
    zone: &TimeZone,
    due: Option<Due>,
    now: Timestamp,
) -> Option<Timestamp> {
    // Periods are counted from the last time, and not from now.
    let last = due.map_or_else(|| since(cron_job, now), |due| due.at);
    let next = schedule.after(last, zone).filter(|next| *next > now);
    next.or_else(|| schedule.after(now, zone))
}

/// What was due before the last Job is not made up for, nor what was due before the deadline.
fn since(cron_job: &CronJob, now: Timestamp) -> Timestamp {
    let created = cron_job.metadata.creation_timestamp.as_ref();
    let last = cron_job.status.as_ref().and_then(|status| status.last_schedule_time.as_ref());
    let since = last.or(created).map_or(now, |time| time.0);
    let deadline = cron_job.spec.starting_deadline_seconds;
    let earliest =
        deadline.and_then(|seconds| now.checked_sub(SignedDuration::from_secs(seconds)).ok());
    earliest.map_or(since, |earliest| since.max(earliest))
}

/// Of very many that were due since one that was, the last one: by the clock, it is found by halving the time that is left.
fn last(schedule: &Schedule, zone: &TimeZone, since: Timestamp, now: Timestamp) -> Timestamp {
    if let Schedule::Every(period) = schedule {
        let period = i64::try_from(period.as_secs()).unwrap_or(i64::MAX).max(1);
        let (first, gone) = (since.as_second(), now.as_second() - since.as_second());
        return Timestamp::from_second(first + gone / period * period).unwrap_or(since);
    }
    let (mut known, mut end) = (since, now);
    while end.duration_since(known) > SignedDuration::from_secs(1) {
        let half = end.duration_since(known) / 2;
        let middle = known + half;
        match schedule.after(middle, zone).filter(|next| *next <= now) {
            Some(next) => known = next,
            None => end = middle,
        }
    }
    known
}

/// Has the status name a Job that runs, once.
pub(super) fn note_active(status: &mut CronJobStatus, job: &Job) {
    let is_known = status.active.iter().flatten().any(|it| it.uid == job.metadata.uid);
    if !is_known && !is_finished(job) {
        status.active.get_or_insert_default().push(job.object_ref(&()));
    }
}

/// Whether it is too late for a Job that was due then.
pub(super) fn is_too_late(spec: &CronJobSpec, due: Timestamp, now: Timestamp) -> bool {
    let deadline = spec.starting_deadline_seconds.map(SignedDuration::from_secs);
    deadline.is_some_and(|deadline| now.duration_since(due) > deadline)
}

/// The Jobs that are over and too many: those that began first.
pub(super) fn outlived(spec: &CronJobSpec, jobs: &[Arc<Job>]) -> Vec<Arc<Job>> {
    let over = jobs.iter().filter(|job| is_finished(job));
    let (done, failed): (Vec<_>, Vec<_>) = over.cloned().partition(|job| is_complete(job));
    let oldest = |mut jobs: Vec<Arc<Job>>, limit: Option<i32>| {
        let Some(kept) = limit.and_then(|limit| usize::try_from(limit).ok()) else {
            return Vec::new();
        };
        jobs.sort_by_cached_key(|job| Reverse((began(job), job.metadata.name.clone())));
        jobs.split_off(kept.min(jobs.len()))
    };
    let done = oldest(done, spec.successful_jobs_history_limit);
    done.into_iter().chain(oldest(failed, spec.failed_jobs_history_limit)).collect()
}

fn began(job: &Job) -> Option<Timestamp> {
    job.status.as_ref()?.start_time.as_ref().map(|start| start.0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn cron_job(spec: Value, last: Value) -> CronJob {
        serde_json::from_value(json!({
            "metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:30Z"},
            "spec": {"schedule": "", "jobTemplate": {}, "startingDeadlineSeconds": spec},
            "status": {"lastScheduleTime": last},
        }))
        .unwrap()
    }

    #[test]
    fn the_last_time_since_the_last_job_is_due() {
        let check = |schedule: &str,
                     deadline: Value,
                     last: Value,
                     now: &str,
                     expected: Option<(&str, bool)>| {
            let schedule = Schedule::parse(schedule).unwrap();
            let of = cron_job(deadline, last);
            let got = due(&of, &schedule, &TimeZone::UTC, now.parse().unwrap());
            let got = got.map(|due| (due.at.to_string(), due.missed_many));
            assert_eq!(got.as_ref().map(|(at, many)| (at.as_str(), *many)), expected, "{now}");
        };
        let none = || json!(null);
        let every = "*/10 * * * *";
        check(every, none(), none(), "2026-01-01T00:09:59Z", None);
        check(every, none(), none(), "2026-01-01T00:10:00Z", Some(("2026-01-01T00:10:00Z", false)));
        check(every, none(), none(), "2026-01-01T00:35:00Z", Some(("2026-01-01T00:30:00Z", false)));
        let last = || json!("2026-01-01T00:30:00Z");
        check(every, none(), last(), "2026-01-01T00:35:00Z", None);
        check(every, none(), last(), "2026-01-03T07:05:00Z", Some(("2026-01-03T07:00:00Z", true)));
        check(
            every,
            json!(600),
            last(),
            "2026-01-03T07:05:00Z",
            Some(("2026-01-03T07:00:00Z", false)),
        );
        check(every, json!(60), last(), "2026-01-03T07:05:00Z", None);
        check(
            "@every 1h",
            none(),
            none(),
            "2026-01-01T02:00:00Z",
            Some(("2026-01-01T01:00:30Z", false)),
        );
        check("0 0 30 2 *", none(), none(), "2027-01-01T02:00:00Z", None);
        // Many were missed: periods go on from the time of the last one.
        check(
            "@every 7m",
            none(),
            none(),
            "2026-01-02T00:00:00Z",
            Some(("2026-01-01T23:55:30Z", true)),
        );
    }

    #[test]
    fn the_next_one_is_due_a_period_after_the_last_one() {
        let check = |schedule: &str, last: &str, now: &str, expected: &str| {
            let (schedule, now) = (Schedule::parse(schedule).unwrap(), now.parse().unwrap());
            let of = cron_job(json!(null), json!(last));
            let due = due(&of, &schedule, &TimeZone::UTC, now);
            let next = next(&of, &schedule, &TimeZone::UTC, due, now);
            assert_eq!(next.unwrap().to_string(), expected, "{now}");
        };
        let last = "2026-01-01T01:00:00Z";
        check("@every 1h", last, "2026-01-01T01:30:00Z", "2026-01-01T02:00:00Z");
        check("@every 1h", last, "2026-01-01T02:00:00.2Z", "2026-01-01T03:00:00Z");
        check("@every 1h", last, "2026-01-01T03:20:00Z", "2026-01-01T04:00:00Z");
        check("@hourly", last, "2026-01-01T03:20:00Z", "2026-01-01T04:00:00Z");
    }

    #[test]
    fn a_job_is_named_once_and_not_when_it_is_over() {
        let job = |uid: &str, conditions: Value| -> Job {
            serde_json::from_value(json!({"metadata": {"name": uid, "uid": uid}, "status": {"conditions": conditions}}))
                .unwrap()
        };
        let mut status = CronJobStatus::default();
        note_active(&mut status, &job("over", json!([{"type": "Complete", "status": "True"}])));
        assert_eq!(status.active, None);
        for _ in 0..2 {
            note_active(&mut status, &job("runs", json!([])));
        }
        let active = status.active.unwrap();
        let uids: Vec<_> = active.iter().filter_map(|it| it.uid.as_deref()).collect();
        assert_eq!(uids, ["runs"]);
    }

    #[test]
    fn what_is_late_is_late_after_the_deadline() {
        let of = cron_job(json!(60), json!(null)).spec;
        let due = "2026-01-01T00:10:00Z".parse().unwrap();
        assert!(!is_too_late(&of, due, "2026-01-01T00:11:00Z".parse().unwrap()));
        assert!(is_too_late(&of, due, "2026-01-01T00:11:01Z".parse().unwrap()));
    }

    #[test]
    fn of_those_that_are_over_the_last_ones_stay() {
        let job = |name: &str, condition: Value, start: u32| -> Arc<Job> {
            let conditions = json!([{"type": condition, "status": "True"}]);
            let status = json!({"conditions": conditions, "startTime": format!("2026-01-01T00:{start:02}:00Z")});
            Arc::new(
                serde_json::from_value(json!({"metadata": {"name": name}, "status": status}))
                    .unwrap(),
            )
        };
        let jobs = [
            job("c1", json!("Complete"), 1),
            job("c3", json!("Complete"), 3),
            job("c2", json!("Complete"), 2),
            job("f1", json!("Failed"), 1),
            job("f2", json!("Failed"), 2),
            job("r", json!("Suspended"), 0),
        ];
        let spec = |done: Value, failed: Value| -> CronJobSpec {
            serde_json::from_value(json!({"schedule": "", "jobTemplate": {},
                "successfulJobsHistoryLimit": done, "failedJobsHistoryLimit": failed}))
            .unwrap()
        };
        let check = |done: Value, failed: Value, expected: &[&str]| {
            let gone = outlived(&spec(done, failed), &jobs);
            let names: Vec<_> =
                gone.iter().map(|job| job.metadata.name.as_deref().unwrap()).collect();
            assert_eq!(names, expected);
        };
        check(json!(2), json!(1), &["c1", "f1"]);
        check(json!(0), json!(3), &["c3", "c2", "c1"]);
        check(json!(null), json!(null), &[]);
    }
}
