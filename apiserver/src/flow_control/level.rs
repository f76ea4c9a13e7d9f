//! A priority level: who has a seat, and who waits for one. A seat is given back wherever its holder ends, and a place in a
//! queue wherever the wait for it does.

use std::{
    collections::HashMap,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::oneshot, time::Instant};

use super::{
    allocation::Claim,
    demand::{Demand, DemandStats},
    dropped::Dropped,
    plan::LevelPlan,
    queue_set::{Arrival, Dispatched, Place, QueueDump, QueueSet, Refusal, Run, Ticket},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Level {
    /// Since when its times are counted.
    beginning: Instant,
    settings: Mutex<Settings>,
    seats: Seats,
    widest: AtomicU32,
    dropped: Mutex<Dropped>,
    ended: Ended,
}

#[derive(Debug)]
struct Settings {
    plan: LevelPlan,
    demand: DemandStats,
}

#[derive(Debug)]
enum Seats {
    /// As many as are wanted: they are but counted.
    Any(Count),
    /// The lock is held for as long as it takes to count.
    Limited(Box<Mutex<Held>>),
}

#[derive(Debug, Default)]
struct Count {
    executing: AtomicU32,
    in_use: AtomicU32,
    most: AtomicU32,
}

#[derive(Default)]
struct Held {
    set: QueueSet,
    demand: Demand,
    /// Those in queues.
    waiting: HashMap<Ticket, oneshot::Sender<Seat>>,
}

/// What has become of requests since the start.
#[derive(Debug, Default)]
struct Ended {
    dispatched: AtomicU32,
    rejected: AtomicU32,
    timed_out: AtomicU32,
    cancelled: AtomicU32,
}

/// What there is to tell about a level.
#[derive(Debug)]
pub(super) struct LevelDump {
    pub(super) queues: Vec<QueueDump>,
    pub(super) waiting: u32,
    pub(super) executing: u32,
    pub(super) dispatched: u32,
    pub(super) rejected: u32,
    pub(super) timed_out: u32,
    pub(super) cancelled: u32,
}

/// What a request gets.
pub(super) enum Entry {
    Seat(Seat),
    Wait(Wait),
    Refused(Refusal),
}

/// Seats of a level, for as long as this is held.
pub(super) struct Seat {
    level: Arc<Level>,
    taken: Taken,
}

enum Taken {
    Counted(u32),
    Run(Run),
}

/// A place in a queue, for as long as this is held.
pub(super) struct Wait {
    level: Arc<Level>,
    pub(super) place: Place,
    seat: oneshot::Receiver<Seat>,
    /// Whether it is given up because it takes too long, and not because nobody waits any more.
    is_late: bool,
}

impl Level {
    pub(super) fn new(plan: &LevelPlan) -> Self {
        let seats = match plan.shape {
            None => Seats::Any(Count::default()),
            Some(_) => Seats::Limited(Box::default()),
        };
        Self {
            beginning: Instant::now(),
            settings: Mutex::new(Settings { plan: plan.clone(), demand: DemandStats::default() }),
            seats,
            widest: AtomicU32::new(plan.widest),
            dropped: Mutex::default(),
            ended: Ended::default(),
        }
    }

    /// Goes by another plan from the next allocation on.
    pub(super) fn plan(&self, plan: &LevelPlan) {
        self.widest.store(plan.widest, Ordering::Relaxed);
        self.settings.lock().plan.clone_from(plan);
    }

    /// Takes seats, of which a request may have so many: no more than [`Self::widest`].
    pub(super) fn enter(self: &Arc<Self>, hash: u64, seats: u32) -> Entry {
        let held = match &self.seats {
            Seats::Any(count) => {
                count.take(seats);
                return Entry::Seat(Seat { level: self.clone(), taken: Taken::Counted(seats) });
            }
            Seats::Limited(held) => held,
        };
        let mut held = held.lock();
        let now = self.beginning.elapsed();
        let (arrival, dispatched) = held.set.arrive(now, hash, seats);
        held.note(now);
        let entry = match arrival {
            Arrival::Executes(run) => {
                Entry::Seat(Seat { level: self.clone(), taken: Taken::Run(run) })
            }
            Arrival::Refused(why) => Entry::Refused(why),
            Arrival::Waits(place) => {
                let (sender, seat) = oneshot::channel();
                held.waiting.insert(place.ticket, sender);
                Entry::Wait(Wait { level: self.clone(), place, seat, is_late: false })
            }
        };
        let told = held.called(self, dispatched);
        drop(held);
        tell(told);
        entry
    }

    /// How many seats a request may have.
    pub(super) fn widest(&self) -> u32 {
        self.widest.load(Ordering::Relaxed)
    }

    /// Whether not everybody gets a seat at once.
    pub(super) fn is_limited(&self) -> bool {
        matches!(self.seats, Seats::Limited(_))
    }

    /// Ends the period of its demand; says what it claims now.
    pub(super) fn claim(&self) -> Claim {
        let mut settings = self.settings.lock();
        let Settings { plan, demand } = &mut *settings;
        match &self.seats {
            Seats::Any(count) => count.end(demand),
            Seats::Limited(held) => held.lock().demand.end(self.beginning.elapsed(), demand),
        }
        let &mut LevelPlan { shape, nominal, min, max, .. } = plan;
        Claim { is_exempt: shape.is_none(), nominal, min, max, demand: *demand }
    }

    /// Goes on with this many seats.
    pub(super) fn allocate(self: &Arc<Self>, seats: u32) {
        let shape = self.settings.lock().plan.shape;
        if let (Seats::Limited(held), Some(shape)) = (&self.seats, shape) {
            self.change(held, |set, now| set.configure(now, shape, seats));
        }
    }

    /// Says after how many seconds who is refused should come again.
    pub(super) fn refuse(&self, why: Refusal) -> i32 {
        let count = match why {
            Refusal::TimeOut => &self.ended.timed_out,
            _ => &self.ended.rejected,
        };
        count.fetch_add(1, Ordering::Relaxed);
        let after = self.dropped.lock().record(self.beginning.elapsed().as_secs());
        i32::try_from(after).unwrap_or(i32::MAX)
    }

    pub(super) fn dispatch(&self) {
        self.ended.dispatched.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn dump(&self) -> LevelDump {
        let (queues, waiting, executing) = match &self.seats {
            Seats::Any(count) => (Vec::new(), 0, count.executing.load(Ordering::Relaxed)),
            Seats::Limited(held) => {
                let held = held.lock();
                (held.set.dump(), held.set.waiting(), held.set.executing())
            }
        };
        let count = |of: &AtomicU32| of.load(Ordering::Relaxed);
        LevelDump {
            queues,
            waiting,
            executing,
            dispatched: count(&self.ended.dispatched),
            rejected: count(&self.ended.rejected),
            timed_out: count(&self.ended.timed_out),
            cancelled: count(&self.ended.cancelled),
        }
    }

    fn change(
        self: &Arc<Self>,
        held: &Mutex<Held>,
        change: impl FnOnce(&mut QueueSet, Duration) -> Dispatched,
    ) {
        let mut held = held.lock();
        let now = self.beginning.elapsed();
        let dispatched = change(&mut held.set, now);
        held.note(now);
        let told = held.called(self, dispatched);
        drop(held);
        tell(told);
    }
}

/// Without the lock: a seat whose taker has gone is given back at once.
fn tell(told: Vec<(oneshot::Sender<Seat>, Seat)>) {
    for (sender, seat) in told {
        drop(sender.send(seat));
    }
}

impl Held {
    fn note(&mut self, now: Duration) {
        self.demand.set(now, self.set.demand());
    }

    fn called(
        &mut self,
        level: &Arc<Level>,
        dispatched: Dispatched,
    ) -> Vec<(oneshot::Sender<Seat>, Seat)> {
        let mut told = Vec::new();
        for (ticket, run) in dispatched {
            let sender = self.waiting.remove(&ticket).expect("who waits is known by the ticket");
            told.push((sender, Seat { level: level.clone(), taken: Taken::Run(run) }));
        }
        told
    }
}

impl Count {
    fn take(&self, seats: u32) {
        self.executing.fetch_add(1, Ordering::Relaxed);
        let in_use = self.in_use.fetch_add(seats, Ordering::Relaxed) + seats;
        self.most.fetch_max(in_use, Ordering::Relaxed);
    }

    fn end(&self, demand: &mut DemandStats) {
        let in_use = self.in_use.load(Ordering::Relaxed);
        demand.most = self.most.swap(in_use, Ordering::Relaxed);
    }
}

impl Wait {
    /// The seat, once it is this one's turn; none if it takes longer.
    pub(super) async fn seat(mut self, patience: Duration) -> Option<Seat> {
        let seat = tokio::time::timeout(patience, &mut self.seat).await;
        self.is_late = seat.is_err();
        seat.ok()?.ok()
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let Seats::Limited(held) = &self.level.seats else { return };
        let mut held = held.lock();
        // Otherwise it has been dispatched: its seat goes with the channel.
        if held.waiting.remove(&self.place.ticket).is_none() {
            return;
        }
        let now = self.level.beginning.elapsed();
        let dispatched = held.set.cancel(now, self.place);
        held.note(now);
        let told = held.called(&self.level, dispatched);
        drop(held);
        // Who is late is counted where it is refused.
        if !self.is_late {
            self.level.ended.cancelled.fetch_add(1, Ordering::Relaxed);
        }
        tell(told);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        match (&self.taken, &self.level.seats) {
            (Taken::Run(run), Seats::Limited(held)) => {
                self.level.change(held, |set, now| set.finish(now, run));
            }
            (Taken::Counted(seats), Seats::Any(count)) => {
                count.executing.fetch_sub(1, Ordering::Relaxed);
                count.in_use.fetch_sub(*seats, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("set", &self.set).finish_non_exhaustive()
    }
}
