//! After how many seconds who was refused is to come again: longer, the more are refused
//! (Kubernetes: `util/flowcontrol/dropped_requests_tracker.go`).

use std::collections::VecDeque;

const LONGEST: u64 = 32;

/// Those of a level that were refused, by second.
#[derive(Debug)]
pub(super) struct Dropped {
    /// The second that is being counted, and those before it.
    current: (u64, u64),
    history: VecDeque<(u64, u64)>,
    retry_after: u64,
    raised: Option<u64>,
}

impl Default for Dropped {
    fn default() -> Self {
        Self { current: (0, 0), history: VecDeque::new(), retry_after: 1, raised: None }
    }
}

impl Dropped {
    /// One is refused in this second; says when it is to come again.
    pub(super) fn record(&mut self, second: u64) -> u64 {
        if second == self.current.0 {
            self.current.1 += 1;
            return self.retry_after;
        }
        self.history.push_back(std::mem::replace(&mut self.current, (second, 1)));
        let kept = (2 * self.retry_after).min(LONGEST);
        self.history.retain(|(then, _)| second.saturating_sub(*then) <= kept);
        self.adapt(second);
        self.retry_after
    }

    /// Doubled when they are many, at most once in that time; otherwise one less, when they are few.
    fn adapt(&mut self, second: u64) {
        let after = self.retry_after;
        let recent = self.history.iter().filter(|(then, _)| second.saturating_sub(*then) <= after);
        let dropped: u64 = recent.map(|(_, count)| count).sum();
        let may_rise = self.raised.is_none_or(|then| second.saturating_sub(then) >= after);
        if may_rise && dropped >= 3 * after {
            self.retry_after = (2 * after).min(LONGEST);
            self.raised = Some(second);
        } else if dropped < after && after > 1 {
            self.retry_after -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_under_many_refusals_and_falls_one_by_one() {
        let mut dropped = Dropped::default();
        let mut second = |second, count| (0..count).map(|_| dropped.record(second)).last().unwrap();
        assert_eq!(second(100, 2), 1);
        // Two in a second are not many; three are.
        assert_eq!(second(101, 3), 1);
        assert_eq!(second(102, 10), 2);
        // Not again at once.
        assert_eq!(second(103, 50), 2);
        assert_eq!(second(104, 1), 4);
        assert_eq!(second(200, 1), 3);
        assert_eq!(second(300, 1), 2);
        for now in 1000..2000 {
            second(now, 1000);
        }
        assert_eq!(second(2000, 1), 32);
    }
}
