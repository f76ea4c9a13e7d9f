//! How many instances a function needs, decided as Knative's autoscaler does it, by concurrency and by rate. Pure: the time
//! is given.
//!
//! *Flow*: the calls in hand, averaged over a minute (the stable window), are divided by what one instance is to have in
//! hand; the calls a second, if the function says how many an instance is to take, by that; the larger number counts. If the
//! averages over six seconds (the panic window) ask for twice as many instances as are ready, that counts, and nothing
//! is taken back until a minute after that was last so.
//!
//! *Guarantees*: never fewer or more than the limits say; never none while there are calls in hand; from none, at once what
//! the calls that wait ask for; in one step no fewer than half of those that are ready; none after the function was idle
//! for long enough.

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use api_types::minik8s::Function;
use tokio::time::Instant;

const STABLE_WINDOW: Duration = Duration::from_secs(60);
const PANIC_WINDOW: Duration = Duration::from_secs(6);
/// An instance is to have this part of its target in hand, so that there is room for what comes while another starts.
const UTILIZATION: f64 = 0.7;
/// So many times the ready instances' worth of calls is panic.
const PANIC_THRESHOLD: f64 = 2.0;
/// In one step at most so many times the ready instances.
const MAX_SCALE_UP_RATE: f64 = 1000.0;
/// In one step at least the ready instances divided by this.
const MAX_SCALE_DOWN_RATE: u32 = 2;
/// Gateways tell once a second: what came since they last did, came within that time.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// What a function's spec says about scaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) min: u32,
    pub(super) max: u32,
    /// The calls that an instance is to have in hand.
    pub(super) target: f64,
    /// The calls a second that an instance is to take, if that counts.
    pub(super) target_rate: Option<f64>,
    /// How long the last instance is kept without calls.
    pub(super) idle: Duration,
    /// How long fewer instances must have been enough.
    pub(super) scale_down_delay: Duration,
}

/// The calls of all gateways.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Load {
    /// That wait or are being answered.
    pub(super) in_hand: u32,
    /// What has been, since some moment in the past.
    pub(super) total: Total,
    /// When a call was last heard of.
    pub(super) last_call: Option<Instant>,
}

/// What has been of the calls of a function. Only differences mean something.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Total {
    /// For how long calls were in hand, all taken together.
    pub(super) call_seconds: f64,
    /// How many have come.
    pub(super) calls: f64,
}

/// What has been seen of a function.
#[derive(Debug)]
pub(super) struct Autoscaler {
    /// The calls in hand.
    in_hand: u32,
    /// When which total was seen; over one stable window, from the first call on.
    totals: VecDeque<(Instant, Total)>,
    /// What had been when there were no calls.
    at_rest: Total,
    last_call: Option<Instant>,
    panic: Option<Panic>,
    /// What was wanted, over the scale-down delay.
    wanted: VecDeque<(Instant, u32)>,
    decided: u32,
}

/// More is called than the instances can answer.
#[derive(Clone, Copy, Debug)]
struct Panic {
    until: Instant,
    most: u32,
}

impl Limits {
    /// What makes a version is taken from the one that serves.
    pub(super) fn of(function: &Function) -> Self {
        let spec = &function.spec;
        let count =
            |value: Option<i32>, usual| value.map_or(usual, |v| u32::try_from(v).unwrap_or(0));
        let seconds = |value, usual| Duration::from_secs(count(value, usual).into());
        let max = count(spec.max_scale, 10);
        // Of more than this, gateways give an instance none.
        let most = function.call_limits().concurrency.map(NonZeroU32::get);
        let target = count(spec.target_concurrency, most.unwrap_or(10));
        Self {
            min: count(spec.min_scale, 0).min(max),
            max,
            target_rate: spec.target_requests_per_second.map(f64::from),
            target: target.min(most.unwrap_or(u32::MAX)).max(1).into(),
            idle: seconds(spec.idle_seconds, 60),
            scale_down_delay: seconds(spec.scale_down_delay_seconds, 0),
        }
    }

    /// How many instances ask for so many calls in hand, and so many a second.
    fn instances(&self, (calls, rate): (f64, f64)) -> f64 {
        // Averages are not exact.
        let needed = |load: f64, target: f64| (load / (target * UTILIZATION) - 1e-6).ceil();
        let by_rate = self.target_rate.map_or(0.0, |target| needed(rate, target));
        needed(calls, self.target).max(by_rate).max(0.0)
    }
}

impl Autoscaler {
    /// For a function of which nothing is known but how many instances it should have so far: as if it had been called until
    /// now, so that a new autoscaler takes none away before it can know better.
    pub(super) fn new(now: Instant, replicas: u32) -> Self {
        let has_some = replicas > 0;
        let panic = Panic { until: now + STABLE_WINDOW, most: replicas };
        Self {
            in_hand: 0,
            totals: VecDeque::new(),
            at_rest: Total::default(),
            last_call: has_some.then_some(now),
            panic: has_some.then_some(panic),
            wanted: VecDeque::new(),
            decided: replicas,
        }
    }

    /// Another version serves: what it has was made for a reason, and is idle from now on at the earliest.
    pub(super) fn start_anew(&mut self, now: Instant) {
        self.last_call = Some(now);
    }

    /// Takes in what the gateways say.
    pub(super) fn record(&mut self, now: Instant, load: Load) {
        let heard = if load.in_hand > 0 { Some(now) } else { load.last_call };
        self.last_call = self.last_call.max(heard);
        self.in_hand = load.in_hand;
        if self.totals.is_empty() {
            let before = std::mem::replace(&mut self.at_rest, load.total);
            let has_come = load.total.call_seconds > before.call_seconds;
            if load.in_hand == 0 && !has_come {
                return;
            }
            if let Some(since) = now.checked_sub(TOLD_EVERY).filter(|_| has_come) {
                self.totals.push_back((since, before));
            }
        }
        self.totals.push_back((now, load.total));
        // The one that was there when the window began stays.
        while self.totals.get(1).is_some_and(|(at, _)| now - *at >= STABLE_WINDOW) {
            self.totals.pop_front();
        }
    }

    /// How many instances there should be, where so many are ready.
    pub(super) fn decide(&mut self, now: Instant, ready: u32, limits: &Limits) -> u32 {
        let wanted =
            if self.is_idle(now, limits) { self.rest() } else { self.needed(now, ready, limits) };
        let wanted = self.delayed(now, wanted, limits.scale_down_delay);
        self.decided = wanted.max(ready / MAX_SCALE_DOWN_RATE).clamp(limits.min, limits.max);
        self.decided
    }

    /// Whether nothing will change without another call.
    pub(super) fn is_at_rest(&self, now: Instant, limits: &Limits) -> bool {
        self.is_idle(now, limits) && self.decided == limits.min
    }

    fn is_idle(&self, now: Instant, limits: &Limits) -> bool {
        self.in_hand == 0 && self.last_call.is_none_or(|call| now - call >= limits.idle)
    }

    /// Forgets what was, so that the next call is not averaged with it.
    fn rest(&mut self) -> u32 {
        if let Some((_, total)) = self.totals.back() {
            self.at_rest = *total;
        }
        self.totals.clear();
        self.panic = None;
        0
    }

    fn needed(&mut self, now: Instant, ready: u32, limits: &Limits) -> u32 {
        let base = f64::from(ready.max(1));
        let (mut calls, rate) = self.average(now, PANIC_WINDOW);
        if ready == 0 {
            // Nothing was answered so far: what waits now is all that there is to know.
            calls = calls.max(self.in_hand.into());
        }
        let stable = limits.instances(self.average(now, STABLE_WINDOW));
        let lately = limits.instances((calls, rate));
        let at_most = |instances: f64| whole(instances.min(base * MAX_SCALE_UP_RATE)).max(1);
        let most = |panic: Panic| panic.most.max(at_most(lately));
        let is_over = lately >= base * PANIC_THRESHOLD;
        self.panic = match self.panic.filter(|panic| now < panic.until) {
            panic if is_over => {
                let most = panic.map_or_else(|| at_most(lately), most);
                Some(Panic { until: now + STABLE_WINDOW, most })
            }
            Some(panic) => Some(Panic { most: most(panic), ..panic }),
            None => None,
        };
        self.panic.map_or_else(|| at_most(stable), |panic| panic.most)
    }

    /// The most that was wanted within the delay.
    fn delayed(&mut self, now: Instant, wanted: u32, delay: Duration) -> u32 {
        self.wanted.retain(|(at, earlier)| now - *at < delay && *earlier > wanted);
        self.wanted.push_back((now, wanted));
        self.wanted.front().map_or(wanted, |(_, most)| *most)
    }

    /// The calls in hand and the calls a second on average, over the window or since something is known.
    fn average(&self, now: Instant, window: Duration) -> (f64, f64) {
        let (Some((first, _)), Some((_, last))) = (self.totals.front(), self.totals.back()) else {
            return (0.0, 0.0);
        };
        let from = now.checked_sub(window).map_or(*first, |start| start.max(*first));
        let (begin, seconds) = (self.total_at(from), (now - from).as_secs_f64());
        if seconds == 0.0 {
            return (self.in_hand.into(), 0.0);
        }
        let per_second = |end: f64, begin: f64| ((end - begin) / seconds).max(0.0);
        (per_second(last.call_seconds, begin.call_seconds), per_second(last.calls, begin.calls))
    }

    /// What had been at that time, as if it had come evenly between what is known.
    fn total_at(&self, time: Instant) -> Total {
        let next = self.totals.partition_point(|(at, _)| *at <= time);
        let before = next.checked_sub(1).and_then(|before| self.totals.get(before));
        let (Some((start, before)), Some((end, after))) = (before, self.totals.get(next)) else {
            let nearest = before.or(self.totals.front());
            return nearest.map(|(_, total)| *total).unwrap_or_default();
        };
        let part = (time - *start).as_secs_f64() / (*end - *start).as_secs_f64();
        let between = |from: f64, to: f64| from + (to - from) * part;
        Total {
            call_seconds: between(before.call_seconds, after.call_seconds),
            calls: between(before.calls, after.calls),
        }
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it is a small whole number, rounded up already"
)]
fn whole(instances: f64) -> u32 {
    instances as u32
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_instances_target_is_at_most_what_the_version_that_serves_may_be_given() {
        let check = |spec: Value, serving: Value, expected: f64| {
            let function = json!({
                "metadata": {"name": "add"}, "spec": spec,
                "status": {"version": 1, "versions": [serving]},
            });
            let function: Function = serde_json::from_value(function).unwrap();
            assert!((Limits::of(&function).target - expected).abs() < 1e-9, "{function:?}");
        };
        let version = |runtime: &str, concurrency: i32| {
            json!({"version": 1, "digest": "", "runtime": runtime,
                "containerConcurrency": concurrency})
        };
        check(json!({"targetConcurrency": 10}), version("python", 0), 10.0);
        check(json!({"targetConcurrency": 50}), version("python", 0), 20.0);
        check(json!({"targetConcurrency": 50}), version("container", 0), 50.0);
        let asked = json!({"targetConcurrency": 10, "containerConcurrency": 9});
        check(asked.clone(), version("python", 3), 3.0);
        check(asked, version("python", 0), 10.0);
        check(json!({}), version("python", 4), 4.0);
        check(json!({"containerConcurrency": 2}), version("container", 0), 10.0);
    }
}
