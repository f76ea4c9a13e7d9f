//! Counting each pod of a Job once, whatever fails in between (Kubernetes: `trackJobStatusAndRemoveFinalizers`).
//!
//! *Flow*: the uid of a pod that has ended is written into the status ([`tally`]); then its finalizer is removed; then the
//! uid makes room for a number ([`count_released`]). What is found at any point says how to go on. An index that has
//! succeeded is its own record.

use std::collections::BTreeSet;
use std::sync::Arc;

use api_types::api::batch::v1::{JobCondition, JobStatus, UncountedTerminatedPods};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use api_types::meta::Time;

use super::assessment::{Assessment, End, Indexes, View, is_ignored, uid};
use super::job_pod::{has_failed, is_tracked};
use crate::jobs::has;
use crate::pods;

/// Pods that are counted in one go: the status must not become too large, and no Job keep others from their turn.
const MOST: usize = 500;

/// Pods whose finalizer may go once the status is written.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) released: Vec<Arc<Pod>>,
    /// Whether these are all.
    pub(super) is_whole: bool,
}

/// Puts into the status what has ended, and why the Job comes to its end.
pub(super) fn tally(view: &View<'_>, now: &Assessment, status: &mut JobStatus) -> Tally {
    let tracked: BTreeSet<&str> = tracked(view).map(|pod| uid(pod)).collect();
    count_released(status, |uid| tracked.contains(uid));
    let mut released: Vec<_> = tracked_pods(view, now).collect();
    released.sort_by_key(|pod| view.index(pod));
    let is_whole = released.len() <= MOST;
    released.truncate(MOST);
    count_new(view, now, &released, status);
    if let Some(indexes) = &now.indexes {
        tell_indexes(view, indexes, &released, status);
    }
    if let Some(end) = &now.end {
        let interim = if end.succeeds { "SuccessCriteriaMet" } else { "FailureTarget" };
        if !has(status, interim) {
            add(status, interim, "True", &end.reason, &end.message, view.now);
        }
    }
    Tally { released, is_whole }
}

fn tracked<'a>(view: &View<'a>) -> impl Iterator<Item = &'a Arc<Pod>> + use<'a> {
    view.pods.iter().filter(|pod| is_tracked(pod))
}

/// Those that need not be held any longer.
fn tracked_pods<'a>(
    view: &'a View<'_>,
    now: &'a Assessment,
) -> impl Iterator<Item = Arc<Pod>> + use<'a> {
    let is_over = now.end.is_some() || view.job.metadata.deletion_timestamp.is_some();
    let held = now.indexes.iter().flat_map(|indexes| indexes.held.values());
    let held: BTreeSet<&str> = held.map(|pod| uid(pod)).collect();
    let may_go = move |pod: &&Arc<Pod>| {
        let failed = has_failed(pod, view.spec) && !held.contains(uid(pod));
        is_over || failed || pods::phase(pod) == "Succeeded"
    };
    tracked(view).filter(may_go).cloned()
}

/// The uids of pods that the status does not know yet.
fn count_new(view: &View<'_>, now: &Assessment, released: &[Arc<Pod>], status: &mut JobStatus) {
    let (succeeded, failed) = view.uncounted();
    // Of a Job that fails, all pods have failed that have not succeeded.
    let fails = now.end.as_ref().is_some_and(|end| !end.succeeds);
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    for pod in released {
        let (uid, has_place) = (uid(pod), now.indexes.is_none() || view.index(pod).is_some());
        if failed.contains(uid) || !has_place {
            continue;
        }
        if pods::phase(pod) == "Succeeded" {
            if now.indexes.is_none() && !succeeded.contains(uid) {
                uncounted.succeeded.get_or_insert_default().push(uid.to_owned());
            }
        } else if (fails || has_failed(pod, view.spec)) && !is_ignored(view.spec, pod) {
            uncounted.failed.get_or_insert_default().push(uid.to_owned());
        }
    }
}

fn tell_indexes(view: &View<'_>, indexes: &Indexes, released: &[Arc<Pod>], status: &mut JobStatus) {
    let succeeded = released.iter().filter(|pod| pods::phase(pod) == "Succeeded");
    let completed: BTreeSet<u32> = succeeded.filter_map(|pod| view.index(pod)).collect();
    let completed = view.counted_indexes().with(completed);
    status.succeeded = number(completed.len()).filter(|number| *number > 0);
    status.completed_indexes = Some(completed.to_string()).filter(|text| !text.is_empty());
    status.failed_indexes = indexes.failed.as_ref().map(ToString::to_string);
}

/// Makes a number of the uids of pods that are not held any more.
pub(super) fn count_released(status: &mut JobStatus, is_held: impl Fn(&str) -> bool) {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let UncountedTerminatedPods { succeeded, failed } = uncounted;
    let settle = |uids: &mut Option<Vec<String>>, counter: &mut Option<i32>| {
        let Some(all) = uids else { return };
        let before = all.len();
        all.retain(|uid| is_held(uid));
        let more = number(before - all.len()).unwrap_or_default();
        if more > 0 {
            *counter = Some(counter.unwrap_or(0).saturating_add(more));
        }
        if all.is_empty() {
            *uids = None;
        }
    };
    settle(succeeded, &mut status.succeeded);
    settle(failed, &mut status.failed);
}

/// Says that the Job is over, if every pod is counted and none is on its way out any more. Whether it is.
pub(super) fn finish(status: &mut JobStatus, end: &End, now: Timestamp) -> bool {
    let uncounted = status.uncounted_terminated_pods.as_ref();
    let is_counted = uncounted.is_none_or(|it| it.succeeded.is_none() && it.failed.is_none());
    if !is_counted || status.terminating.unwrap_or(0) > 0 {
        return false;
    }
    let condition = if end.succeeds { "Complete" } else { "Failed" };
    add(status, condition, "True", &end.reason, &end.message, now);
    if end.succeeds {
        status.completion_time = Some(Time(now));
    }
    true
}

/// Says whether the Job is suspended. Whether that is news.
pub(super) fn suspend(status: &mut JobStatus, suspended: bool, now: Timestamp) -> bool {
    let type_ = "Suspended";
    let was = has(status, type_);
    if was == suspended {
        return false;
    }
    let (value, reason, message) = match suspended {
        true => ("True", "JobSuspended", "Job suspended"),
        false => ("False", "JobResumed", "Job resumed"),
    };
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|condition| condition.type_ != type_);
    }
    add(status, type_, value, reason, message, now);
    // The deadline is about the time for which it runs.
    status.start_time = (!suspended).then_some(Time(now));
    true
}

fn add(
    status: &mut JobStatus,
    type_: &str,
    value: &str,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    status.conditions.get_or_insert_default().push(JobCondition {
        type_: type_.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

/// As statuses have it.
pub(super) fn number(count: usize) -> Option<i32> {
    Some(count.try_into().unwrap_or(i32::MAX))
}
