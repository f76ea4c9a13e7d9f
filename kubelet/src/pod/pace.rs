//! Steps that changed nothing are not repeated at once: a container may be "removing" for long. Pure.

use std::time::Duration;

use api_types::jiff::Timestamp;

use super::next_step::Step;
use crate::runtime::observed::Observed;

/// Until the same steps are done again to the same world.
const PAUSE: Duration = Duration::from_secs(2);

/// What was done last, to what, and when.
#[derive(Debug, Default)]
pub(super) struct Pace {
    last: Option<(Observed, Vec<Step>, Timestamp)>,
}

impl Pace {
    /// Until when to wait before doing these steps.
    pub(super) fn wait(
        &self,
        observed: &Observed,
        steps: &[Step],
        now: Timestamp,
    ) -> Option<Timestamp> {
        let (world, done, at) = self.last.as_ref()?;
        let until = *at + PAUSE;
        (world == observed && done == steps && now < until).then_some(until)
    }

    /// Notes what was done.
    pub(super) fn done(&mut self, observed: &Observed, steps: &[Step], now: Timestamp) {
        self.last = Some((observed.clone(), steps.to_vec(), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn the_same_steps_wait_and_others_do_not() {
        let (world, mut pace) = (Observed::default(), Pace::default());
        let remove = |id: &str| [Step::RemoveContainer { id: id.to_owned() }];
        assert_eq!(pace.wait(&world, &remove("a"), at(0)), None);
        pace.done(&world, &remove("a"), at(0));
        assert_eq!(pace.wait(&world, &remove("a"), at(1)), Some(at(2)));
        assert_eq!(pace.wait(&world, &remove("b"), at(1)), None);
        assert_eq!(pace.wait(&world, &remove("a"), at(2)), None);
    }
}
