//! Who may run a run's steps: its holder, until its lease ends. Every write of the holder renews it.

use std::time::Duration;

use api_types::{
    jiff::Timestamp,
    meta::MicroTime,
    minik8s::{WorkflowRun, WorkflowRunStatus},
};
use tokio::time::Instant;

use super::news::Progress;

/// How long after its last write a holder writes again, though nothing has happened.
pub(super) const RENEWAL: Duration = Duration::from_secs(3);

/// The lease of a run as it is watched. Its end is not compared with a clock, which may be another than the holder's:
/// whoever waits for it measures how long it has not been renewed.
#[derive(Debug, Default)]
pub(super) struct Watched(Option<(Lease, Instant)>);

/// Its holder and end.
type Lease = (String, Option<MicroTime>);

impl Watched {
    /// How long someone else holds the run.
    pub(super) fn held_by_another(
        &mut self,
        status: &Progress,
        identity: &str,
        now: Instant,
    ) -> Option<Duration> {
        let holder = status.holder.clone().filter(|holder| holder != identity)?;
        let lease = (holder, status.lease_until.clone());
        let since = match &self.0 {
            Some((known, since)) if *known == lease => *since,
            _ => self.0.insert((lease, now)).1,
        };
        WorkflowRun::LEASE.checked_sub(now - since).filter(|left| !left.is_zero())
    }
}

/// Makes the run the holder's for as long as a lease is.
pub(super) fn hold(status: &mut WorkflowRunStatus, identity: &str, now: Timestamp) {
    status.holder = Some(identity.to_owned());
    status.lease_until = now.checked_add(WorkflowRun::LEASE).ok().map(MicroTime);
}

/// Lets anybody take it.
pub(super) fn release(status: &mut WorkflowRunStatus) {
    status.holder = None;
    status.lease_until = None;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str, at: &str) -> WorkflowRunStatus {
        let mut status = WorkflowRunStatus::default();
        hold(&mut status, holder, at.parse().unwrap());
        status
    }

    #[test]
    fn a_run_is_taken_from_nobody_but_a_holder_who_has_not_renewed_for_as_long_as_a_lease_is() {
        let (start, mut watched) = (Instant::now(), Watched::default());
        let mut left = |status: &WorkflowRunStatus, identity: &str, seconds: u64| {
            let now = start + Duration::from_secs(seconds);
            watched
                .held_by_another(&status.clone().into(), identity, now)
                .map(|left| left.as_secs())
        };
        assert_eq!(left(&WorkflowRunStatus::default(), "a", 0), None);
        // Whatever the holder's clock says.
        let first = held("a", "2036-01-01T00:00:00Z");
        assert_eq!(left(&first, "a", 0), None);
        assert_eq!(left(&first, "b", 0), Some(10));
        assert_eq!(left(&first, "b", 4), Some(6));
        let renewed = held("a", "2016-01-01T00:00:00Z");
        assert_eq!(left(&renewed, "b", 9), Some(10));
        assert_eq!(left(&renewed, "b", 18), Some(1));
        assert_eq!(left(&renewed, "b", 19), None);
        let mut released = held("c", "2016-01-01T00:00:00Z");
        release(&mut released);
        assert_eq!(left(&released, "b", 20), None);
    }
}
