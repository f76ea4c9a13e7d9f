//! When repeated results of a probe become a verdict. Pure.

/// Counts results of the same kind in a row.
#[derive(Debug)]
pub(super) struct Tally {
    successes: i32,
    failures: i32,
    success_threshold: i32,
    failure_threshold: i32,
    verdict: Verdict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Unknown,
    Healthy,
    Unhealthy,
}

impl Tally {
    /// `pessimist`: the container counts as unhealthy until it proves otherwise, so that reaching the
    /// failure threshold at once is no change for readiness, but still one for startup.
    pub(super) fn new(success_threshold: i32, failure_threshold: i32, pessimist: bool) -> Self {
        let verdict = if pessimist { Verdict::Unknown } else { Verdict::Healthy };
        Self {
            successes: 0,
            failures: 0,
            success_threshold: success_threshold.max(1),
            failure_threshold: failure_threshold.max(1),
            verdict,
        }
    }

    /// Counts one result; gives the new verdict if it changed.
    pub(super) fn count(&mut self, success: bool) -> Option<bool> {
        (self.successes, self.failures) =
            if success { (self.successes + 1, 0) } else { (0, self.failures + 1) };
        let verdict = if success && self.successes >= self.success_threshold {
            Verdict::Healthy
        } else if !success && self.failures >= self.failure_threshold {
            Verdict::Unhealthy
        } else {
            return None;
        };
        let changed = std::mem::replace(&mut self.verdict, verdict) != verdict;
        changed.then_some(verdict == Verdict::Healthy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mut tally: Tally, results: &str, verdicts: &[Option<bool>]) {
        let found: Vec<_> = results.chars().map(|result| tally.count(result == '+')).collect();
        assert_eq!(found, verdicts);
    }

    #[test]
    fn readiness_changes_at_its_thresholds() {
        let readiness = Tally::new(2, 3, true);
        let expected = [None, Some(true), None, None, None, Some(false), None];
        check(readiness, "++-----", &[None, Some(true), None, None, Some(false), None, None]);
        check(
            Tally::new(2, 3, true),
            "++-+---",
            &[expected[0], expected[1], None, None, None, None, Some(false)],
        );
    }

    #[test]
    fn liveness_speaks_only_when_it_fails() {
        check(Tally::new(1, 2, false), "++-+--", &[None, None, None, None, None, Some(false)]);
    }
}
