//! When repeated results of a probe become a verdict. Pure.

/// Counts results of the same kind in a row.
#[derive(Debug)]
pub(super) struct Tally {
    successes: i32,
    failures: i32,
    success_threshold: i32,
    failure_threshold: i32,
    /// `None`: not known yet, so that reaching either threshold is a change.
    verdict: Option<bool>,
}

impl Tally {
    /// `verdict`: what holds before the first result.
    pub(super) fn new(
        success_threshold: i32,
        failure_threshold: i32,
        verdict: Option<bool>,
    ) -> Self {
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
        let reached = if success {
            self.successes >= self.success_threshold
        } else {
            self.failures >= self.failure_threshold
        };
        let changed = reached && self.verdict.replace(success) != Some(success);
        changed.then_some(success)
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
        let readiness = Tally::new(2, 3, None);
        let expected = [None, Some(true), None, None, None, Some(false), None];
        check(readiness, "++-----", &[None, Some(true), None, None, Some(false), None, None]);
        check(
            Tally::new(2, 3, None),
            "++-+---",
            &[expected[0], expected[1], None, None, None, None, Some(false)],
        );
    }

    #[test]
    fn a_container_that_was_ready_stays_so_until_the_threshold_of_failures() {
        check(Tally::new(2, 3, Some(true)), "--+---", &[None, None, None, None, None, Some(false)]);
    }

    #[test]
    fn liveness_speaks_only_when_it_fails() {
        check(Tally::new(1, 2, Some(true)), "++-+--", &[None, None, None, None, None, Some(false)]);
    }
}
