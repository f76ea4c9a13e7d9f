//! Who may run a run's steps: its holder, until its lease ends. Every write of the holder renews it.

use std::time::Duration;

use api_types::{jiff::Timestamp, meta::MicroTime, minik8s::WorkflowRunStatus};

/// How long nobody else may take a run. A run whose gateway has died goes on after that.
const LEASE: Duration = Duration::from_secs(10);
/// How long after its last write a holder writes again, though nothing has happened.
pub(super) const RENEWAL: Duration = Duration::from_secs(3);

/// How long someone else holds the run.
pub(super) fn held_by_another(
    status: &WorkflowRunStatus,
    identity: &str,
    now: Timestamp,
) -> Option<Duration> {
    let holder = status.holder.as_deref().filter(|holder| *holder != identity)?;
    let until = status.lease_until.as_ref().filter(|_| !holder.is_empty())?.0;
    Duration::try_from(until.duration_since(now)).ok().filter(|left| !left.is_zero())
}

/// Makes the run the holder's for as long as a lease is.
pub(super) fn hold(status: &mut WorkflowRunStatus, identity: &str, now: Timestamp) {
    status.holder = Some(identity.to_owned());
    status.lease_until = now.checked_add(LEASE).ok().map(MicroTime);
}

/// Lets anybody take it.
pub(super) fn release(status: &mut WorkflowRunStatus) {
    status.holder = None;
    status.lease_until = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_taken_from_nobody_but_a_holder_whose_lease_has_ended() {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let later = |seconds| now.checked_add(Duration::from_secs(seconds)).unwrap();
        let mut status = WorkflowRunStatus::default();
        assert_eq!(held_by_another(&status, "a", now), None);
        hold(&mut status, "a", now);
        assert_eq!(held_by_another(&status, "a", now), None);
        assert_eq!(held_by_another(&status, "b", later(4)), Some(Duration::from_secs(6)));
        assert_eq!(held_by_another(&status, "b", later(10)), None);
        release(&mut status);
        assert_eq!(held_by_another(&status, "b", now), None);
    }
}
