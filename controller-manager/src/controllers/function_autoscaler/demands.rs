//! What each gateway says it has to do, and how long that is believed. Pure: the time is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use listwatch::{Demand, FunctionDemand};
use tokio::time::Instant;

use super::decision::{Load, Total};

/// A gateway whose Lease was not renewed for so long is gone.
const LEASE: Duration = Duration::from_secs(40);
/// Over Redis, calls in hand are told every second. If that stops, the message that they are done was lost, or Redis
/// is: the Lease says how it is.
const SILENCE: Duration = Duration::from_secs(5);

/// All gateways.
#[derive(Debug, Default)]
pub(super) struct Demands {
    gateways: BTreeMap<String, Gateway>,
    /// When a call of a function was last heard of.
    last_calls: BTreeMap<String, Instant>,
    /// What has been of the calls of a function since it was first heard of.
    totals: BTreeMap<String, Total>,
}

#[derive(Debug)]
struct Gateway {
    /// When it last gave a sign of life.
    alive: Instant,
    /// What it last told over Redis, and when.
    heard: Option<(Instant, Demand)>,
    /// What its Lease says: older than what is heard, but it stays.
    written: Demand,
    /// What it has last told of each function, and when.
    told: BTreeMap<String, (Instant, FunctionDemand)>,
}

impl Demands {
    /// A message over Redis. These functions may have to be looked at.
    pub(super) fn heard(&mut self, now: Instant, demand: Demand) -> BTreeSet<String> {
        let gateway = demand.gateway.clone();
        self.told(now, &gateway, demand, |gateway, demand| gateway.heard = Some((now, demand)))
    }

    /// A Lease of a gateway as it is now: renewed, and with what its annotation says.
    pub(super) fn renewed(
        &mut self,
        now: Instant,
        gateway: &str,
        demand: Demand,
    ) -> BTreeSet<String> {
        self.told(now, gateway, demand, |gateway, demand| gateway.written = demand)
    }

    /// The gateway has given its Lease up.
    pub(super) fn gone(&mut self, gateway: &str) -> BTreeSet<String> {
        let gateway = self.gateways.remove(gateway);
        gateway.iter().flat_map(Gateway::functions).collect()
    }

    /// What all gateways have to do for a function.
    pub(super) fn load(&self, now: Instant, function: &str) -> Load {
        let alive = self.gateways.values().filter(|gateway| now - gateway.alive < LEASE);
        let (mut in_hand, mut total) = (0, self.totals.get(function).copied().unwrap_or_default());
        for gateway in alive {
            let Some(calls) = gateway.demand(now).functions.get(function).map(in_hand_of) else {
                continue;
            };
            in_hand += calls;
            // It has not said yet for how long it has had these.
            let told = gateway.told.get(function).map_or(now, |(at, _)| *at);
            total.call_seconds += f64::from(calls) * (now - told).min(SILENCE).as_secs_f64();
        }
        Load { in_hand, total, last_call: self.last_calls.get(function).copied() }
    }

    pub(super) fn forget(&mut self, function: &str) {
        self.last_calls.remove(function);
        self.totals.remove(function);
        for gateway in self.gateways.values_mut() {
            gateway.told.remove(function);
        }
    }

    fn told(
        &mut self,
        now: Instant,
        gateway: &str,
        demand: Demand,
        keep: impl FnOnce(&mut Gateway, Demand),
    ) -> BTreeSet<String> {
        self.gateways.retain(|_, gateway| now - gateway.alive < LEASE);
        let gateway = self.gateways.entry(gateway.to_owned()).or_insert_with(|| Gateway::new(now));
        gateway.alive = now;
        for (function, calls) in &demand.functions {
            let known = gateway.told.get(function).map(|(_, known)| *known);
            let come = known.is_none_or(|known| arrival(*calls) > arrival(known));
            if come || !calls.is_idle() {
                self.last_calls.insert(function.clone(), now);
            }
            // What the Lease says may be older than what was heard.
            let time = |calls: FunctionDemand| (arrival(calls), calls.in_hand_milliseconds);
            if known.is_none_or(|known| time(*calls) > time(known)) {
                gateway.told.insert(function.clone(), (now, *calls));
                let is_anew = |known: &FunctionDemand| calls.began != known.began;
                let known = match known {
                    Some(known) if is_anew(&known) => FunctionDemand::default(),
                    known => known.unwrap_or(*calls),
                };
                self.totals.entry(function.clone()).or_default().add(known, *calls);
            }
        }
        let mut concerned: BTreeSet<_> = gateway.functions().collect();
        keep(gateway, demand);
        concerned.extend(gateway.functions());
        concerned
    }
}

impl Gateway {
    fn new(now: Instant) -> Self {
        let (written, told) = (Demand::default(), BTreeMap::new());
        Self { alive: now, heard: None, written, told }
    }

    fn demand(&self, now: Instant) -> &Demand {
        let heard = self.heard.as_ref().filter(|(at, _)| now - *at < SILENCE);
        heard.map_or(&self.written, |(_, demand)| demand)
    }

    /// Of which it said anything last.
    fn functions(&self) -> impl Iterator<Item = String> {
        let heard = self.heard.iter().flat_map(|(_, demand)| demand.functions.keys());
        heard.chain(self.written.functions.keys()).cloned()
    }
}

/// Grows with each call; a function that is made anew begins anew, later.
fn arrival(calls: FunctionDemand) -> (u64, u64) {
    (calls.began, calls.arrived)
}

fn in_hand_of(calls: &FunctionDemand) -> u32 {
    calls.queued.saturating_add(calls.in_flight)
}

impl Total {
    /// What a gateway has had from one message to the next.
    fn add(&mut self, from: FunctionDemand, to: FunctionDemand) {
        let more =
            |to: u64, from: u64| Duration::from_millis(to.saturating_sub(from)).as_secs_f64();
        self.call_seconds += more(to.in_hand_milliseconds, from.in_hand_milliseconds);
        self.calls += more(to.calls, from.calls) * 1000.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn demand(gateway: &str, functions: &[(&str, u32, u32, u64)]) -> Demand {
        let calls = |queued, in_flight, arrived| FunctionDemand {
            queued,
            in_flight,
            arrived,
            calls: arrived,
            ..FunctionDemand::default()
        };
        let one = |(name, queued, in_flight, arrived): &(&str, u32, u32, u64)| {
            ((*name).to_owned(), calls(*queued, *in_flight, *arrived))
        };
        Demand { gateway: gateway.to_owned(), functions: functions.iter().map(one).collect() }
    }

    struct World {
        demands: Demands,
        now: Instant,
    }

    impl World {
        fn new() -> Self {
            Self { demands: Demands::default(), now: Instant::now() }
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn in_hand(&self) -> u32 {
            self.demands.load(self.now, "d/f").in_hand
        }

        fn seconds_since_a_call(&self) -> Option<u64> {
            self.demands.load(self.now, "d/f").last_call.map(|call| (self.now - call).as_secs())
        }
    }

    #[test]
    fn what_all_gateways_have_in_hand_counts_and_a_message_replaces_the_one_before() {
        let mut world = World::new();
        world.demands.heard(world.now, demand("a", &[("d/f", 2, 3, 5), ("d/g", 1, 0, 1)]));
        world.demands.heard(world.now, demand("b", &[("d/f", 0, 4, 4)]));
        assert_eq!(world.in_hand(), 9);
        let concerned = world.demands.heard(world.now, demand("a", &[("d/h", 1, 0, 1)]));
        assert_eq!(concerned, ["d/f", "d/g", "d/h"].map(str::to_owned).into());
        assert_eq!(world.in_hand(), 4);
    }

    #[test]
    fn over_redis_silence_means_that_the_end_of_the_calls_was_not_heard() {
        let mut world = World::new();
        world.demands.heard(world.now, demand("a", &[("d/f", 0, 1, 1)]));
        world.wait(4);
        assert_eq!(world.in_hand(), 1);
        world.wait(1);
        assert_eq!(world.in_hand(), 0);
    }

    #[test]
    fn a_lease_holds_as_long_as_it_is_renewed_and_what_is_heard_is_newer() {
        let mut world = World::new();
        let busy = demand("a", &[("d/f", 0, 1, 1)]);
        world.demands.renewed(world.now, "a", busy.clone());
        world.wait(39);
        assert_eq!(world.in_hand(), 1);
        world.wait(1);
        assert_eq!(world.in_hand(), 0, "the gateway is gone");
        world.demands.renewed(world.now, "a", busy);
        assert_eq!(world.in_hand(), 1);
        world.demands.heard(world.now, demand("a", &[("d/f", 2, 1, 3)]));
        assert_eq!(world.in_hand(), 3);
        world.wait(5);
        assert_eq!(world.in_hand(), 1, "Redis is lost, and the calls are not");
        let idle = demand("a", &[]);
        assert_eq!(world.demands.renewed(world.now, "a", idle), ["d/f".to_owned()].into());
        assert_eq!(world.in_hand(), 0);
        assert_eq!(world.demands.gone("a"), ["d/f".to_owned()].into());
    }

    #[test]
    fn what_the_lease_says_later_is_no_call() {
        let mut world = World::new();
        world.demands.heard(world.now, demand("a", &[("d/f", 0, 0, 7)]));
        world.wait(2);
        world.demands.renewed(world.now, "a", demand("a", &[("d/f", 0, 0, 5)]));
        world.demands.renewed(world.now, "a", demand("a", &[("d/f", 0, 0, 7)]));
        assert_eq!(world.seconds_since_a_call(), Some(2));
    }

    /// As they were in hand, and not as they were when they were looked at.
    #[test]
    fn what_came_and_went_between_two_messages_counts_with_its_time() {
        let mut world = World::new();
        let told = |gateway: &str, in_flight, calls, in_hand_milliseconds| {
            let mut demand = demand(gateway, &[("d/f", 0, in_flight, calls)]);
            let function = demand.functions.get_mut("d/f").unwrap();
            function.in_hand_milliseconds = in_hand_milliseconds;
            demand
        };
        let total = |world: &World| {
            let Total { call_seconds, calls } = world.demands.load(world.now, "d/f").total;
            ((call_seconds * 1000.0).round() / 1000.0, calls.round())
        };
        world.demands.heard(world.now, told("a", 2, 900, 70_000));
        assert_eq!(total(&world), (0.0, 0.0), "what was before is not known");
        world.wait(1);
        assert_eq!(total(&world), (2.0, 0.0), "as long as nothing else is told");
        world.demands.heard(world.now, told("a", 0, 940, 75_500));
        assert_eq!(total(&world), (5.5, 40.0));
        world.demands.renewed(world.now, "a", told("a", 0, 900, 70_000));
        world.wait(30);
        assert_eq!(total(&world), (5.5, 40.0), "what the Lease says is older");
        world.demands.heard(world.now, told("b", 1, 10, 10));
        world.demands.heard(world.now, told("a", 0, 941, 75_600));
        world.wait(1);
        assert_eq!(total(&world), (6.6, 41.0));
    }

    /// What the gateway told of the one before may come later than that it is gone.
    #[test]
    fn a_function_that_is_made_anew_begins_anew() {
        let mut world = World::new();
        let told = |began, in_flight, calls, in_hand_milliseconds| {
            let mut demand = demand("a", &[("d/f", 0, in_flight, calls)]);
            let function = demand.functions.get_mut("d/f").unwrap();
            (function.began, function.in_hand_milliseconds) = (began, in_hand_milliseconds);
            demand
        };
        let total = |world: &World| world.demands.load(world.now, "d/f").total;
        world.demands.heard(world.now, told(1, 9, 900, 70_000));
        world.wait(10);
        world.demands.heard(world.now, told(2, 1, 2, 3_000));
        assert_eq!(world.seconds_since_a_call(), Some(0));
        assert_eq!(total(&world), Total { call_seconds: 3.0, calls: 2.0 });
        world.demands.renewed(world.now, "a", told(1, 0, 901, 71_000));
        world.wait(10);
        world.demands.heard(world.now, told(2, 0, 3, 4_000));
        assert_eq!(world.seconds_since_a_call(), Some(0));
        assert_eq!(total(&world), Total { call_seconds: 4.0, calls: 3.0 });
    }

    #[test]
    fn calls_that_came_and_went_unseen_are_calls() {
        let mut world = World::new();
        assert_eq!(world.seconds_since_a_call(), None);
        world.demands.heard(world.now, demand("a", &[("d/f", 0, 1, 7)]));
        world.wait(10);
        world.demands.heard(world.now, demand("a", &[("d/f", 0, 0, 7)]));
        assert_eq!(world.seconds_since_a_call(), Some(10));
        world.wait(10);
        world.demands.heard(world.now, demand("a", &[("d/f", 0, 0, 9)]));
        assert_eq!(world.seconds_since_a_call(), Some(0));
    }
}
