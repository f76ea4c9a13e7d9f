//! How many seats a priority level could use, over time: by what it was in the last period its limit in the next one is
//! chosen (Kubernetes: `fairqueuing/integrator.go`, `seatDemandStats`).

use std::time::Duration;

/// Half of what was smoothed is forgotten in five minutes of periods of ten seconds.
const DECAY: f64 = 0.977;

/// The demand since the period began.
#[derive(Debug, Default)]
pub(super) struct Demand {
    now: Duration,
    latest: u32,
    most: u32,
    seconds: f64,
    /// Seats · s, and seats² · s.
    integral: f64,
    of_squares: f64,
}

/// What is known of a level's demand.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct DemandStats {
    pub(super) average: f64,
    pub(super) deviation: f64,
    /// The most of the last period.
    pub(super) most: u32,
    pub(super) smoothed: f64,
}

impl Demand {
    /// From now on it is this.
    pub(super) fn set(&mut self, now: Duration, seats: u32) {
        let passed = now.saturating_sub(self.now).as_secs_f64();
        let before = f64::from(self.latest);
        self.seconds += passed;
        self.integral += before * passed;
        self.of_squares += before * before * passed;
        self.now = self.now.max(now);
        self.latest = seats;
        self.most = self.most.max(seats);
    }

    /// Ends the period, and takes it into what is known.
    pub(super) fn end(&mut self, now: Duration, stats: &mut DemandStats) {
        self.set(now, self.latest);
        let latest = self.latest;
        let past = std::mem::replace(self, Self { now, latest, most: latest, ..Self::default() });
        stats.most = past.most;
        if past.seconds <= 0.0 {
            return;
        }
        let average = past.integral / past.seconds;
        let variance = past.of_squares / past.seconds - average * average;
        let deviation = variance.max(0.0).sqrt();
        let now = average + deviation;
        let smoothed = now.max(DECAY * stats.smoothed + (1.0 - DECAY) * now);
        *stats = DemandStats { average, deviation, smoothed, ..*stats };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let (mut demand, mut stats) = (Demand::default(), DemandStats::default());
        let at = Duration::from_secs;
        demand.set(at(0), 10);
        demand.set(at(5), 30);
        demand.end(at(10), &mut stats);
        let expected = DemandStats { average: 20.0, deviation: 10.0, most: 30, smoothed: 30.0 };
        assert_eq!(stats, expected);
        demand.set(at(10), 0);
        demand.end(at(20), &mut stats);
        assert_eq!((stats.average, stats.most), (0.0, 30));
        assert!((stats.smoothed - 30.0 * DECAY).abs() < 1e-9);
        demand.end(at(30), &mut stats);
        assert_eq!(stats.most, 0);
        // No time, nothing new.
        demand.end(at(30), &mut stats);
        assert!(stats.smoothed > 28.0);
    }
}
