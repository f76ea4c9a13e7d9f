//! Tasks that are being cancelled: Slurm is told again until they have ended, ever more seldom.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::driver::{self, Action, Attempt};

/// How often, and until when it is not told again.
#[derive(Debug, Default)]
pub(super) struct Cancels(BTreeMap<Attempt, (u32, Instant)>);

impl Cancels {
    pub(super) fn waits(&self, action: Action, now: Instant) -> bool {
        let Action::Cancel(attempt) = action else { return false };
        self.0.get(&attempt).is_some_and(|(_, until)| *until > now)
    }

    pub(super) fn told(&mut self, attempt: Attempt, now: Instant) {
        let (times, until) = self.0.entry(attempt).or_insert((0, now));
        *times = times.saturating_add(1);
        *until = now + driver::back_off(*times);
    }

    /// Slurm could not be told: when that is tried again is not decided here.
    pub(super) fn failed(&mut self, attempt: Attempt) {
        self.0.remove(&attempt);
    }

    /// Forgets what has ended.
    pub(super) fn keep(&mut self, actions: &[Action]) {
        self.0.retain(|attempt, _| actions.contains(&Action::Cancel(*attempt)));
    }

    /// When Slurm is told again.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().map(|(_, until)| *until).min()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn slurm_is_told_again_ever_more_seldom() {
        let (mut cancels, now) = (Cancels::default(), Instant::now());
        let after = |seconds| now + Duration::from_secs(seconds);
        let attempt = Attempt { index: 0, attempt: 0 };
        let cancel = Action::Cancel(attempt);
        assert!(!cancels.waits(cancel, now) && cancels.next().is_none());
        for (at, until) in [(0, 1), (1, 3), (3, 7), (7, 15)] {
            cancels.told(attempt, after(at));
            assert!(cancels.waits(cancel, after(at)) && !cancels.waits(cancel, after(until)));
            assert_eq!(cancels.next(), Some(after(until)));
        }
        assert!(!cancels.waits(Action::Fetch(attempt), now));
        cancels.keep(&[cancel]);
        assert!(cancels.next().is_some());
        cancels.keep(&[]);
        assert!(cancels.next().is_none());
    }

    #[test]
    fn nobody_is_woken_by_a_cancellation_that_has_failed() {
        let (mut cancels, now) = (Cancels::default(), Instant::now());
        let [one, other] = [0, 1].map(|index| Attempt { index, attempt: 0 });
        cancels.told(one, now);
        cancels.told(other, now + Duration::from_secs(60));
        cancels.failed(one);
        assert!(!cancels.waits(Action::Cancel(one), now));
        assert_eq!(cancels.next(), Some(now + Duration::from_secs(61)));
        cancels.failed(other);
        assert!(cancels.next().is_none());
    }
}
