//! What had no effect is not done again at once: a container may be "removing" for long. Pure.

use std::time::Duration;

use api_types::jiff::Timestamp;

use super::plan::Step;

/// Until the same step is done again.
pub(super) const PAUSE: Duration = Duration::from_secs(2);

/// Until when a step is not done again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) until: Timestamp,
    /// Whether what it should bring about is still missing.
    pub(super) failed: bool,
}

/// What was done a short while ago.
#[derive(Debug, Default)]
pub(super) struct Pace(Vec<(Step, Held)>);

impl Pace {
    /// Whether the step has to wait.
    pub(super) fn held(&self, step: &Step, now: Timestamp) -> Option<Held> {
        let latest = self.0.iter().rev().find(|(done, _)| done == step);
        latest.map(|(_, held)| *held).filter(|held| held.until > now)
    }

    /// Notes what was done.
    pub(super) fn done(&mut self, step: Step, held: Held, now: Timestamp) {
        self.0.retain(|(_, held)| held.until > now);
        self.0.push((step, held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_step_waits_and_others_do_not() {
        let mut pace = Pace::default();
        let remove = |id: &str| Step::RemoveContainer { id: id.to_owned() };
        let held = |second| Held { until: at(second), failed: false };
        assert_eq!(pace.held(&remove("a"), at(0)), None);
        pace.done(remove("a"), held(2), at(0));
        assert_eq!(pace.held(&remove("a"), at(1)), Some(held(2)));
        assert_eq!(pace.held(&remove("b"), at(1)), None);
        assert_eq!(pace.held(&remove("a"), at(2)), None);
        pace.done(remove("a"), held(4), at(2));
        assert_eq!(pace.held(&remove("a"), at(3)), Some(held(4)));
    }
}
