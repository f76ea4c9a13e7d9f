//! Who of a network segment has an address: a function of what was heard on the segment and of the time.
//!
//! Who has it says so every second, to all. Of all that want it the one whose weight for it is the greatest has it: who
//! hears one with a lesser weight takes it, and who hears one with a greater weight lets it go. Who hears nobody for a while
//! asks for it, and takes it if nobody answers: the kernel of who has it answers, whether anybody announces it or not.
//!
//! Guarantees: of hosts that hear each other at most one has an address, but for the moment in which one takes over
//! from another ([`SETTLING`], and what a message needs). Hosts that were cut off from each other are back to that within a
//! [`BEAT`]. An address whose host is gone is another's within [`SILENCE`] and [`ANSWERING`]; one whose host lives on
//! without this program, [`LIFETIME`] and that later. Nothing but the segment is asked: an API server that is away changes
//! nothing.
//!
//! Assumption: all hosts compute the same weights.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
    time::Duration,
};

use netlink::Mac;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

/// How often it is said who has an address.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// For how long the kernel keeps an address of which nothing is said any more. It takes about one second more.
pub(crate) const LIFETIME: Duration = Duration::from_secs(3);
/// Who says nothing for so long may be gone.
pub(crate) const SILENCE: Duration = Duration::from_secs(3);
/// An answer takes no longer.
pub(crate) const ANSWERING: Duration = Duration::from_millis(500);
/// Until it is asked again.
const ASKING: Duration = Duration::from_millis(200);
/// What serves at an address needs a moment, until which another one had better go on.
pub(crate) const SETTLING: Duration = Duration::from_millis(500);
/// Two that do not give way to each other fill no segment.
const RETORT: Duration = Duration::from_millis(200);

/// What is heard of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// I have it.
    Mine,
    /// I was asked for it: I have it.
    Answer,
    /// Who has it? I don't, or not any more.
    Question,
}

/// What is to be done with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Have it from now on, or for longer, for [`LIFETIME`].
    Hold(IpAddr),
    /// Have it no more.
    Release(IpAddr),
    /// Say this of it to all.
    Say(Said, IpAddr),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Hold(address) => write!(f, "holding {address}"),
            Action::Release(address) => write!(f, "letting {address} go"),
            Action::Say(_, address) => write!(f, "telling of {address}"),
        }
    }
}

/// The part of one host.
#[derive(Debug)]
pub struct Election {
    mac: Mac,
    claims: BTreeMap<IpAddr, Claim>,
    ticked: Option<Instant>,
}

/// What is known of an address that is wanted here.
#[derive(Clone, Copy, Debug)]
enum Claim {
    /// Another one has it, or has had it until a moment ago.
    Others { whose: Mac, heard: Instant },
    /// Nobody is known to have it.
    Open { unanswered_since: Instant, asked: Option<Instant> },
    /// It is here.
    Here { announced: Option<Instant>, next: Instant },
}

impl Election {
    /// Nothing is wanted yet.
    pub fn new(mac: Mac) -> Self {
        Self { mac, claims: BTreeMap::new(), ticked: None }
    }

    /// These are all that this host can serve. Of those that it has and can't, another one takes care: that nobody
    /// needs to wait for it is said.
    pub fn want(&mut self, addresses: &BTreeSet<IpAddr>, now: Instant) -> Vec<Action> {
        let gone: Vec<_> =
            self.claims.keys().filter(|it| !addresses.contains(it)).copied().collect();
        for address in addresses {
            self.claims.entry(*address).or_insert(Claim::open(now));
        }
        gone.into_iter().flat_map(|address| self.leave(address)).collect()
    }

    /// Wants nothing any more.
    pub fn leave_all(&mut self) -> Vec<Action> {
        let all: Vec<_> = self.claims.keys().copied().collect();
        all.into_iter().flat_map(|address| self.leave(address)).collect()
    }

    fn leave(&mut self, address: IpAddr) -> Vec<Action> {
        match self.claims.remove(&address) {
            Some(Claim::Here { .. }) => {
                vec![Action::Release(address), Action::Say(Said::Question, address)]
            }
            _ => Vec::new(),
        }
    }

    /// The addresses that this host has.
    pub fn held(&self) -> BTreeSet<IpAddr> {
        let held = self.claims.iter().filter(|(_, claim)| matches!(claim, Claim::Here { .. }));
        held.map(|(address, _)| *address).collect()
    }

    /// It could not be had. It is asked for again after a while.
    pub fn failed(&mut self, address: IpAddr, now: Instant) {
        if let Some(claim) = self.claims.get_mut(&address) {
            *claim = Claim::Others { whose: self.mac, heard: now };
        }
    }

    /// What another host says.
    pub fn hear(&mut self, said: Said, address: IpAddr, from: Mac, now: Instant) -> Option<Action> {
        if from == self.mac {
            return None;
        }
        let is_better = weight(from, address) > weight(self.mac, address);
        let claim = self.claims.get_mut(&address)?;
        match (said, &mut *claim) {
            (Said::Mine, Claim::Here { .. }) if is_better => {
                *claim = Claim::Others { whose: from, heard: now };
                return Some(Action::Release(address));
            }
            (Said::Mine, Claim::Here { announced: Some(announced), next }) => {
                *next = (*next).min((*announced + RETORT).max(now));
            }
            (Said::Mine, Claim::Here { announced: None, .. }) => {}
            (Said::Mine, Claim::Others { whose, heard }) if is_better => {
                (*whose, *heard) = (from, now);
            }
            // This host may have it still, from before this program began.
            (Said::Mine, Claim::Open { .. }) if is_better => {
                *claim = Claim::Others { whose: from, heard: now };
                return Some(Action::Release(address));
            }
            // The one that has it will say so.
            (Said::Mine, Claim::Others { .. }) => {}
            (Said::Mine, Claim::Open { .. }) => {
                *claim = Claim::Here { announced: None, next: now + SETTLING };
                return Some(Action::Hold(address));
            }
            // Whoever announces nothing will not keep it for long.
            (Said::Answer, Claim::Open { unanswered_since, .. }) => *unanswered_since = now,
            (Said::Question, Claim::Others { whose, .. }) if *whose == from => {
                *claim = Claim::open(now);
            }
            // It will take it before we do.
            (Said::Question, Claim::Open { unanswered_since, .. }) if is_better => {
                *unanswered_since = now;
            }
            _ => {}
        }
        None
    }

    /// What is due by now.
    pub fn tick(&mut self, now: Instant) -> Vec<Action> {
        // The kernel has let go of what this host had, and another one has it.
        let slept = self.ticked.replace(now).is_some_and(|before| now - before >= LIFETIME);
        let mut due = Vec::new();
        for (address, claim) in &mut self.claims {
            match claim {
                Claim::Here { .. } if slept => {
                    due.push(Action::Release(*address));
                    *claim = Claim::open(now);
                }
                Claim::Open { .. } if slept => *claim = Claim::open(now),
                _ => {}
            }
            claim.tick(*address, now, &mut due);
        }
        due
    }

    /// When the next thing is due.
    pub fn next(&self) -> Option<Instant> {
        self.claims.values().map(Claim::next).min()
    }
}

impl Claim {
    fn open(now: Instant) -> Self {
        Claim::Open { unanswered_since: now, asked: None }
    }

    fn tick(&mut self, address: IpAddr, now: Instant, due: &mut Vec<Action>) {
        if self.next() > now {
            return;
        }
        match self {
            Claim::Others { .. } => {
                *self = Claim::Open { unanswered_since: now, asked: Some(now) };
                due.push(Action::Say(Said::Question, address));
            }
            Claim::Open { unanswered_since, asked: Some(_) }
                if now - *unanswered_since >= ANSWERING =>
            {
                *self = Claim::Here { announced: Some(now), next: now + BEAT };
                due.extend([Action::Hold(address), Action::Say(Said::Mine, address)]);
            }
            Claim::Open { unanswered_since, asked } => {
                *unanswered_since = asked.map_or(now, |_| *unanswered_since);
                *asked = Some(now);
                due.push(Action::Say(Said::Question, address));
            }
            Claim::Here { announced, next } => {
                (*announced, *next) = (Some(now), now + BEAT);
                due.extend([Action::Hold(address), Action::Say(Said::Mine, address)]);
            }
        }
    }

    fn next(&self) -> Instant {
        match *self {
            Claim::Others { heard, .. } => heard + SILENCE,
            Claim::Open { unanswered_since, asked: None } => unanswered_since,
            Claim::Open { unanswered_since, asked: Some(asked) } => {
                (asked + ASKING).min(unanswered_since + ANSWERING)
            }
            Claim::Here { next, .. } => next,
        }
    }
}

/// How much a host is to have an address.
fn weight(mac: Mac, address: IpAddr) -> [u8; 32] {
    let hash = Sha256::new().chain_update(mac.0);
    let hash = match address {
        IpAddr::V4(address) => hash.chain_update(address.octets()),
        IpAddr::V6(address) => hash.chain_update(address.octets()),
    };
    hash.finalize().into()
}

#[cfg(test)]
mod histories;
#[cfg(test)]
mod tests;
