//! What a status may say, and how it may change (Kubernetes: `ValidateJobStatusUpdate`). Another controller may write it
//! (`spec.managedBy`), and what clients read of it must hold nevertheless.

use std::collections::BTreeSet;

use api_machinery::{FieldErrors, FieldPath, index_set::IndexSet};
use api_types::api::batch::v1::{Job, JobSpec, JobStatus};

use super::state::{has, is_indexed};
use crate::rules;

/// A Job's status before and after a change. What was wrong before may stay.
struct Change<'a> {
    spec: &'a JobSpec,
    new: &'a JobStatus,
    old: &'a JobStatus,
    path: FieldPath,
}

/// The faults of the change.
pub(super) fn validate(new: &Job, old: &Job, errors: &mut FieldErrors) {
    let (none, no_spec) = (JobStatus::default(), JobSpec::default());
    let change = Change {
        spec: new.spec.as_ref().unwrap_or(&no_spec),
        new: new.status.as_ref().unwrap_or(&none),
        old: old.status.as_ref().unwrap_or(&none),
        path: FieldPath::new("status"),
    };
    change.counts(errors);
    change.uncounted(errors);
    change.conditions(errors);
    change.end(errors);
    change.times(errors);
    change.indexes(errors);
    change.lasting(errors);
}

fn is_finished(status: &JobStatus) -> bool {
    has(status, "Complete") || has(status, "Failed")
}

impl Change<'_> {
    fn at(&self, field: &str) -> FieldPath {
        self.path.child(field)
    }

    /// Whether this of the status is not what it was.
    fn changes<T: PartialEq>(&self, of: impl Fn(&JobStatus) -> T) -> bool {
        of(self.new) != of(self.old)
    }

    fn counts(&self, errors: &mut FieldErrors) {
        let status = self.new;
        for (value, field) in [
            (status.active, "active"),
            (status.succeeded, "succeeded"),
            (status.failed, "failed"),
            (status.ready, "ready"),
            (status.terminating, "terminating"),
        ] {
            rules::not_negative(value, &self.at(field), errors);
        }
        let active = status.active.unwrap_or(0);
        let changed = self.changes(|status| (status.ready, status.active.unwrap_or(0)));
        if let Some(ready) = status.ready.filter(|ready| changed && *ready > active) {
            errors.invalid(&self.at("ready"), ready, "cannot set more ready pods than active");
        }
    }

    fn uncounted(&self, errors: &mut FieldErrors) {
        let Some(uncounted) = &self.new.uncounted_terminated_pods else { return };
        let path = self.at("uncountedTerminatedPods");
        let mut seen = BTreeSet::new();
        for (uids, field) in [(&uncounted.succeeded, "succeeded"), (&uncounted.failed, "failed")] {
            for (i, uid) in uids.iter().flatten().enumerate() {
                let path = path.child(field).index(i);
                if uid.is_empty() {
                    errors.invalid(&path, uid, "must not be empty");
                } else {
                    rules::unique(&mut seen, uid, &path, errors);
                }
            }
        }
    }

    fn conditions(&self, errors: &mut FieldErrors) {
        let path = self.at("conditions");
        let is = |condition: &str| has(self.new, condition);
        let changed = |condition: &str| self.changes(|status| has(status, condition));
        let (complete, failed) = (changed("Complete"), changed("Failed"));
        let (target, met) = (changed("FailureTarget"), changed("SuccessCriteriaMet"));
        let both = |one, two| is(one) && is(two);
        let policy = self.spec.success_policy.is_some();
        for (wrong, why) in [
            (
                (complete || failed) && both("Complete", "Failed"),
                "cannot set Complete=True and Failed=true conditions",
            ),
            (
                (complete || target) && both("Complete", "FailureTarget"),
                "cannot set Complete=True and FailureTarget=true conditions",
            ),
            (
                failed && is("Failed") && !is("FailureTarget"),
                "cannot set Failed=True condition without the FailureTarget=true condition",
            ),
            (
                (complete || met) && is("Complete") && !is("SuccessCriteriaMet"),
                "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            ),
            (
                both("SuccessCriteriaMet", "Failed"),
                "cannot set SuccessCriteriaMet=True and Failed=true conditions",
            ),
            (
                both("SuccessCriteriaMet", "FailureTarget"),
                "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
            ),
            (
                policy && is("Complete") && !is("SuccessCriteriaMet"),
                "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True",
            ),
        ] {
            if wrong {
                errors.wrong(&path, why);
            }
        }
    }

    /// What holds of a Job that is over.
    fn end(&self, errors: &mut FieldErrors) {
        let status = self.new;
        if !is_finished(status) {
            return;
        }
        let finished = self.changes(is_finished);
        if let Some(active) = status.active.filter(|active| *active > 0)
            && (finished || self.changes(|status| status.active))
        {
            errors.invalid(&self.at("active"), active, "active>0 is invalid for finished job");
        }
        if let Some(terminating) = status.terminating.filter(|terminating| *terminating > 0)
            && (finished || self.changes(|status| status.terminating))
        {
            let why = "terminating>0 is invalid for finished job";
            errors.invalid(&self.at("terminating"), terminating, why);
        }
        let nothing_to_do = self.spec.suspend == Some(true) && self.spec.completions == Some(0);
        let started = self.changes(|status| status.start_time.clone());
        if status.start_time.is_none() && (finished || started) && !nothing_to_do {
            errors.required(&self.at("startTime"), "startTime is required for finished job");
        }
        let uncounted = status.uncounted_terminated_pods.as_ref();
        let count = uncounted.map_or(0, |pods| {
            pods.succeeded.iter().flatten().chain(pods.failed.iter().flatten()).count()
        });
        let changed = self.changes(|status| status.uncounted_terminated_pods.clone());
        if count > 0 && (finished || changed) {
            let shown = serde_json::to_value(uncounted).unwrap_or_default();
            let why = "must be empty for finished job";
            errors.invalid(&self.at("uncountedTerminatedPods"), format_args!("{shown}"), why);
        }
    }

    fn times(&self, errors: &mut FieldErrors) {
        let (new, old) = (self.new, self.old);
        let path = self.at("completionTime");
        let ended = self.changes(|status| status.completion_time.clone());
        let started = self.changes(|status| status.start_time.clone());
        let complete = self.changes(|status| has(status, "Complete"));
        let shown = |time: &Option<_>| serde_json::to_value(time).unwrap_or_default();
        let given = shown(&new.completion_time);
        match (&new.completion_time, has(new, "Complete")) {
            (Some(_), false) if complete || ended => {
                let why = "cannot set completionTime when there is no Complete=True condition";
                errors.invalid(&path, format_args!("{given}"), why);
            }
            (None, true) if complete || ended => {
                errors.required(&path, "completionTime is required for Complete jobs");
            }
            _ => {}
        }
        if let (Some(start), Some(end)) = (&new.start_time, &new.completion_time)
            && (started || ended)
            && end.0 < start.0
        {
            let why = "must be equal to or after `startTime`";
            errors.invalid(&path, format_args!("{given}"), why);
        }
        if old.completion_time.is_some() && new.completion_time.is_some() && ended {
            errors.invalid(&path, format_args!("{given}"), rules::IMMUTABLE);
        }
        let resumes = has(old, "Suspended") && !has(new, "Suspended");
        let runs = self.spec.suspend != Some(true) && !resumes;
        if old.start_time.is_some() && started && runs {
            let why = "field is immutable for unsuspended job once set";
            let given = shown(&new.start_time);
            errors.invalid(&self.at("startTime"), format_args!("{given}"), why);
        }
    }

    fn indexes(&self, errors: &mut FieldErrors) {
        let completions = self.spec.completions.and_then(|number| number.try_into().ok());
        let completions: u32 = completions.unwrap_or(u32::MAX);
        let completed = self.changes(|status| status.completed_indexes.clone());
        let failed = self.changes(|status| status.failed_indexes.clone());
        let parse =
            |text: &Option<String>| IndexSet::parse(rules::text(text.as_ref()), completions);
        let (done, lost) = (parse(&self.new.completed_indexes), parse(&self.new.failed_indexes));
        let (path, text) = (self.at("completedIndexes"), self.new.completed_indexes.as_ref());
        let text = rules::text(text);
        if completed && !text.is_empty() && !is_indexed(self.spec) {
            let why = "cannot set non-empty completedIndexes when non-indexed completion mode";
            errors.invalid(&path, text, why);
        }
        if let (true, Err(why)) = (completed, &done) {
            errors.invalid(&path, text, &format!("error parsing completedIndexes: {why}"));
        }
        let path = self.at("failedIndexes");
        let Some(text) = &self.new.failed_indexes else { return };
        if failed && self.spec.backoff_limit_per_index.is_none() {
            let why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
            errors.invalid(&path, text, why);
        }
        if let (true, Err(why)) = (failed, &lost) {
            errors.invalid(&path, text, &format!("error parsing failedIndexes: {why}"));
        }
        if let (Ok(done), Ok(lost)) = (done, lost)
            && (failed || completed)
            && let Some(index) = done.first_common(&lost)
        {
            let why = format!("failedIndexes and completedIndexes overlap at index: {index}");
            errors.invalid(&path, text, &why);
        }
    }

    /// What never goes back.
    fn lasting(&self, errors: &mut FieldErrors) {
        for condition in ["Failed", "Complete", "FailureTarget", "SuccessCriteriaMet"] {
            if has(self.old, condition) && !has(self.new, condition) {
                let terminal = if condition == "SuccessCriteriaMet" { "" } else { "terminal " };
                let why = format!("cannot disable the {terminal}{condition}=True condition");
                errors.wrong(&self.at("conditions"), &why);
            }
        }
        let was_complete = has(self.old, "Complete") && !has(self.old, "SuccessCriteriaMet");
        if was_complete && has(self.new, "SuccessCriteriaMet") {
            let why =
                "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
            errors.wrong(&self.at("conditions"), why);
        }
        let resizable = is_indexed(self.spec) && self.spec.completions == self.spec.parallelism;
        for (field, new, old, may_fall) in [
            ("failed", self.new.failed, self.old.failed, false),
            ("succeeded", self.new.succeeded, self.old.succeeded, resizable),
        ] {
            let (new, old) = (new.unwrap_or(0), old.unwrap_or(0));
            if new < old && !may_fall {
                let why = format!("cannot decrease the {field} counter");
                errors.invalid(&self.at(field), new, &why);
            }
        }
    }
}
