use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const ONE: Shape = Shape { queues: 1, hand: 1, longest: 50 };

fn set(shape: Shape, limit: u32) -> QueueSet {
    let mut set = QueueSet::default();
    assert!(set.configure(Duration::ZERO, shape, limit).is_empty());
    set
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[track_caller]
fn executes(set: &mut QueueSet, now: u64, seats: u32) -> Run {
    match set.arrive(at(now), 0, seats) {
        (Arrival::Executes(run), others) if others.is_empty() => run,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn waits(set: &mut QueueSet, now: u64, hash: u64, seats: u32) -> Place {
    match set.arrive(at(now), hash, seats) {
        (Arrival::Waits(place), others) if others.is_empty() => place,
        other => panic!("{other:?}"),
    }
}

#[test]
fn who_finds_no_seat_waits_in_order_until_the_queue_is_full() {
    let mut set = set(Shape { longest: 2, ..ONE }, 1);
    let run = executes(&mut set, 0, 1);
    let (first, second) = (waits(&mut set, 1, 0, 1), waits(&mut set, 1, 0, 1));
    assert_eq!((first.length, second.length), (1, 2));
    assert_eq!(set.arrive(at(1), 0, 1), (Arrival::Refused(Refusal::QueueFull), Vec::new()));
    let next = set.finish(at(2), &run);
    assert_eq!(next.iter().map(|(ticket, _)| *ticket).collect::<Vec<_>>(), [first.ticket]);
    assert_eq!(set.finish(at(3), &next[0].1)[0].0, second.ticket);
}

#[test]
fn without_queues_who_finds_no_seat_is_refused() {
    let mut set = set(Shape::default(), 2);
    let run = executes(&mut set, 0, 2);
    assert_eq!(set.arrive(at(0), 0, 1).0, Arrival::Refused(Refusal::ConcurrencyLimit));
    set.finish(at(1), &run);
    executes(&mut set, 1, 1);
}

#[test]
fn who_is_wider_than_the_limit_executes_alone() {
    let mut set = set(ONE, 2);
    let run = executes(&mut set, 0, 1);
    let wide = waits(&mut set, 0, 0, 5);
    let next = set.finish(at(1), &run);
    assert_eq!(next[0].0, wide.ticket);
    waits(&mut set, 1, 0, 1);
}

#[test]
fn who_goes_lets_others_before_who_fit() {
    let mut set = set(ONE, 2);
    executes(&mut set, 0, 1);
    let wide = waits(&mut set, 0, 0, 2);
    let narrow = waits(&mut set, 0, 0, 1);
    let dispatched = set.cancel(at(1), wide);
    assert_eq!(dispatched[0].0, narrow.ticket);
    assert!(set.cancel(at(1), wide).is_empty(), "it has gone");
    assert_eq!((set.waiting(), set.demand()), (0, 2));
}

#[test]
fn with_more_seats_those_execute_who_have_waited_even_in_queues_that_are_gone() {
    let shape = Shape { queues: 8, hand: 1, longest: 50 };
    let mut set = set(shape, 0);
    let (first, second) = (waits(&mut set, 0, 7, 1), waits(&mut set, 1, 3, 1));
    let dispatched = set.configure(at(2), Shape { queues: 2, ..shape }, 2);
    let mut tickets: Vec<_> = dispatched.iter().map(|(ticket, _)| *ticket).collect();
    tickets.sort_unstable();
    assert_eq!(tickets, [first.ticket, second.ticket]);
}

/// Two flows that always have something waiting, each of its own width and duration.
struct Rivals {
    set: QueueSet,
    kinds: [(u32, u64); 2],
    flow_of: HashMap<Ticket, usize>,
    running: Vec<(Duration, usize, Run)>,
    used: [f64; 2],
}

impl Rivals {
    fn new(limit: u32, kinds: [(u32, u64); 2]) -> Self {
        let shape = Shape { queues: 2, hand: 1, longest: 1000 };
        let set = set(shape, limit);
        Self { set, kinds, flow_of: HashMap::new(), running: Vec::new(), used: [0.0; 2] }
    }

    fn ask(&mut self, now: Duration, flow: usize) {
        let (arrival, dispatched) = self.set.arrive(now, flow as u64, self.kinds[flow].0);
        match arrival {
            Arrival::Waits(place) => drop(self.flow_of.insert(place.ticket, flow)),
            Arrival::Executes(run) => self.run(now, flow, run),
            Arrival::Refused(why) => panic!("{why:?}"),
        }
        self.take(now, dispatched);
    }

    fn run(&mut self, now: Duration, flow: usize, run: Run) {
        self.running.push((now + at(self.kinds[flow].1), flow, run));
    }

    fn take(&mut self, now: Duration, dispatched: Dispatched) {
        for (ticket, run) in dispatched {
            let flow = self.flow_of[&ticket];
            self.run(now, flow, run);
            self.ask(now, flow);
        }
    }

    /// Ends the one that ends first, and tells of which flow it was.
    fn step(&mut self) -> (Duration, usize) {
        let first = (0..self.running.len()).min_by_key(|at| self.running[*at].0).unwrap();
        let (now, flow, run) = self.running.remove(first);
        let (seats, millis) = self.kinds[flow];
        self.used[flow] += f64::from(seats) * at(millis).as_secs_f64();
        let dispatched = self.set.finish(now, &run);
        self.take(now, dispatched);
        (now, flow)
    }
}

/// The share of the first in the seat-seconds of both.
fn share(limit: u32, kinds: [(u32, u64); 2]) -> f64 {
    let mut rivals = Rivals::new(limit, kinds);
    // As a flood comes: all of one are there before the other's first.
    for flow in [0, 1] {
        (0..100).for_each(|_| rivals.ask(Duration::ZERO, flow));
    }
    while rivals.step().0 < Duration::from_secs(120) {}
    rivals.used[0] / (rivals.used[0] + rivals.used[1])
}

#[test]
fn flows_that_want_all_get_the_same_however_wide_and_slow_they_are() {
    for (limit, kinds) in [
        (4, [(1, 10), (1, 10)]),
        (4, [(1, 10), (1, 200)]),
        (4, [(1, 10), (4, 10)]),
        (8, [(1, 300), (3, 20)]),
        (1, [(1, 1), (1, 100)]),
    ] {
        let share = share(limit, kinds);
        assert!((0.4..0.6).contains(&share), "{limit} {kinds:?}: {share}");
    }
}

#[test]
fn a_flood_does_not_keep_waiting_who_comes_now_and_then() {
    let mut rivals = Rivals::new(2, [(1, 100), (1, 1)]);
    (0..500).for_each(|_| rivals.ask(Duration::ZERO, 0));
    for _ in 0..50 {
        let now = rivals.step().0;
        let place = waits(&mut rivals.set, u64::try_from(now.as_millis()).unwrap(), 1, 1);
        let (_, _, run) = rivals.running.remove(0);
        let next = rivals.set.finish(now + at(1), &run);
        assert_eq!(next[0].0, place.ticket);
        let more = rivals.set.finish(now + at(2), &next[0].1);
        rivals.take(now + at(2), more);
    }
}

/// While its long request executes, a flow is charged next to nothing. It can't save that up for a flood of its own.
#[test]
fn what_a_flow_does_not_use_it_can_not_save_up() {
    let mut rivals = Rivals::new(2, [(1, 100), (1, 100)]);
    let (long, _) = rivals.set.arrive(Duration::ZERO, 1, 1);
    assert!(matches!(long, Arrival::Executes(_)));
    (0..100).for_each(|_| rivals.ask(Duration::ZERO, 0));
    let mut now = Duration::ZERO;
    while now < Duration::from_secs(10) {
        now = rivals.step().0;
    }
    (0..100).for_each(|_| rivals.ask(now, 1));
    let ended: Vec<_> = (0..20).map(|_| rivals.step().1).collect();
    let of_the_first = ended.iter().filter(|flow| **flow == 0).count();
    assert!((8..=12).contains(&of_the_first), "{ended:?}");
}

#[test]
fn a_flow_waits_in_the_shortest_of_its_queues() {
    let mut set = set(Shape { queues: 64, hand: 3, longest: 50 }, 0);
    let places: Vec<_> = (0..6).map(|_| waits(&mut set, 0, 12_345, 1)).collect();
    let mut queues: Vec<_> = places.iter().map(|place| place.queue).collect();
    queues.sort_unstable();
    queues.dedup();
    assert_eq!(queues.len(), 3);
    assert!(places.iter().all(|place| place.length <= 2), "{places:?}");
}

#[derive(Clone, Debug)]
enum Op {
    Arrive(u64, u32),
    Finish(usize),
    Cancel(usize),
    Configure(usize, u32),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (any::<u64>(), 1_u32..6).prop_map(|(hash, seats)| Op::Arrive(hash, seats)),
        3 => any::<usize>().prop_map(Op::Finish),
        1 => any::<usize>().prop_map(Op::Cancel),
        1 => (0_usize..9, 0_u32..9).prop_map(|(queues, limit)| Op::Configure(queues, limit)),
    ]
}

/// What a set is to know.
#[derive(Default)]
struct Model {
    running: Vec<Run>,
    waiting: Vec<(Place, u32)>,
}

impl Model {
    fn take(&mut self, dispatched: Dispatched) {
        for (ticket, run) in dispatched {
            let at = self.waiting.iter().position(|(place, _)| place.ticket == ticket);
            let (place, seats) = self.waiting.remove(at.expect("it waited, and once"));
            assert_eq!((run.queue, run.seats), (Some(place.queue), seats));
            self.running.push(run);
        }
    }

    fn apply(&mut self, set: &mut QueueSet, now: Duration, op: &Op) {
        let dispatched = match *op {
            Op::Arrive(hash, seats) => {
                let (arrival, dispatched) = set.arrive(now, hash, seats);
                match arrival {
                    Arrival::Executes(run) => self.running.push(run),
                    Arrival::Waits(place) => self.waiting.push((place, seats)),
                    Arrival::Refused(_) => {}
                }
                dispatched
            }
            Op::Finish(at) if !self.running.is_empty() => {
                let run = self.running.remove(at % self.running.len());
                set.finish(now, &run)
            }
            Op::Cancel(at) if !self.waiting.is_empty() => {
                let (place, _) = self.waiting.remove(at % self.waiting.len());
                set.cancel(now, place)
            }
            Op::Configure(queues, limit) => {
                let shape = Shape { queues, hand: queues.min(2), longest: 3 };
                set.configure(now, shape, limit)
            }
            _ => Vec::new(),
        };
        self.take(dispatched);
    }

    fn check(&self, set: &QueueSet, shrunk: bool) {
        let in_use: u32 = self.running.iter().map(|run| run.seats).sum();
        let wanted: u32 = self.waiting.iter().map(|(_, seats)| seats).sum();
        assert_eq!((set.seats_in_use, set.seats_waiting), (in_use, wanted));
        let count = |all: usize| u32::try_from(all).unwrap();
        assert_eq!(
            (set.executing, set.waiting),
            (count(self.running.len()), count(self.waiting.len()))
        );
        assert!(shrunk || in_use <= set.limit || self.running.len() == 1, "{in_use} in use");
        let first = set.next().map(|(_, seats)| seats);
        let idle = set.seats_in_use < set.limit && first.is_some_and(|seats| set.fits(seats));
        assert!(!idle, "{first:?} fits and waits: {set:?}");
        let is_empty = |queue: &Queue| queue.waiting.is_empty() && queue.executing == 0;
        assert!(!set.queues.values().any(is_empty), "{set:?}");
    }
}

proptest! {
    #[test]
    fn no_seat_is_lost_and_nobody_forgotten(ops in prop::collection::vec((op(), 0_u64..20), 1..200)) {
        let (mut set, mut model) = (set(Shape { queues: 4, hand: 2, longest: 3 }, 4), Model::default());
        let (mut now, mut shrunk) = (Duration::ZERO, false);
        for (op, passed) in ops {
            now += at(passed);
            shrunk |= matches!(op, Op::Configure(..));
            model.apply(&mut set, now, &op);
            model.check(&set, shrunk);
        }
        // With a seat left, everybody comes to an end.
        model.apply(&mut set, now, &Op::Configure(4, 1));
        while !model.running.is_empty() {
            model.apply(&mut set, now, &Op::Finish(0));
        }
        prop_assert!(model.waiting.is_empty());
        prop_assert_eq!((set.demand(), set.queues.len()), (0, 0));
    }
}
