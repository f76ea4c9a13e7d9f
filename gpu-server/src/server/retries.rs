//! What could not be done: each step is tried again at its own pace, so that none keeps the others from being done.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{
    driver::{self, Action, Attempt},
    ssh::Error,
};

/// So many times is tried what the other side, or this side's disk, says no to.
const TRIES: u32 = 5;

/// Something that is done on the login node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Act(Action),
    /// Ask Slurm.
    Look,
    /// Print what a task that runs has printed.
    Print(Attempt),
}

/// The steps that have failed since they were done last.
#[derive(Debug, Default)]
pub(super) struct Retries(BTreeMap<Step, Failed>);

#[derive(Debug)]
struct Failed {
    times: u32,
    /// It is not tried before.
    until: Instant,
}

impl Retries {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether no step has failed but perhaps this one.
    pub(super) fn has_only(&self, step: Option<Step>) -> bool {
        self.0.keys().all(|failed| Some(*failed) == step)
    }

    /// Whether it is too early for the step.
    pub(super) fn waits(&self, step: Step, now: Instant) -> bool {
        self.0.get(&step).is_some_and(|failed| failed.until > now)
    }

    /// Whether the step is not tried again if it fails once more for a reason that stays.
    pub(super) fn is_last(&self, step: Step) -> bool {
        self.0.get(&step).map_or(0, |failed| failed.times) + 1 >= TRIES
    }

    pub(super) fn done(&mut self, step: Step) {
        self.0.remove(&step);
    }

    pub(super) fn failed(&mut self, step: Step, now: Instant) {
        let failed = self.0.entry(step).or_insert(Failed { times: 0, until: now });
        failed.times = failed.times.saturating_add(1);
        failed.until = now + driver::back_off(failed.times);
    }

    /// Forgets what is not to be done any more.
    pub(super) fn keep(&mut self, actions: &[Action], running: &[Attempt]) {
        self.0.retain(|step, _| match step {
            Step::Act(action) => actions.contains(action),
            Step::Look => true,
            Step::Print(attempt) => running.contains(attempt),
        });
    }

    /// Whether it is too early to submit anything: what Slurm has not taken of one task, it does not take of others.
    pub(super) fn waits_to_submit(&self, now: Instant) -> bool {
        let is_submission = |step: &Step| matches!(step, Step::Act(Action::Submit(_)));
        self.0.iter().any(|(step, failed)| is_submission(step) && failed.until > now)
    }

    /// When the next step is tried again; those that fetch are not, while `fetching` one.
    pub(super) fn next(&self, fetching: bool) -> Option<Instant> {
        let is_possible = |step: &Step| !fetching || !matches!(step, Step::Act(Action::Fetch(_)));
        let possible = self.0.iter().filter(|(step, _)| is_possible(step));
        possible.map(|(_, failed)| failed.until).min()
    }
}

/// Whether the same fails again and again until somebody does something about it.
pub(super) fn stays(error: &Error) -> bool {
    matches!(error, Error::Failed { .. } | Error::Local { .. })
}

/// Whether the job's own archive is none that can be taken.
pub(super) fn is_archive(error: &Error) -> bool {
    matches!(error, Error::Local { source, .. } if source.kind() == std::io::ErrorKind::InvalidData)
}

/// The reason of a condition that says that a step has failed.
pub(super) fn reason(step: Option<Step>, error: &Error) -> &'static str {
    match (error, step) {
        (Error::Unreachable(_), _) => "ConnectionLost",
        (Error::Refused(_), _) => "LoginRefused",
        (Error::Elsewhere(_), _) => "ClusterChanged",
        (Error::Failed { .. }, _) => "CommandFailed",
        (Error::Local { .. }, Some(Step::Act(Action::Fetch(_)))) => "ResultsUnwritable",
        (Error::Local { .. }, Some(_)) => "SourcesUnreadable",
        (Error::Local { .. }, None) => "CredentialsUnreadable",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_step_waits_for_itself_only_and_ever_longer() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let (one, other) = (Step::Act(Action::Prepare), Step::Look);
        assert!(!retries.waits(one, now));
        retries.failed(one, now);
        assert!(retries.waits(one, now) && !retries.waits(other, now));
        assert!(!retries.waits(one, after(1)));
        retries.failed(one, after(1));
        assert!(retries.waits(one, after(2)) && !retries.waits(one, after(3)));
        assert_eq!(retries.next(false), Some(after(3)));
        retries.done(one);
        assert!(retries.is_empty() && !retries.waits(one, after(1)));
    }

    #[test]
    fn one_submission_that_waits_lets_others_wait_and_a_fetch_is_none() {
        let (mut retries, now) = (Retries::default(), Instant::now());
        let attempt = Attempt { index: 0, attempt: 0 };
        retries.failed(Step::Act(Action::Fetch(attempt)), now);
        assert!(!retries.waits_to_submit(now));
        assert!(retries.next(false).is_some() && retries.next(true).is_none());
        retries.failed(Step::Act(Action::Submit(attempt)), now);
        assert!(retries.waits_to_submit(now));
        assert!(!retries.waits_to_submit(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_step_has_several_tries_and_a_last_one() {
        let (mut retries, step) = (Retries::default(), Step::Act(Action::Prepare));
        let mut tries = 1;
        while !retries.is_last(step) {
            retries.failed(step, Instant::now());
            tries += 1;
        }
        assert_eq!(tries, TRIES);
        retries.keep(&[Action::Prepare], &[]);
        assert!(retries.has_only(Some(step)) && !retries.has_only(None));
        retries.keep(&[], &[]);
        assert!(!retries.is_last(step));
    }
}
