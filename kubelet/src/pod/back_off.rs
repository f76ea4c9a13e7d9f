//! Delays that double with each failure and are forgotten after a quiet time. Pure: the time is given.

use std::{collections::BTreeMap, time::Duration};

use api_types::jiff::Timestamp;

/// First delay.
const INITIAL: Duration = Duration::from_secs(10);
/// Longest delay. After twice this without a failure the delay starts again from the first.
const MAXIMUM: Duration = Duration::from_secs(300);

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

impl Entry {
    fn expired(&self, at: Timestamp) -> bool {
        at.duration_since(self.updated).as_secs_f64() > 2.0 * MAXIMUM.as_secs_f64()
    }
}

/// The delays of several keys (a container, an image).
#[derive(Clone, Debug, Default)]
pub struct BackOff {
    entries: BTreeMap<String, Entry>,
}

impl BackOff {
    /// Notes one more try of `key`.
    pub fn next(&mut self, key: &str, now: Timestamp) {
        let delay = match self.entries.get(key) {
            Some(entry) if !entry.expired(now) => (entry.delay * 2).min(MAXIMUM),
            _ => INITIAL,
        };
        self.entries.insert(key.to_owned(), Entry { delay, updated: now });
    }

    /// The delay of `key` at present.
    pub fn delay(&self, key: &str) -> Duration {
        self.entries.get(key).map_or(Duration::ZERO, |entry| entry.delay)
    }

    /// Until when `key` waits after an event (its end, its failure), if it does.
    pub fn until(&self, key: &str, event: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.entries.get(key).filter(|entry| !entry.expired(event))?;
        let end = event + entry.delay;
        (end > now).then_some(end)
    }

    /// Until when `key` waits after its last try.
    pub fn until_since_try(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let updated = self.entries.get(key)?.updated;
        self.until(key, updated, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn delays_double_up_to_five_minutes() {
        let mut back_off = BackOff::default();
        let delays: Vec<u64> = (0..7)
            .map(|i| {
                back_off.next("c", at(i));
                back_off.delay("c").as_secs()
            })
            .collect();
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_reset_the_delay() {
        let mut back_off = BackOff::default();
        back_off.next("c", at(0));
        back_off.next("c", at(1));
        assert_eq!(back_off.until("c", at(602), at(602)), None);
        back_off.next("c", at(602));
        assert_eq!(back_off.delay("c").as_secs(), 10);
    }

    #[test]
    fn a_key_waits_from_the_event() {
        let mut back_off = BackOff::default();
        assert_eq!(back_off.until("c", at(0), at(0)), None);
        back_off.next("c", at(0));
        assert_eq!(back_off.until("c", at(5), at(7)), Some(at(15)));
        assert_eq!(back_off.until("c", at(5), at(15)), None);
    }
}
