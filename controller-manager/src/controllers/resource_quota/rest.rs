//! When something may be taken away from what a quota says is used. Pure.

use std::time::Duration;

use api_types::jiff::Timestamp;

/// For so long nothing was added to a quota of which something is taken away: an object for which the API server has just
/// added something may not be seen yet.
pub(super) const REST: Duration = Duration::from_secs(1);
/// For so long that is waited for, where objects come all the time. What was taken away too much is added again at the
/// next look.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is known of a quota.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// The version that was seen last, and since when.
    seen: Option<(String, Timestamp)>,
    /// Since when something is to be taken away.
    waits: Option<Timestamp>,
}

impl Rest {
    /// Whether something may be taken away from this version.
    pub(super) fn is_enough(&mut self, version: &str, now: Timestamp) -> bool {
        if self.seen.as_ref().is_none_or(|(seen, _)| seen != version) {
            self.seen = Some((version.to_owned(), now));
        }
        let is_over = |since: Option<Timestamp>, least: Duration| {
            since.is_some_and(|since| now.duration_since(since).unsigned_abs() >= least)
        };
        is_over(self.seen.as_ref().map(|(_, since)| *since), REST) || is_over(self.waits, PATIENCE)
    }

    /// Something is to be taken away, later.
    pub(super) fn waits(&mut self, now: Timestamp) {
        self.waits.get_or_insert(now);
    }

    /// Nothing is, any more.
    pub(super) fn is_done(&mut self) {
        self.waits = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn a_quota_rests_while_its_version_stays() {
        let mut rest = Rest::default();
        assert!(!rest.is_enough("1", at(0)));
        assert!(!rest.is_enough("1", at(999)));
        assert!(rest.is_enough("1", at(1000)));
        assert!(!rest.is_enough("2", at(1001)));
    }

    #[test]
    fn one_that_never_rests_is_waited_for_no_longer_than_patience_lasts() {
        let mut rest = Rest::default();
        for (version, millis) in (0..5000).step_by(500).enumerate() {
            assert!(!rest.is_enough(&version.to_string(), at(millis)), "{millis}");
            rest.waits(at(millis));
        }
        assert!(rest.is_enough("another", at(5000)));
        assert!(rest.is_enough("yet another", at(5100)), "it was not written");
        rest.is_done();
        assert!(!rest.is_enough("the next", at(5200)));
    }
}
