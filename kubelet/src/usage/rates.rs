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

/// The counters as they were at some samples before: none of two is less than nearly a period older than the other.
#[derive(Clone, Copy, Debug)]
struct Counter {
    older: Reading,
    newer: Reading,
    /// Where it stood in the last sample.
    last: u64,
    /// Whether it is in the sample that is being taken.
    seen: bool,
}

impl Counter {
    fn new(reading: Reading) -> Self {
        Self { older: reading, newer: reading, last: reading.nanos, seen: true }
    }

    /// How fast it has grown, for at least nearly a period if it is known for that long.
    fn rate(&mut self, reading: Reading, least: Duration) -> Option<Rate> {
        let age = reading.at.saturating_duration_since(self.newer.at);
        let rate = between(if age >= least { self.newer } else { self.older }, reading);
        if age >= least {
            (self.older, self.newer) = (self.newer, reading);
        }
        (self.last, self.seen) = (reading.nanos, true);
        rate
    }
}

/// The counters of everything.
#[derive(Debug, Default)]
pub(super) struct Rates {
    counters: HashMap<String, Counter>,
    least: Duration,
}

impl Rates {
    /// Begins a sample: what is not in the last one any more is forgotten. Rates are over that period, however
    /// many samples there are within it; nearly, as no two samples come after exactly that time.
    pub(super) fn begin(&mut self, period: Duration) {
        self.counters.retain(|_, counter| std::mem::take(&mut counter.seen));
        self.least = period * 9 / 10;
    }

    /// How fast that counter has grown. Another container is another counter, and one that is lower than before
    /// has begun anew: of these nothing is known yet.
    pub(super) fn rate(&mut self, counter: &str, reading: Reading) -> Option<Rate> {
        let known = self.counters.get_mut(counter).filter(|known| known.last <= reading.nanos);
        let Some(known) = known else {
            self.counters.insert(counter.to_owned(), Counter::new(reading));
            return None;
        };
        known.rate(reading, self.least)
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

    const PERIOD: Duration = Duration::from_secs(10);

    fn take(rates: &mut Rates, counter: &str, nanos: u64, at: Instant) -> Option<Rate> {
        rates.begin(PERIOD);
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

    #[test]
    fn samples_in_between_shorten_nobodys_window() {
        let (mut rates, start) = (Rates::default(), Instant::now());
        let mut window = |millis: u64| {
            let rate =
                take(&mut rates, "a", millis * 1_000_000, start + Duration::from_millis(millis));
            rate.map(|rate| {
                assert_eq!(rate.nano_cores, 1_000_000_000);
                rate.window.as_millis()
            })
        };
        assert_eq!(window(0), None);
        assert_eq!(window(500), Some(500), "all that is known");
        assert_eq!(window(10_000), Some(10_000));
        assert_eq!(window(12_000), Some(12_000));
        assert_eq!(window(19_400), Some(9_400));
        assert_eq!(window(20_000), Some(10_000), "an announcement after a scrape");
        assert_eq!(window(30_000), Some(10_600));
    }

    proptest! {
        /// Whatever the counters do and whenever somebody looks, the rates tell the work that was done, over a
        /// period if so much is known.
        #[test]
        fn rates_say_what_the_counters_grew(
            samples in prop::collection::vec((any::<bool>(), 0..1_u64 << 48, 0..20_000_u64), 1..40),
        ) {
            let (mut rates, mut at) = (Rates::default(), Instant::now());
            let (mut nanos, mut known) = (0_u64, Vec::<Reading>::new());
            for (again, grown, millis) in samples {
                if again && nanos > 0 {
                    known.clear();
                }
                nanos = if again { 0 } else { nanos + grown };
                at += Duration::from_millis(millis);
                let rate = take(&mut rates, "c", nanos, at);
                let longest = known.first().map(|first| at - first.at).unwrap_or_default();
                prop_assert_eq!(rate.is_some(), !longest.is_zero());
                if let Some(rate) = rate {
                    prop_assert!(rate.window >= longest.min(PERIOD * 9 / 10));
                    let same = |before: &Reading| between(*before, Reading { nanos, at }) == Some(rate);
                    prop_assert!(known.iter().any(same));
                }
                known.push(Reading { nanos, at });
            }
        }
    }
}
