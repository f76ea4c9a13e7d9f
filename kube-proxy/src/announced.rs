//! What addresses of load balancers this host has at the moment, for those who look at its addresses now and then only.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
    net::IpAddr,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// Who has seen an address here may not have looked again for so long: those who look do it every ten seconds, and the
/// kernel keeps what is not renewed for a few.
const REMEMBERED: Duration = Duration::from_secs(30);

/// Shared by who announces addresses and who serves at them.
#[derive(Debug, Default)]
pub struct Announced(Mutex<Sets>);

#[derive(Debug, Default)]
struct Sets {
    /// All that the cluster gives, wherever they are announced.
    given: BTreeSet<IpAddr>,
    /// Those that it gives no more, each since when. A host may come to have one of them as its own.
    given_before: BTreeMap<IpAddr, Instant>,
    held: BTreeSet<IpAddr>,
}

impl Announced {
    /// Gives what this host had before.
    pub fn set(
        &self,
        given: impl IntoIterator<Item = IpAddr>,
        held: BTreeSet<IpAddr>,
    ) -> BTreeSet<IpAddr> {
        let mut sets = self.0.lock();
        sets.give(given.into_iter().collect(), Instant::now());
        mem::replace(&mut sets.held, held)
    }

    /// Of the host's addresses, as they were seen, those that are its own.
    pub(crate) fn own(&self, seen: &BTreeSet<IpAddr>) -> BTreeSet<IpAddr> {
        let (sets, now) = (self.0.lock(), Instant::now());
        seen.iter().copied().filter(|address| !sets.is_lent(address, now)).collect()
    }

    /// Those that it has to serve at.
    pub(crate) fn held(&self) -> BTreeSet<IpAddr> {
        self.0.lock().held.clone()
    }
}

impl Sets {
    fn give(&mut self, given: BTreeSet<IpAddr>, now: Instant) {
        let before = mem::replace(&mut self.given, given);
        self.given_before.extend(before.into_iter().map(|address| (address, now)));
        let given = &self.given;
        self.given_before
            .retain(|address, since| !given.contains(address) && now - *since < REMEMBERED);
    }

    fn is_lent(&self, address: &IpAddr, now: Instant) -> bool {
        let since = self.given_before.get(address);
        self.given.contains(address) || since.is_some_and(|since| now - *since < REMEMBERED)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_before_is_put_right() {
        let set = |last: &[u8]| -> BTreeSet<IpAddr> {
            let of = |last: &u8| [format!("192.0.2.{last}"), format!("fd00::{last}")];
            last.iter().flat_map(of).map(|ip| ip.parse().unwrap()).collect()
        };
        let announced = Announced::default();
        assert_eq!(announced.set(set(&[64, 65]), set(&[64])), set(&[]));
        let own = |seen: &[u8]| announced.own(&set(seen));
        assert_eq!(own(&[1, 64, 65]), set(&[1]));
        assert_eq!(announced.held(), set(&[64]));
        // What is given goes on being so, however long nothing changes.
        advance(REMEMBERED * 2).await;
        assert_eq!(own(&[1, 64, 65]), set(&[1]));
        // Its Service is gone; the address was seen a moment ago.
        assert_eq!(announced.set(set(&[]), set(&[])), set(&[64]));
        assert_eq!(own(&[1, 64]), set(&[1]));
        // Who has it now has it for good.
        advance(REMEMBERED).await;
        assert_eq!(own(&[1, 64]), set(&[1, 64]));
    }
}
