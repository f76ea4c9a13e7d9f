//! Tells whoever scales functions which calls this gateway has in hand: over Redis, and in the annotation of the Lease
//! that the gateway holds for as long as it lives. What Redis carries may be lost, or heard by nobody.

use std::{collections::BTreeMap, time::Duration};

use listwatch::{Demand, FunctionDemand, ListWatch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{functions::Functions, lease::Lease};

/// How often to tell, while there is anything to tell.
const PERIOD: Duration = Duration::from_secs(1);
/// The least time between two messages, and between two writes of the Lease, without and with Redis: calls that come
/// meanwhile are told together. With Redis the Lease is believed only 5 s after the last message.
const PAUSE: Duration = Duration::from_millis(50);
const LEASE_PAUSE: Duration = Duration::from_millis(250);
const LEASE_PAUSE_WITH_REDIS: Duration = Duration::from_secs(2);

/// What has been told.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, FunctionDemand>);

impl Told {
    /// What there is to tell: functions with calls in hand, and those of which something else was told before. Nothing
    /// while there are none.
    fn news(
        &mut self,
        mut now: BTreeMap<String, FunctionDemand>,
    ) -> Option<BTreeMap<String, FunctionDemand>> {
        let mut before = std::mem::replace(&mut self.0, now.clone());
        now.retain(|name, demand| {
            !demand.is_idle() || before.remove(name).unwrap_or_default() != *demand
        });
        // Functions that are no more: they have no calls.
        before.retain(|name, demand| !demand.is_idle() && !self.0.contains_key(name));
        (!now.is_empty() || !before.is_empty()).then_some(now)
    }
}

/// Tells until shutdown; then gives the Lease up. `alive` is cancelled when the Lease is there.
pub async fn tell(
    functions: &Functions,
    listwatch: &ListWatch,
    identity: &str,
    (alive, shutdown): (&CancellationToken, &CancellationToken),
) {
    let mut lease = Lease::new(listwatch.client().clone(), identity, alive.clone());
    let reported = report(functions, listwatch, identity, &mut lease);
    tokio::select! {
        () = reported => {}
        () = shutdown.cancelled() => {}
    }
    lease.give_up().await;
}

async fn report(functions: &Functions, listwatch: &ListWatch, identity: &str, lease: &mut Lease) {
    let (mut over_redis, mut in_lease) = (Told::default(), Told::default());
    let demand = |functions| Demand { gateway: identity.to_owned(), functions };
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut next_write = Instant::now();
    loop {
        tokio::select! {
            () = functions.woken() => {}
            _ = ticks.tick() => {}
        }
        let begin = Instant::now();
        let redis = listwatch.redis_connected();
        if redis && let Some(news) = over_redis.news(functions.demand()) {
            listwatch.announce_demand(&demand(news));
        }
        if begin >= next_write {
            let news = in_lease.news(functions.demand());
            if news.is_some() {
                next_write = begin + if redis { LEASE_PAUSE_WITH_REDIS } else { LEASE_PAUSE };
            }
            lease.hold(demand(news.unwrap_or_default())).await;
        }
        sleep_until(if redis { begin + PAUSE } else { next_write }).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(queued: u32, in_flight: u32, arrived: u64) -> FunctionDemand {
        FunctionDemand { queued, in_flight, arrived, ..FunctionDemand::default() }
    }

    fn all(functions: &[(&str, FunctionDemand)]) -> BTreeMap<String, FunctionDemand> {
        functions.iter().map(|(name, demand)| ((*name).to_owned(), *demand)).collect()
    }

    #[test]
    fn what_is_not_idle_is_told_each_time_and_its_end_once() {
        let mut told = Told::default();
        let mut check = |now: &[(&str, FunctionDemand)], expected: Option<&[_]>| {
            assert_eq!(told.news(all(now)), expected.map(all));
        };
        let idle = ("d/b", calls(0, 0, 0));
        check(&[idle], None);
        let busy = ("d/a", calls(1, 0, 1));
        check(&[busy, idle], Some(&[busy]));
        check(&[busy, idle], Some(&[busy]));
        let done = ("d/a", calls(0, 0, 1));
        check(&[done, idle], Some(&[done]));
        check(&[done, idle], None);
        // Calls that came and went between two looks.
        let short = ("d/b", calls(0, 0, 3));
        check(&[done, short], Some(&[short]));
        check(&[done, short], None);
    }

    #[test]
    fn a_function_that_is_no_more_has_no_calls() {
        let mut told = Told::default();
        told.news(all(&[("d/a", calls(1, 0, 1))]));
        assert_eq!(told.news(BTreeMap::new()), Some(BTreeMap::new()));
        assert_eq!(told.news(BTreeMap::new()), None);
    }
}
