//! The queues of a priority level, without clock or I/O: who executes, who waits where, and who is next
//! (Kubernetes: `k8s.io/apiserver/pkg/util/flowcontrol/fairqueuing/queueset`, whose `doc.go` explains the mathematics).
//!
//! *Fairness*: every queue has a progress meter in seat-seconds. A request is charged what it is going to use by a guess when it
//! begins, and what it has really used when it ends; the next request is that of the queue that would be done with its first one
//! the soonest, if all queues were served at the same time.
//!
//! *Guarantees*: seats in use never exceed the limit, but for one request that alone is wider than it; nobody waits while the
//! next one fits; a queue that has nothing in it takes no memory.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    ops::Bound,
    time::Duration,
};

use super::shuffle;

/// How long a request is thought to take before it has ended.
const GUESS: f64 = 0.003;

/// Which queues there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Shape {
    /// Without any, who finds no seat is refused.
    pub(super) queues: usize,
    /// How many of them a flow may wait in.
    pub(super) hand: usize,
    /// How many may wait in each.
    pub(super) longest: usize,
}

/// Names one that waits.
pub(super) type Ticket = u64;

/// A request that executes.
#[derive(Debug, PartialEq)]
pub(super) struct Run {
    /// None where there were no queues when it came.
    queue: Option<usize>,
    seats: u32,
    since: Duration,
}

/// Where one waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    queue: usize,
    pub(super) ticket: Ticket,
    /// How many are in the queue, this one among them.
    pub(super) length: usize,
}

/// Those who need not wait any longer.
pub(super) type Dispatched = Vec<(Ticket, Run)>;

/// What becomes of one that comes.
#[derive(Debug, PartialEq)]
pub(super) enum Arrival {
    Executes(Run),
    Waits(Place),
    Refused(Refusal),
}

/// Why one is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Refusal {
    /// No seat is left, and there are no queues.
    ConcurrencyLimit,
    QueueFull,
    /// It has waited too long.
    TimeOut,
}

impl Refusal {
    /// As metrics call it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// See the module. Times are since some moment, and never go back.
#[derive(Debug, Default)]
pub(super) struct QueueSet {
    shape: Shape,
    limit: u32,
    /// Those in which something waits or from which something executes.
    queues: BTreeMap<usize, Queue>,
    executing: u32,
    seats_in_use: u32,
    waiting: u32,
    seats_waiting: u32,
    now: Duration,
    /// What each busy queue might have used since the set was idle, in seat-seconds.
    progress: f64,
    /// The queue that was dispatched from last: of equals the next one is taken.
    turn: usize,
    /// How many have come that were dealt a hand.
    dealt: usize,
    tickets: Ticket,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    seats_waiting: u32,
    executing: u32,
    seats_in_use: u32,
    /// The progress at which its next request begins.
    next: f64,
}

#[derive(Debug)]
struct Waiting {
    ticket: Ticket,
    seats: u32,
    /// The progress when it came.
    arrived: f64,
}

/// What there is to tell about a queue.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct QueueDump {
    pub(super) index: usize,
    pub(super) waiting: usize,
    pub(super) executing: u32,
    pub(super) seats_in_use: u32,
    pub(super) next: f64,
    pub(super) seats_waiting: u32,
    pub(super) work_waiting: f64,
}

impl QueueSet {
    /// A request comes, of a flow of this hash.
    pub(super) fn arrive(&mut self, now: Duration, hash: u64, seats: u32) -> (Arrival, Dispatched) {
        self.sync(now);
        if self.shape.queues == 0 {
            let arrival = if self.fits(seats) {
                Arrival::Executes(self.begin(None, seats))
            } else {
                Arrival::Refused(Refusal::ConcurrencyLimit)
            };
            return (arrival, Vec::new());
        }
        let index = self.shortest(hash);
        if self.waiting == 0 && self.seats_in_use < self.limit && self.fits(seats) {
            let progress = self.progress;
            let queue = self.queue(index);
            queue.next = queue.next.max(progress);
            self.turn = index;
            return (Arrival::Executes(self.begin(Some(index), seats)), Vec::new());
        }
        if self.queues.get(&index).map_or(0, |it| it.waiting.len()) >= self.shape.longest {
            return (Arrival::Refused(Refusal::QueueFull), Vec::new());
        }
        let place = self.enqueue(index, seats);
        let mut dispatched = self.dispatch();
        // It may go before others that are too wide for what is left.
        match dispatched.iter().position(|(it, _)| *it == place.ticket) {
            Some(own) => (Arrival::Executes(dispatched.swap_remove(own).1), dispatched),
            None => (Arrival::Waits(place), dispatched),
        }
    }

    /// A request has ended.
    pub(super) fn finish(&mut self, now: Duration, run: &Run) -> Dispatched {
        self.sync(now);
        self.executing -= 1;
        self.seats_in_use -= run.seats;
        if let Some(queue) = run.queue.and_then(|index| self.queues.get_mut(&index)) {
            queue.executing -= 1;
            queue.seats_in_use -= run.seats;
            // What was charged by a guess is now known.
            let took = now.saturating_sub(run.since).as_secs_f64();
            queue.next -= f64::from(run.seats) * (GUESS - took);
        }
        self.settle(run.queue);
        self.dispatch()
    }

    /// One goes that waits; it must not have been dispatched.
    pub(super) fn cancel(&mut self, now: Duration, place: Place) -> Dispatched {
        self.sync(now);
        let Some(queue) = self.queues.get_mut(&place.queue) else { return Vec::new() };
        let found = queue.waiting.iter().position(|it| it.ticket == place.ticket);
        let Some(gone) = found.and_then(|at| queue.waiting.remove(at)) else { return Vec::new() };
        queue.seats_waiting -= gone.seats;
        self.waiting -= 1;
        self.seats_waiting -= gone.seats;
        self.settle(Some(place.queue));
        self.dispatch()
    }

    /// Goes on with other queues and another limit. Who waits in a queue that is there no longer goes on to do so.
    pub(super) fn configure(&mut self, now: Duration, shape: Shape, limit: u32) -> Dispatched {
        self.sync(now);
        (self.shape, self.limit) = (shape, limit);
        self.dispatch()
    }

    /// The seats that are in use or waited for.
    pub(super) fn demand(&self) -> u32 {
        self.seats_in_use + self.seats_waiting
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting
    }

    pub(super) fn executing(&self) -> u32 {
        self.executing
    }

    pub(super) fn dump(&self) -> Vec<QueueDump> {
        let dump = |(&index, queue): (&usize, &Queue)| QueueDump {
            index,
            waiting: queue.waiting.len(),
            executing: queue.executing,
            seats_in_use: queue.seats_in_use,
            next: queue.next,
            seats_waiting: queue.seats_waiting,
            work_waiting: work(queue.seats_waiting),
        };
        self.queues.iter().map(dump).collect()
    }

    /// Takes in that all has been as it is until now.
    fn sync(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.now).as_secs_f64();
        self.now = self.now.max(now);
        let busy = u32::try_from(self.queues.len()).unwrap_or(u32::MAX);
        if busy > 0 {
            let rate = f64::from(self.demand().min(self.limit)) / f64::from(busy);
            self.progress += rate * passed;
        }
    }

    /// The queue of a flow's hand in which the least waits. The hand is gone through from another card each time, so that none
    /// is preferred.
    fn shortest(&mut self, hash: u64) -> usize {
        let hand = shuffle::deal(hash, self.shape.queues, self.shape.hand);
        let cards = hand.cards();
        let (first, last) = cards.split_at(self.dealt % cards.len());
        self.dealt = self.dealt.wrapping_add(1);
        let waiting = |card: &&usize| self.queues.get(*card).map_or(0, |queue| queue.seats_waiting);
        last.iter().chain(first).min_by_key(waiting).copied().unwrap_or_default()
    }

    /// A queue, which begins now if it was not busy.
    fn queue(&mut self, index: usize) -> &mut Queue {
        let progress = self.progress;
        let queue = self.queues.entry(index);
        queue.or_insert_with(|| Queue { next: progress, ..Queue::default() })
    }

    fn enqueue(&mut self, index: usize, seats: u32) -> Place {
        self.tickets += 1;
        let (ticket, arrived) = (self.tickets, self.progress);
        let queue = self.queue(index);
        queue.waiting.push_back(Waiting { ticket, seats, arrived });
        queue.seats_waiting += seats;
        queue.bound();
        let length = queue.waiting.len();
        self.waiting += 1;
        self.seats_waiting += seats;
        Place { queue: index, ticket, length }
    }

    fn fits(&self, seats: u32) -> bool {
        if seats > self.limit {
            // It never would.
            return self.executing == 0;
        }
        self.seats_in_use + seats <= self.limit
    }

    fn begin(&mut self, index: Option<usize>, seats: u32) -> Run {
        self.executing += 1;
        self.seats_in_use += seats;
        if let Some(queue) = index.and_then(|index| self.queues.get_mut(&index)) {
            queue.executing += 1;
            queue.seats_in_use += seats;
            queue.next += work(seats);
        }
        Run { queue: index, seats, since: self.now }
    }

    fn dispatch(&mut self) -> Dispatched {
        let mut dispatched = Vec::new();
        while self.waiting > 0 && self.seats_in_use < self.limit {
            let Some((index, seats)) = self.next() else { break };
            if !self.fits(seats) {
                break;
            }
            let queue = self.queues.get_mut(&index).and_then(|queue| {
                queue.seats_waiting -= seats;
                queue.waiting.pop_front()
            });
            let Some(first) = queue else { break };
            self.waiting -= 1;
            self.seats_waiting -= seats;
            self.turn = index;
            dispatched.push((first.ticket, self.begin(Some(index), seats)));
            self.settle(Some(index));
        }
        dispatched
    }

    /// The queue whose first request would be done the soonest, and the seats that this wants.
    fn next(&self) -> Option<(usize, u32)> {
        let after = self.queues.range((Bound::Excluded(self.turn), Bound::Unbounded));
        let in_turn = after.chain(self.queues.range(..=self.turn));
        let heads = in_turn.filter_map(|(index, queue)| {
            let seats = queue.waiting.front()?.seats;
            Some((*index, seats, queue.next + work(seats)))
        });
        let soonest = heads.min_by(|(.., one), (.., other)| one.total_cmp(other));
        soonest.map(|(index, seats, _)| (index, seats))
    }

    /// A queue with nothing in it goes, and with the last one the progress: nobody is ahead of or behind another then.
    fn settle(&mut self, index: Option<usize>) {
        let Some(index) = index else { return };
        let Some(queue) = self.queues.get_mut(&index) else { return };
        queue.bound();
        if queue.waiting.is_empty() && queue.executing == 0 {
            self.queues.remove(&index);
        }
        if self.queues.is_empty() {
            self.progress = 0.0;
        }
    }
}

impl Queue {
    /// Nothing begins before it came: what a queue does not use it can't save up.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.next = self.next.max(first.arrived);
        }
    }
}

/// What a request is charged when it begins, in seat-seconds.
fn work(seats: u32) -> f64 {
    f64::from(seats) * GUESS
}
