//! How fast counters grow. Pure.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

/// Processor time per time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Billionths of a processor.
    pub nano_cores: u64,
    /// The time over which that is the mean.
    pub window: Duration,
}

impl Rate {
    /// Both together.
    pub(super) fn and(self, other: Self) -> Self {
        let nano_cores = self.nano_cores.saturating_add(other.nano_cores);
        Self { nano_cores, window: self.window.max(other.window) }
    }
}

/// A counter of nanoseconds as it was at a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) nanos: u64,
    pub(super) at: Instant,
}

/// The counters of the sample before and of the one that is being taken.
#[derive(Debug, Default)]
pub(super) struct Rates {
    before: HashMap<String, Reading>,
    current: HashMap<String, Reading>,
}

impl Rates {
    /// Begins a sample: what is not in the last one any more is forgotten.
    pub(super) fn begin(&mut self) {
        self.before = std::mem::take(&mut self.current);
    }

    /// How fast that counter has grown since the sample before. Another container is another counter, and one that
    /// is lower than before has begun anew: of these nothing is known yet.
    pub(super) fn rate(&mut self, counter: &str, reading: Reading) -> Option<Rate> {
        self.current.insert(counter.to_owned(), reading);
        between(*self.before.get(counter)?, reading)
    }
}

fn between(before: Reading, after: Reading) -> Option<Rate> {
    let window = after.at.checked_duration_since(before.at).filter(|window| !window.is_zero())?;
    let grown = u128::from(after.nanos.checked_sub(before.nanos)?);
    let nano_cores = grown * 1_000_000_000 / window.as_nanos();
    Some(Rate { nano_cores: u64::try_from(nano_cores).ok()?, window })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(rates: &mut Rates, counter: &str, nanos: u64, at: Instant) -> Option<Rate> {
        rates.begin();
        rates.rate(counter, Reading { nanos, at })
    }

    #[test]
    fn nothing_is_known_of_what_has_just_begun() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(take(&mut rates, "a", 5_000_000_000, at(0)), None, "the first sample");
        let half = Rate { nano_cores: 500_000_000, window: Duration::from_secs(10) };
        assert_eq!(take(&mut rates, "a", 10_000_000_000, at(10)), Some(half));
        assert_eq!(take(&mut rates, "a", 9_000_000_000, at(20)), None, "it went back");
        assert_eq!(take(&mut rates, "b", 10_000_000_000, at(30)), None, "it is another container");
        assert_eq!(take(&mut rates, "a", 20_000_000_000, at(40)), None, "it was away");
    }

    proptest! {
        /// Whatever the counters do, the rates tell no more time than there was, and no more work than was done.
        #[test]
        fn rates_say_what_the_counters_grew(
            samples in prop::collection::vec((any::<bool>(), 0..1_u64 << 48, 0..20_000_u64), 1..40),
        ) {
            let (mut rates, mut at) = (Rates::default(), Instant::now());
            let (mut nanos, mut counted) = (0_u64, false);
            for (again, grown, millis) in samples {
                let went_back = again && nanos > 0;
                nanos = if again { 0 } else { nanos + grown };
                at += Duration::from_millis(millis);
                let rate = take(&mut rates, "c", nanos, at);
                prop_assert_eq!(rate.is_some(), counted && !went_back && millis > 0);
                if let Some(Rate { nano_cores, window }) = rate {
                    prop_assert_eq!(window, Duration::from_millis(millis));
                    prop_assert!(window.as_secs_f64() > 0.0);
                    let work = u128::from(nano_cores) * window.as_nanos() / 1_000_000_000;
                    let work = u64::try_from(work).unwrap();
                    let grown = if again { 0 } else { grown };
                    prop_assert!(work <= grown && grown - work <= millis / 1000 + 1);
                }
                counted = true;
            }
        }
    }
}
