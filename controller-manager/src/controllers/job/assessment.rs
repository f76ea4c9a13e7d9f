//! How a Job stands, worked out from its pods and from what its status has counted already.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use api_machinery::index_set::IndexSet;
use api_types::api::batch::v1::{Job, JobSpec, JobStatus, SuccessPolicyRule};
use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;

use super::back_off::BackOff;
use super::failure_policy::{self, Action};
use super::job_pod::{self, all_failures, ended_at, has_failed, index, is_going, is_tracked};
use super::spec::{indexes, is_indexed, is_suspended};
use crate::pods;

/// A Job and its pods at a time.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) job: &'a Job,
    pub(super) spec: &'a JobSpec,
    pub(super) status: &'a JobStatus,
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

/// How it stands.
#[derive(Debug)]
pub(super) struct Assessment {
    pub(super) active: Vec<Arc<Pod>>,
    pub(super) going: usize,
    /// With what has not been counted for good.
    pub(super) succeeded: usize,
    pub(super) indexes: Option<Indexes>,
    /// Why it comes to its end.
    pub(super) end: Option<End>,
    pub(super) back_off: BackOff,
    /// The time until its deadline.
    pub(super) deadline: Option<Duration>,
}

/// How the indexes of an Indexed Job stand.
#[derive(Debug)]
pub(super) struct Indexes {
    pub(super) succeeded: IndexSet,
    /// If failures are counted for each index.
    pub(super) failed: Option<IndexSet>,
    /// The last failed pod of an index that is going to be tried again: it is held until its successor is there, which
    /// carries on with the count.
    pub(super) held: BTreeMap<u32, Arc<Pod>>,
}

/// Why a Job comes to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) succeeds: bool,
    pub(super) reason: String,
    pub(super) message: String,
}

impl End {
    fn failure(reason: &str, message: &str) -> Self {
        Self { succeeds: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    fn success(reason: &str, message: &str) -> Self {
        Self { succeeds: true, ..Self::failure(reason, message) }
    }

    /// All that were wanted have succeeded.
    pub(super) fn complete() -> Self {
        Self::success("CompletionsReached", "Reached expected number of succeeded pods")
    }
}

impl View<'_> {
    /// How it stands. `known` is the back-off so far.
    pub(super) fn assess(&self, known: &BackOff) -> Assessment {
        let (succeeded, failed) = (self.newly_succeeded(), self.newly_failed());
        let indexes = is_indexed(self.spec).then(|| self.indexes());
        let (uncounted_succeeded, uncounted_failed) = self.uncounted();
        let counted = count(self.status.succeeded) + uncounted_succeeded.len();
        let ignored = |pod: &&Arc<Pod>| is_ignored(self.spec, pod);
        let counting = failed.iter().filter(|pod| !ignored(pod)).count();
        let failures = count(self.status.failed) + uncounted_failed.len() + counting;
        let deadline = self.until_deadline();
        Assessment {
            active: self.filtered(pods::is_active),
            going: self.pods.iter().filter(|pod| is_going(pod)).count(),
            succeeded: indexes.as_ref().map_or(counted + succeeded.len(), |it| it.succeeded.len()),
            end: self.end(failures, deadline, indexes.as_ref()),
            indexes,
            back_off: known.after(&succeeded, &failed),
            deadline,
        }
    }

    fn filtered(&self, is: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        self.pods.iter().filter(|pod| is(pod)).cloned().collect()
    }

    /// The index of a pod, of those that there are.
    pub(super) fn index(&self, pod: &Pod) -> Option<u32> {
        index(pod).filter(|index| *index < indexes(self.spec))
    }

    /// The pods that the status knows, and has not counted for good: those that have succeeded, and those that have failed.
    pub(super) fn uncounted(&self) -> (BTreeSet<&str>, BTreeSet<&str>) {
        let uncounted = self.status.uncounted_terminated_pods.as_ref();
        let succeeded = uncounted.and_then(|it| it.succeeded.as_ref());
        let failed = uncounted.and_then(|it| it.failed.as_ref());
        (uids(succeeded), uids(failed))
    }

    /// The back-off with the pods of which the status does not know. `known` is that so far.
    pub(super) fn back_off(&self, known: &BackOff) -> BackOff {
        known.after(&self.newly_succeeded(), &self.newly_failed())
    }

    fn newly_succeeded(&self) -> Vec<Arc<Pod>> {
        self.newly(|pod| pods::phase(pod) == "Succeeded", |uncounted| uncounted.0)
    }

    fn newly_failed(&self) -> Vec<Arc<Pod>> {
        self.newly(|pod| has_failed(pod, self.spec), |uncounted| uncounted.1)
    }

    /// The pods that have ended so, and of which the status does not know.
    fn newly<'a>(
        &'a self,
        is: impl Fn(&Pod) -> bool,
        known: impl Fn((BTreeSet<&'a str>, BTreeSet<&'a str>)) -> BTreeSet<&'a str>,
    ) -> Vec<Arc<Pod>> {
        let known = known(self.uncounted());
        let has_place = |pod: &Pod| !is_indexed(self.spec) || self.index(pod).is_some();
        self.filtered(|pod| {
            is_tracked(pod) && !known.contains(uid(pod)) && has_place(pod) && is(pod)
        })
    }

    fn until_deadline(&self) -> Option<Duration> {
        let seconds = self.spec.active_deadline_seconds.filter(|_| !is_suspended(self.spec))?;
        let start = self.status.start_time.as_ref().map_or(self.now, |start| start.0);
        let gone = Duration::try_from(self.now.duration_since(start)).unwrap_or_default();
        Some(Duration::from_secs(seconds.try_into().unwrap_or(0)).saturating_sub(gone))
    }

    /// What was said before holds; then failures come before successes.
    fn end(
        &self,
        failures: usize,
        deadline: Option<Duration>,
        indexes: Option<&Indexes>,
    ) -> Option<End> {
        let said =
            self.said("SuccessCriteriaMet", true).or_else(|| self.said("FailureTarget", false));
        let failed = || self.failed_by_policy().or_else(|| self.failed(failures, deadline));
        let failed = || failed().or_else(|| self.failed_by_indexes(indexes?));
        said.or_else(failed).or_else(|| self.succeeded_by_policy(indexes?))
    }

    fn said(&self, condition: &str, succeeds: bool) -> Option<End> {
        let mut conditions = self.status.conditions.iter().flatten();
        let said = conditions.find(|it| it.type_ == condition && it.status == "True")?;
        let (reason, message) = (said.reason.clone(), said.message.clone());
        Some(End {
            succeeds,
            reason: reason.unwrap_or_default(),
            message: message.unwrap_or_default(),
        })
    }

    fn failed_by_policy(&self) -> Option<End> {
        let failed = self.pods.iter().filter(|pod| has_failed(pod, self.spec));
        let mut why = failed.filter_map(|pod| match failure_policy::action(self.spec, pod)? {
            (Action::FailJob, message) => Some(message),
            _ => None,
        });
        why.next().map(|message| End::failure("PodFailurePolicy", &message))
    }

    fn failed(&self, failures: usize, deadline: Option<Duration>) -> Option<End> {
        let limit = count(self.spec.backoff_limit);
        if failures > limit || self.restarts_too_often(limit) {
            let message = "Job has reached the specified backoff limit";
            return Some(End::failure("BackoffLimitExceeded", message));
        }
        let message = "Job was active longer than specified deadline";
        let is_over = self.status.start_time.is_some() && deadline == Some(Duration::ZERO);
        is_over.then(|| End::failure("DeadlineExceeded", message))
    }

    /// Of pods that start their containers anew themselves.
    fn restarts_too_often(&self, limit: usize) -> bool {
        let policy = self.spec.template.spec.as_ref().and_then(|it| it.restart_policy.as_deref());
        let running =
            self.pods.iter().filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"));
        let statuses = running.filter_map(|pod| pod.status.as_ref()).flat_map(|status| {
            let init = status.init_container_statuses.iter().flatten();
            init.chain(status.container_statuses.iter().flatten())
        });
        let restarts: usize = statuses.map(|status| count(Some(status.restart_count))).sum();
        policy == Some("OnFailure") && restarts >= limit.max(1)
    }

    fn failed_by_indexes(&self, indexes: &Indexes) -> Option<End> {
        let failed = indexes.failed.as_ref()?.len();
        if self.spec.max_failed_indexes.is_some_and(|most| failed > count(Some(most))) {
            let message = "Job has exceeded the specified maximal number of failed indexes";
            return Some(End::failure("MaxFailedIndexesExceeded", message));
        }
        let ended = failed + indexes.succeeded.len() >= count(self.spec.completions);
        (failed > 0 && ended).then(|| End::failure("FailedIndexes", "Job has failed indexes"))
    }

    fn succeeded_by_policy(&self, indexes: &Indexes) -> Option<End> {
        let rules = &self.spec.success_policy.as_ref()?.rules;
        let mut rules = rules.iter().filter(|_| !indexes.succeeded.is_empty());
        let place = rules.position(|rule| self.meets(rule, &indexes.succeeded))?;
        Some(End::success("SuccessPolicy", &format!("Matched rules at index {place}")))
    }

    fn meets(&self, rule: &SuccessPolicyRule, succeeded: &IndexSet) -> bool {
        let least = rule.succeeded_count.map(|least| count(Some(least)));
        let Some(wanted) = &rule.succeeded_indexes else {
            return least.is_some_and(|least| succeeded.len() >= least);
        };
        let wanted = IndexSet::kept(wanted, indexes(self.spec));
        let met = succeeded.common(&wanted);
        !wanted.is_empty() && (met == wanted.len() || least.is_some_and(|least| met >= least))
    }

    /// The indexes that have succeeded for good.
    pub(super) fn counted_indexes(&self) -> IndexSet {
        kept(self.status.completed_indexes.as_deref(), self.spec)
    }

    fn indexes(&self) -> Indexes {
        let new = |is: &dyn Fn(&Pod) -> bool| -> BTreeSet<u32> {
            let pods = self.pods.iter().filter(|pod| is_tracked(pod) && is(pod));
            pods.filter_map(|pod| self.index(pod)).collect()
        };
        let succeeded = new(&|pod| pods::phase(pod) == "Succeeded");
        let succeeded = self.counted_indexes().with(succeeded);
        let failed = self.spec.backoff_limit_per_index.map(|limit| {
            let lost = new(&|pod| self.fails_index(pod, count(Some(limit))));
            kept(self.status.failed_indexes.as_deref(), self.spec).with(lost)
        });
        let held = failed.as_ref().map(|failed| self.held(&succeeded, failed));
        Indexes { succeeded, failed, held: held.unwrap_or_default() }
    }

    fn fails_index(&self, pod: &Pod, limit: usize) -> bool {
        let action = failure_policy::action(self.spec, pod).map(|(action, _)| action);
        let beyond = job_pod::failures(pod) as usize >= limit && action != Some(Action::Ignore);
        has_failed(pod, self.spec) && (beyond || action == Some(Action::FailIndex))
    }

    fn held(&self, succeeded: &IndexSet, failed: &IndexSet) -> BTreeMap<u32, Arc<Pod>> {
        let active = self.pods.iter().filter(|pod| pods::is_active(pod));
        let active: BTreeSet<u32> = active.filter_map(|pod| index(pod)).collect();
        let ended = self.pods.iter().filter(|pod| is_tracked(pod) && has_failed(pod, self.spec));
        let mut held = BTreeMap::<u32, Arc<Pod>>::new();
        for pod in ended {
            let Some(index) = self.index(pod) else { continue };
            let is_over = succeeded.contains(index) || failed.contains(index);
            let age = |pod: &Pod| (all_failures(pod), ended_at(pod));
            let is_last = held.get(&index).is_none_or(|last| age(last) <= age(pod));
            if !is_over && !active.contains(&index) && is_last {
                held.insert(index, pod.clone());
            }
        }
        held
    }
}

/// Whether the failure of the pod does not count.
pub(super) fn is_ignored(spec: &JobSpec, pod: &Pod) -> bool {
    matches!(failure_policy::action(spec, pod), Some((Action::Ignore, _)))
}

fn uids(uids: Option<&Vec<String>>) -> BTreeSet<&str> {
    uids.into_iter().flatten().map(String::as_str).collect()
}

pub(super) fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

fn kept(text: Option<&str>, spec: &JobSpec) -> IndexSet {
    IndexSet::kept(text.unwrap_or_default(), indexes(spec))
}

/// A number of a spec or status, which is not negative.
pub(super) fn count(number: Option<i32>) -> usize {
    number.and_then(|number| number.try_into().ok()).unwrap_or(0)
}
