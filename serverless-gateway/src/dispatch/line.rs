//! Which instance takes a call, and which calls wait for one: of one function, as values. Pure.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, VecDeque},
    num::NonZeroU32,
};

/// A call. Later calls have greater ones.
pub(crate) type Ticket = u64;

/// What becomes of a call that comes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry<I> {
    /// This instance takes it.
    Taken(Ticket, I),
    /// It waits.
    Waits(Ticket),
    /// Too many wait already.
    Full,
}

/// The instances of a function, known by an `I`, and the calls that wait for one.
#[derive(Debug)]
pub(super) struct Line<I> {
    instances: BTreeMap<I, Instance>,
    /// The most calls that an instance is given at a time.
    concurrency: Option<NonZeroU32>,
    waiting: VecDeque<Ticket>,
    /// So many may wait.
    length: usize,
    next: Ticket,
    /// The calls that instances have.
    in_flight: u32,
}

#[derive(Debug, Default)]
struct Instance {
    in_flight: u32,
    /// Whether it gets calls. One that does not is kept until those in hand are finished.
    serves: bool,
    /// Whether it refused a connection.
    refuses: bool,
    /// It has as many calls as it may have, by other gateways: the call that was told so last.
    full: Option<Ticket>,
}

impl<I: Ord + Clone> Line<I> {
    pub(super) fn new(length: usize) -> Self {
        let (instances, waiting) = (BTreeMap::new(), VecDeque::new());
        Line { instances, concurrency: None, waiting, length, next: 0, in_flight: 0 }
    }

    /// A call comes. Where calls wait, there is no room: whatever makes some is followed by grants. `random` gives a
    /// number below the one it is given.
    pub(super) fn enter(&mut self, random: impl FnMut(usize) -> usize) -> Entry<I> {
        let ticket = self.next;
        self.next += 1;
        if let Some(instance) = self.take(random) {
            return Entry::Taken(ticket, instance);
        }
        if self.waiting.len() >= self.length {
            return Entry::Full;
        }
        self.waiting.push_back(ticket);
        Entry::Waits(ticket)
    }

    /// A call whose instance has not taken it waits once more, before those that came after it: none of them may get its place
    /// meanwhile.
    pub(super) fn come_back(&mut self, ticket: Ticket, instance: &I) {
        self.release(instance);
        if let Err(place) = self.waiting.binary_search(&ticket) {
            self.waiting.insert(place, ticket);
        }
    }

    /// A call waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket) {
        if let Ok(place) = self.waiting.binary_search(&ticket) {
            self.waiting.remove(place);
        }
    }

    /// The call that has waited longest, if an instance can take it. To be asked until there is none after whatever
    /// makes room: `finish`, `trust`, `may_have_room`, `update`, `come_back`.
    pub(super) fn grant(&mut self, random: impl FnMut(usize) -> usize) -> Option<(Ticket, I)> {
        let ticket = *self.waiting.front()?;
        let instance = self.take(random)?;
        self.waiting.pop_front();
        Some((ticket, instance))
    }

    /// An instance has finished a call: it has room.
    pub(super) fn finish(&mut self, instance: &I) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.full = None;
        }
        self.release(instance);
    }

    /// An instance refuses connections, and gets no calls until it is trusted again. Whether that is news.
    pub(super) fn distrust(&mut self, instance: &I) -> bool {
        let known = self.instances.get_mut(instance);
        known.is_some_and(|known| !std::mem::replace(&mut known.refuses, true))
    }

    /// An instance is to be tried again.
    pub(super) fn trust(&mut self, instance: &I) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.refuses = false;
        }
    }

    /// An instance has all the calls that it may have, as it has told this one.
    pub(super) fn is_full(&mut self, instance: &I, told: Ticket) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.full = Some(told);
        }
    }

    /// It was told to this call long ago, and if to no other since, there may be room.
    pub(super) fn may_have_room(&mut self, instance: &I, told: Ticket) {
        if let Some(known) = self.instances.get_mut(instance) {
            known.full.take_if(|last| *last == told);
        }
    }

    /// These instances get calls, and no others, so many at a time.
    pub(super) fn update<'a>(
        &mut self,
        serving: impl IntoIterator<Item = &'a I>,
        concurrency: Option<NonZeroU32>,
    ) where
        I: 'a,
    {
        self.concurrency = concurrency;
        self.instances.values_mut().for_each(|instance| instance.serves = false);
        for instance in serving {
            self.instances.entry(instance.clone()).or_default().serves = true;
        }
        self.forget();
    }

    /// Whether there is an instance at all that gets calls.
    pub(super) fn serves(&self) -> bool {
        self.instances.values().any(|instance| instance.serves && !instance.refuses)
    }

    pub(super) fn queued(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// The less loaded one of two random instances that have room.
    fn take(&mut self, mut random: impl FnMut(usize) -> usize) -> Option<I> {
        let most = self.concurrency.map_or(u32::MAX, NonZeroU32::get);
        let has_room =
            |i: &Instance| i.serves && !i.refuses && i.full.is_none() && i.in_flight < most;
        let mut free: Vec<_> = self.instances.iter_mut().filter(|(_, i)| has_room(i)).collect();
        let mut draw = || match free.len() {
            0 => None,
            count => Some(free.swap_remove(random(count))),
        };
        let two = draw().into_iter().chain(draw());
        let (key, chosen) = two.max_by_key(|(_, instance)| Reverse(instance.in_flight))?;
        chosen.in_flight += 1;
        self.in_flight += 1;
        Some(key.clone())
    }

    fn release(&mut self, instance: &I) {
        if let Some(known) = self.instances.get_mut(instance).filter(|known| known.in_flight > 0) {
            known.in_flight -= 1;
            self.in_flight -= 1;
        }
        self.forget();
    }

    fn forget(&mut self) {
        self.instances.retain(|_, instance| instance.serves || instance.in_flight > 0);
    }
}
