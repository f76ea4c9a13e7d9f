//! What each gateway says it has to do, and how long that is believed. Pure: the time is given.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use listwatch::Demand;
use tokio::time::Instant;

use super::decision::Load;

/// A gateway whose Lease was not renewed for so long is gone.
const LEASE: Duration = Duration::from_secs(40);
/// Over Redis, calls in hand are told every second. If that stops, the message that they are done was lost.
const SILENCE: Duration = Duration::from_secs(5);

/// All gateways.
#[derive(Debug, Default)]
pub(super) struct Demands {
    gateways: BTreeMap<String, Gateway>,
    /// When a call of a function was last heard of.
    last_calls: BTreeMap<String, Instant>,
}

#[derive(Debug)]
struct Gateway {
    /// When it last gave a sign of life.
    alive: Instant,
    demand: Demand,
    /// When it said so.
    told: Instant,
    /// Whether the demand holds for as long as the gateway lives: in its Lease, it is written whenever it changes.
    holds: bool,
}

impl Demands {
    /// A message over Redis. These functions may have to be looked at.
    pub(super) fn heard(&mut self, now: Instant, demand: Demand) -> BTreeSet<String> {
        self.told(now, demand, false)
    }

    /// A Lease of a gateway as it is now: renewed, and with what its annotation says, if it has one.
    pub(super) fn renewed(
        &mut self,
        now: Instant,
        gateway: &str,
        demand: Option<Demand>,
    ) -> BTreeSet<String> {
        match demand {
            Some(demand) => self.told(now, Demand { gateway: gateway.to_owned(), ..demand }, true),
            None => {
                let known = self.gateways.get_mut(gateway);
                let was_written = known.is_some_and(|gateway| {
                    gateway.alive = now;
                    gateway.holds
                });
                // From here on it tells over Redis.
                let nothing = Demand { gateway: gateway.to_owned(), ..Demand::default() };
                if was_written { self.told(now, nothing, false) } else { BTreeSet::new() }
            }
        }
    }

    /// The gateway has given its Lease up.
    pub(super) fn gone(&mut self, gateway: &str) -> BTreeSet<String> {
        let gateway = self.gateways.remove(gateway);
        gateway.into_iter().flat_map(|gateway| gateway.demand.functions.into_keys()).collect()
    }

    /// What all gateways have to do for a function.
    pub(super) fn load(&self, now: Instant, function: &str) -> Load {
        let believed = self.gateways.values().filter(|gateway| gateway.is_believed(now));
        let in_hand = believed.filter_map(|gateway| gateway.demand.functions.get(function));
        Load {
            in_hand: in_hand.map(|calls| calls.queued.saturating_add(calls.in_flight)).sum(),
            last_call: self.last_calls.get(function).copied(),
        }
    }

    pub(super) fn forget(&mut self, function: &str) {
        self.last_calls.remove(function);
    }

    fn told(&mut self, now: Instant, demand: Demand, holds: bool) -> BTreeSet<String> {
        let before = self.gateways.get(&demand.gateway).map(|gateway| &gateway.demand);
        let mut concerned = BTreeSet::new();
        for (function, calls) in &demand.functions {
            let arrived =
                before.and_then(|demand| demand.functions.get(function)).map(|c| c.arrived);
            if !calls.is_idle() || arrived != Some(calls.arrived) {
                self.last_calls.insert(function.clone(), now);
            }
            concerned.insert(function.clone());
        }
        concerned.extend(before.into_iter().flat_map(|demand| demand.functions.keys().cloned()));
        let gateway = demand.gateway.clone();
        self.gateways.insert(gateway, Gateway { alive: now, demand, told: now, holds });
        self.gateways.retain(|_, gateway| now - gateway.alive < LEASE);
        concerned
    }
}

impl Gateway {
    fn is_believed(&self, now: Instant) -> bool {
        now - self.alive < LEASE && (self.holds || now - self.told < SILENCE)
    }
}

#[cfg(test)]
mod tests {
    use listwatch::FunctionDemand;

    use super::*;

    fn demand(gateway: &str, functions: &[(&str, u32, u32, u64)]) -> Demand {
        let calls = |queued, in_flight, arrived| FunctionDemand { queued, in_flight, arrived };
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
    fn a_lease_holds_as_long_as_it_is_renewed_and_until_the_gateway_tells_otherwise() {
        let mut world = World::new();
        let busy = demand("a", &[("d/f", 0, 1, 1)]);
        world.demands.renewed(world.now, "a", Some(busy.clone()));
        world.wait(39);
        assert_eq!(world.in_hand(), 1);
        world.wait(1);
        assert_eq!(world.in_hand(), 0, "the gateway is gone");
        world.demands.renewed(world.now, "a", Some(busy.clone()));
        assert_eq!(world.in_hand(), 1);
        assert_eq!(world.demands.renewed(world.now, "a", None), ["d/f".to_owned()].into());
        assert_eq!(world.in_hand(), 0, "from here on it tells over Redis");
        world.demands.heard(world.now, busy);
        world.demands.renewed(world.now, "a", None);
        assert_eq!(world.in_hand(), 1);
        assert_eq!(world.demands.gone("a"), ["d/f".to_owned()].into());
        assert_eq!(world.in_hand(), 0);
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
