//! Jobs of which Slurm knows nothing at the time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use super::tasks::Attempt;

/// How long Slurm may know nothing of a job that it has taken: it forgets one that has ended before its accounting has
/// heard of it, and what the job has left may come late, too.
const LOST_AFTER: Duration = Duration::from_secs(60);
/// Between two questions meanwhile.
const PACE: Duration = Duration::from_secs(2);

/// Since when each has been missing.
#[derive(Debug, Default)]
pub(crate) struct Missing(BTreeMap<Attempt, Instant>);

impl Missing {
    /// Slurm was asked and does not know it. Whether it is lost, as it has been missing for too long.
    pub(crate) fn miss(&mut self, attempt: Attempt, now: Instant) -> bool {
        let since = *self.0.entry(attempt).or_insert(now);
        now.saturating_duration_since(since) > LOST_AFTER
    }

    /// It is not missing, or is not asked for any more.
    pub(crate) fn forget(&mut self, attempt: Attempt) {
        self.0.remove(&attempt);
    }

    /// How soon is asked again at the latest.
    pub(crate) fn pace(&self) -> Duration {
        if self.0.is_empty() { Duration::MAX } else { PACE }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_lost_when_it_has_been_missing_for_a_minute_however_seldom_slurm_was_asked_before() {
        let (mut missing, begin) = (Missing::default(), Instant::now());
        let at = |seconds| begin + Duration::from_secs(seconds);
        let [one, other] = [0, 1].map(|index| Attempt { index, attempt: 0 });
        assert!(!missing.miss(one, at(600)), "one miss is none");
        assert_eq!(missing.pace(), PACE);
        assert!(!missing.miss(other, at(640)) && !missing.miss(one, at(660)));
        assert!(missing.miss(one, at(661)) && !missing.miss(other, at(661)));
        missing.forget(one);
        assert!(!missing.miss(one, at(662)));
        missing.forget(one);
        missing.forget(other);
        assert_eq!(missing.pace(), Duration::MAX);
    }
}
