//! Generated histories of load, in virtual time, against what the autoscaler promises.

use std::time::Duration;

use proptest::prelude::*;
use tokio::time::Instant;

use super::decision::{Autoscaler, Limits, Load, Total};

const SECOND: Duration = Duration::from_secs(1);
/// The most instances of these histories are none after having been halved so often, and are seen to be two seconds later.
const HALVES: usize = 6 + 2 * 6;

/// A function, its instances, and what its gateways say once a second.
struct World {
    now: Instant,
    limits: Limits,
    autoscaler: Autoscaler,
    last_call: Option<Instant>,
    total: Total,
    /// How long an instance takes to become ready.
    start: usize,
    /// What was decided, second by second.
    decided: Vec<u32>,
}

impl World {
    fn new(limits: Limits, start: usize) -> Self {
        let now = Instant::now();
        let autoscaler = Autoscaler::new(now, 0);
        let (total, decided) = (Total::default(), Vec::new());
        Self { now, limits, autoscaler, last_call: None, total, start, decided }
    }

    /// The instances that were wanted all the time since they could become ready.
    fn ready(&self) -> u32 {
        let lately = self.decided.iter().rev().take(self.start + 1);
        if self.decided.len() <= self.start { 0 } else { lately.copied().min().unwrap_or(0) }
    }

    fn is_called(&mut self) {
        self.last_call = Some(self.now);
    }

    /// A second with so many calls in hand.
    fn second(&mut self, in_hand: u32) -> u32 {
        let ready = self.ready();
        let Self { total, last_call, .. } = *self;
        self.autoscaler.record(self.now, Load { in_hand, last_call, total });
        let decided = self.autoscaler.decide(self.now, ready, &self.limits);
        self.decided.push(decided);
        self.now += SECOND;
        self.total.call_seconds += f64::from(in_hand);
        decided
    }

    /// A second that ends without calls in hand, though so many have come, and were in hand for so long.
    fn second_of_short_calls(&mut self, calls: u32, call_seconds: f64) -> u32 {
        self.total.calls += f64::from(calls);
        self.total.call_seconds += call_seconds;
        self.is_called();
        self.second(0)
    }

    fn seconds(&mut self, count: usize, in_hand: u32) {
        for _ in 0..count {
            self.second(in_hand);
        }
    }

    fn live(&mut self, loads: &[(usize, u32)]) {
        for (count, in_hand) in loads {
            self.seconds(*count, *in_hand);
        }
    }

    /// Seventy per cent of the target for each instance.
    fn enough_for(&self, calls: u32) -> u32 {
        let target = (1..).find(|target| f64::from(*target) >= self.limits.target).unwrap();
        (calls * 10).div_ceil(target * 7).clamp(self.limits.min, self.limits.max)
    }
}

prop_compose! {
    fn limits()(
        min in 0..4u32,
        more in 0..30u32,
        target in 1..20u32,
        idle in 0..90u64,
        delay in prop_oneof![Just(0), 0..40u64],
    ) -> Limits {
        Limits {
            min,
            max: (min + more).max(1),
            target: target.into(),
            target_rate: None,
            idle: Duration::from_secs(idle),
            scale_down_delay: Duration::from_secs(delay),
        }
    }
}

/// Spans of seconds with so many calls in hand.
fn loads() -> impl Strategy<Value = Vec<(usize, u32)>> {
    let calls = prop_oneof![Just(0), 1..10u32, 0..300u32];
    prop::collection::vec((1..50usize, calls), 1..12)
}

fn each_second(loads: &[(usize, u32)]) -> impl Iterator<Item = u32> + '_ {
    loads.iter().flat_map(|(seconds, calls)| std::iter::repeat_n(*calls, *seconds))
}

proptest! {
    #[test]
    fn never_outside_of_the_limits_and_never_none_while_there_are_calls(
        limits in limits(), start in 0..5usize, loads in loads(),
    ) {
        let mut world = World::new(limits, start);
        for calls in each_second(&loads) {
            let decided = world.second(calls);
            prop_assert!((limits.min..=limits.max).contains(&decided), "{decided}");
            prop_assert!(calls == 0 || decided > 0);
        }
    }

    #[test]
    fn a_constant_load_reaches_what_is_enough_for_it_and_stays_there(
        limits in limits(), start in 0..5usize, loads in loads(), calls in 1..300u32,
    ) {
        let mut world = World::new(limits, start);
        world.live(&loads);
        world.seconds(200, calls);
        let enough = world.enough_for(calls);
        for _ in 0..100 {
            prop_assert_eq!(world.second(calls), enough);
        }
    }

    #[test]
    fn a_burst_from_none_gets_what_is_enough_for_it_at_once(
        limits in limits(), loads in loads(), calls in 1..300u32,
    ) {
        let mut world = World::new(limits, 2);
        world.live(&loads);
        world.seconds(200, 0);
        prop_assert_eq!(world.second(0), limits.min);
        if limits.min == 0 {
            let enough = world.enough_for(calls);
            for _ in 0..10 {
                prop_assert_eq!(world.second(calls), enough);
            }
        }
    }

    #[test]
    fn without_calls_the_last_instance_goes_when_it_was_idle_for_long_enough_and_not_before(
        limits in limits(), loads in loads(),
    ) {
        let mut world = World::new(limits, 1);
        world.live(&loads);
        world.second(5);
        let idle = usize::try_from(limits.idle.as_secs()).unwrap();
        let delay = usize::try_from(limits.scale_down_delay.as_secs()).unwrap();
        for _ in 1..idle {
            prop_assert!(world.second(0) >= 1);
        }
        // Of the seconds of the delay, the first has passed when it begins. Many go by halves.
        world.seconds(delay + HALVES, 0);
        prop_assert_eq!(world.second(0), limits.min);
        prop_assert!(world.autoscaler.is_at_rest(world.now, &limits));
    }

    /// What counts is how long calls are in hand, not how many are when it is looked: both see the same instances.
    #[test]
    fn calls_between_two_looks_ask_for_as_many_as_the_same_time_in_hand_does(
        limits in limits(), start in 0..5usize, calls in 1..300u32,
    ) {
        prop_assume!(!limits.idle.is_zero());
        let (mut seen, mut unseen) = (World::new(limits, start), World::new(limits, start));
        for _ in 0..200 {
            seen.second(calls);
            unseen.second_of_short_calls(calls, calls.into());
        }
        let enough = seen.enough_for(calls);
        for _ in 0..100 {
            prop_assert_eq!(seen.second(calls), enough);
            prop_assert_eq!(unseen.second_of_short_calls(calls, calls.into()), enough);
        }
    }

    #[test]
    fn by_rate_and_by_concurrency_the_larger_number_counts(
        limits in limits(), start in 0..5usize, target in 1..50u32,
        rate in 0..300u32, calls in 1..300u32,
    ) {
        prop_assume!(!limits.idle.is_zero());
        let limits = Limits { target_rate: Some(target.into()), ..limits };
        let mut world = World::new(limits, start);
        for _ in 0..200 {
            world.second_of_short_calls(rate, calls.into());
        }
        let by_rate = (rate * 10).div_ceil(target * 7).clamp(limits.min, limits.max);
        let enough = world.enough_for(calls).max(by_rate);
        for _ in 0..100 {
            prop_assert_eq!(world.second_of_short_calls(rate, calls.into()), enough);
        }
    }

    #[test]
    fn no_step_takes_more_than_half_of_what_is_ready(
        limits in limits(), start in 0..5usize, loads in loads(),
    ) {
        let mut world = World::new(limits, start);
        for calls in each_second(&loads).chain([0; 120]) {
            let ready = world.ready();
            prop_assert!(world.second(calls) >= ready / 2);
        }
    }

    #[test]
    fn fewer_only_after_fewer_were_enough_for_the_delay(
        limits in limits(), start in 0..5usize, loads in loads(),
    ) {
        let delay = usize::try_from(limits.scale_down_delay.as_secs()).unwrap();
        let mut undelayed = World::new(Limits { scale_down_delay: Duration::ZERO, ..limits }, start);
        let mut world = World::new(limits, start);
        let mut at_once = Vec::new();
        for calls in each_second(&loads) {
            // What is ready depends on what was decided: both are to see the same.
            undelayed.decided.clone_from(&world.decided);
            undelayed.total = world.total;
            let half = world.ready() / 2;
            at_once.push((undelayed.second(calls), half));
            let within = &at_once[at_once.len().saturating_sub(delay.max(1))..];
            let most = within.iter().map(|(wanted, _)| *wanted).max();
            // What was only not taken away yet was not wanted.
            let wanted = within.iter().filter(|(wanted, half)| wanted > half);
            let least = wanted.map(|(wanted, _)| *wanted).max().max(Some(half.clamp(limits.min, limits.max)));
            let decided = Some(world.second(calls));
            prop_assert!(least <= decided && decided <= most, "{least:?} {decided:?} {most:?}");
        }
    }
}

fn limits_of(max: u32, target: f64) -> Limits {
    let (idle, scale_down_delay) = (Duration::from_secs(60), Duration::ZERO);
    Limits { min: 0, max, target, target_rate: None, idle, scale_down_delay }
}

#[test]
fn a_sudden_rise_is_followed_within_seconds_and_its_end_after_a_minute() {
    let mut world = World::new(limits_of(100, 10.0), 1);
    world.seconds(120, 7);
    assert_eq!(world.decided.last(), Some(&1));
    let rise: Vec<_> = (0..7).map(|_| world.second(210)).collect();
    assert!(rise.is_sorted() && rise[6] == 30, "{rise:?}");
    let after: Vec<_> = (0..180).map(|_| world.second(7)).collect();
    assert!(after[..50].iter().all(|n| *n == 30), "{after:?}");
    assert_eq!(after[170], 1);
}

#[test]
fn calls_that_come_while_the_first_instance_starts_count_at_once() {
    let mut world = World::new(limits_of(100, 10.0), 3);
    assert_eq!(world.second(1), 1);
    assert_eq!(world.second(100), 15);
}

#[test]
fn what_comes_after_a_rest_is_not_averaged_with_it() {
    let mut world = World::new(limits_of(100, 10.0), 0);
    world.seconds(10, 5);
    world.seconds(70, 0);
    assert_eq!(world.decided.last(), Some(&0));
    world.seconds(2, 1);
    world.second(100);
    assert_eq!(world.second(100), 5, "(1 + 1 + 100) / 3 calls");
}

#[test]
fn a_moment_of_many_calls_is_averaged_away() {
    let mut world = World::new(limits_of(100, 10.0), 1);
    world.seconds(120, 35);
    assert_eq!(world.decided.last(), Some(&5));
    world.second(60);
    assert!((0..60).all(|_| world.second(35) <= 6));
}

#[test]
fn calls_that_come_and_go_unseen_keep_the_last_instance() {
    let mut world = World::new(limits_of(10, 10.0), 1);
    world.second(1);
    for _ in 0..20 {
        world.seconds(50, 0);
        world.is_called();
        assert_eq!(world.second(0), 1);
    }
    world.seconds(60, 0);
    assert_eq!(world.second(0), 0);
}

#[test]
fn a_new_autoscaler_takes_nothing_away_before_it_can_know_better_and_wakes_nothing() {
    let (now, limits) = (Instant::now(), limits_of(10, 10.0));
    let check = |replicas, seconds: &[u64], expected: &[u32]| {
        let mut autoscaler = Autoscaler::new(now, replicas);
        let mut decide = |seconds| {
            let now = now + Duration::from_secs(seconds);
            autoscaler.record(now, Load::default());
            autoscaler.decide(now, replicas, &limits)
        };
        assert_eq!(seconds.iter().map(|s| decide(*s)).collect::<Vec<_>>(), expected);
    };
    check(3, &[0, 30, 59, 60], &[3, 3, 3, 1]);
    check(0, &[0, 30], &[0, 0]);
}
