//! Generated histories of calls and instances against the rules, and the choice.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::pin,
};

use futures::poll;
use proptest::{collection::vec, prelude::*};

use super::{
    Arc, Dispatcher, Duration, Endpoint, Instant, NonZeroU32, Notify, Refusal,
    line::{Entry, Line, Ticket},
};
use crate::cold_start::Milestones;

const LENGTH: usize = 6;

#[derive(Clone, Debug)]
enum Step {
    Enter,
    /// One of the calls that wait gives up.
    Leave(usize),
    /// One of the calls in hand ends.
    Finish(usize),
    Update(BTreeSet<u8>, u32),
    Distrust(u8),
    Trust(u8),
    /// The instance of one of the calls in hand says that it has not begun it.
    Refuse(usize),
    /// It is long ago that the instance said so to this call.
    MayHaveRoom(u8, Ticket),
}

fn step() -> impl Strategy<Value = Step> {
    let instance = || 0..4_u8;
    prop_oneof![
        8 => Just(Step::Enter),
        2 => (0..LENGTH).prop_map(Step::Leave),
        5 => (0..8_usize).prop_map(Step::Finish),
        2 => (proptest::collection::btree_set(instance(), 0..4), 0..4_u32)
            .prop_map(|(instances, most)| Step::Update(instances, most)),
        1 => instance().prop_map(Step::Distrust),
        1 => instance().prop_map(Step::Trust),
        3 => (0..8_usize).prop_map(Step::Refuse),
        3 => (instance(), 0..20_u64).prop_map(|(i, call)| Step::MayHaveRoom(i, call)),
    ]
}

/// What is true, kept beside the line.
struct Scene {
    line: Line<u8>,
    random: usize,
    most: Option<NonZeroU32>,
    serving: BTreeSet<u8>,
    distrusted: BTreeSet<u8>,
    /// The call to which each was full.
    full: BTreeMap<u8, Ticket>,
    waiting: Vec<Ticket>,
    /// The calls in hand, and their instances.
    in_hand: Vec<(Ticket, u8)>,
}

impl Scene {
    fn new() -> Self {
        Scene {
            line: Line::new(LENGTH),
            random: 0,
            most: None,
            serving: BTreeSet::new(),
            distrusted: BTreeSet::new(),
            full: BTreeMap::new(),
            waiting: Vec::new(),
            in_hand: Vec::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Enter => self.enter(),
            Step::Leave(which) if *which < self.waiting.len() => {
                let ticket = self.waiting.remove(*which);
                self.line.leave(ticket);
            }
            Step::Finish(which) if *which < self.in_hand.len() => {
                let (_, instance) = self.in_hand.remove(*which);
                self.full.remove(&instance);
                self.line.finish(&instance);
            }
            Step::Refuse(which) if *which < self.in_hand.len() => {
                let (ticket, instance) = self.in_hand.remove(*which);
                self.full.insert(instance, ticket);
                self.waiting.push(ticket);
                self.waiting.sort_unstable();
                self.line.is_full(&instance, ticket);
                self.line.come_back(ticket, &instance);
            }
            Step::Leave(_) | Step::Finish(_) | Step::Refuse(_) => {}
            Step::MayHaveRoom(instance, told) => {
                self.full.retain(|full, last| full != instance || last != told);
                self.line.may_have_room(instance, *told);
            }
            Step::Update(instances, most) => {
                self.most = NonZeroU32::new(*most);
                self.serving = instances.clone();
                self.line.update(instances, self.most);
            }
            Step::Distrust(instance) => {
                self.distrusted.insert(*instance);
                self.line.distrust(instance);
            }
            Step::Trust(instance) => {
                self.distrusted.remove(instance);
                self.line.trust(instance);
            }
        }
        // An instance that has gone is forgotten with its last call.
        let known = |i: &u8| self.serving.contains(i) || self.calls_of(*i) > 0;
        let forgotten: Vec<u8> = (0..4).filter(|i| !known(i)).collect();
        for instance in &forgotten {
            self.distrusted.remove(instance);
            self.full.remove(instance);
        }
        self.grant();
        self.check();
    }

    fn enter(&mut self) {
        let entry = self.line.enter(pick(&mut self.random));
        match entry {
            Entry::Taken(ticket, instance) => {
                assert!(self.waiting.is_empty(), "it overtook calls that wait");
                self.given(ticket, instance);
            }
            Entry::Waits(ticket) => self.waiting.push(ticket),
            Entry::Full => assert!(self.waiting.len() >= LENGTH),
        }
    }

    fn grant(&mut self) {
        while let Some((ticket, instance)) = self.line.grant(pick(&mut self.random)) {
            assert_eq!(ticket, self.waiting.remove(0), "who waited longest is next");
            self.given(ticket, instance);
        }
    }

    fn given(&mut self, ticket: Ticket, instance: u8) {
        assert!(self.has_room(instance), "{instance} was given a call");
        self.in_hand.push((ticket, instance));
    }

    fn calls_of(&self, instance: u8) -> usize {
        self.in_hand.iter().filter(|(_, other)| *other == instance).count()
    }

    fn has_room(&self, instance: u8) -> bool {
        self.serving.contains(&instance)
            && !self.distrusted.contains(&instance)
            && !self.full.contains_key(&instance)
            && self.most.is_none_or(|most| self.calls_of(instance) < most.get() as usize)
    }

    fn check(&self) {
        assert_eq!(self.line.queued(), self.waiting.len());
        assert_eq!(self.line.in_flight() as usize, self.in_hand.len());
        let free = self.serving.iter().any(|instance| self.has_room(*instance));
        assert!(self.waiting.is_empty() || !free, "a call waits though there is room");
    }
}

/// A number that differs from call to call.
fn pick(state: &mut usize) -> impl FnMut(usize) -> usize {
    |count| {
        *state = state.wrapping_mul(31).wrapping_add(7);
        *state % count
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// No call is lost or overtaken, and none waits while an instance may take it; no instance is given more than it
    /// may have, nor any when it is going or refuses.
    #[test]
    fn calls_and_instances_meet_by_the_rules(steps in vec(step(), 1..120)) {
        let mut scene = Scene::new();
        steps.iter().for_each(|step| scene.take(step));
    }
}

#[test]
fn of_two_random_instances_the_less_loaded_takes_the_call() {
    let mut line = Line::new(0);
    line.update(&[1, 2, 3], None);
    let mut loads = BTreeMap::<u8, u32>::new();
    // Always the first two: the third would be drawn only by chance.
    for _ in 0..6 {
        let Entry::Taken(_, instance) = line.enter(|_| 0) else { panic!("not taken") };
        *loads.entry(instance).or_default() += 1;
    }
    // `swap_remove` puts the last in place of the first.
    assert_eq!(loads, BTreeMap::from([(1, 3), (3, 3)]));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_refused_is_before_those_that_came_after_it() {
    let dispatcher = Dispatcher::new(10, Arc::default());
    dispatcher.update(&[endpoint("a", 1)], NonZeroU32::new(1), false);
    let until = Instant::now() + Duration::from_secs(1);
    let refused = dispatcher.acquire(until).await.unwrap();
    let mut later = pin!(dispatcher.acquire(until));
    assert!(poll!(&mut later).is_pending());
    refused.is_full();
    let mut again = pin!(dispatcher.acquire_another(refused, until));
    assert!(poll!(&mut again).is_pending() && poll!(&mut later).is_pending(), "there is no room");
    let again = again.await.unwrap();
    assert!(poll!(&mut later).is_pending(), "it has overtaken");
    // Its own end says as well that there is room.
    again.is_full();
    drop(again);
    assert!(poll!(&mut later).is_ready());
}

/// Whether a call that comes now, and gets no instance, is told at once.
async fn wakes(dispatcher: &Arc<Dispatcher>, wake: &Notify) -> (Refusal, bool) {
    let deadline = Instant::now() + Duration::from_millis(1);
    let refusal = dispatcher.acquire(deadline).await.unwrap_err();
    let told = tokio::time::timeout(Duration::from_millis(1), wake.notified()).await;
    (refusal, told.is_ok())
}

#[tokio::test(start_paused = true)]
async fn what_is_told_of_calls_counts_those_that_came_and_went_and_their_time() {
    let dispatcher = Dispatcher::new(10, Arc::default());
    dispatcher.update(&[endpoint("a", 1)], NonZeroU32::new(1), false);
    let second = Duration::from_secs(1);
    dispatcher.expect();
    dispatcher.arrived();
    let slot = dispatcher.acquire(Instant::now() + second).await.unwrap();
    dispatcher.arrived();
    // One is worked on and one waits for a second; then the first ends, and the other has gone.
    let refused = dispatcher.acquire(Instant::now() + second).await.unwrap_err();
    assert_eq!(refused, Refusal::Busy);
    drop(slot);
    tokio::time::advance(second).await;
    // Whoever tries again and again while none can start has no more of them started.
    dispatcher.update(&[], None, true);
    for _ in 0..3 {
        dispatcher.arrived();
        let refused = dispatcher.acquire(Instant::now() + second).await.unwrap_err();
        assert_eq!(refused, Refusal::NoInstance);
    }
    let told = dispatcher.demand();
    assert_eq!((told.queued, told.in_flight), (0, 0));
    assert_eq!((told.arrived, told.calls, told.in_hand_milliseconds), (6, 2, 2000));
}

#[tokio::test]
async fn a_call_that_waits_is_told_at_once_if_there_is_no_instance() {
    let wake = Arc::new(Notify::new());
    let dispatcher = Dispatcher::new(1, wake.clone());
    assert_eq!(wakes(&dispatcher, &wake).await, (Refusal::NoInstance, true));
    dispatcher.update(&[endpoint("a", 1)], NonZeroU32::new(1), false);
    let slot = dispatcher.acquire(Instant::now()).await.unwrap();
    assert_eq!(wakes(&dispatcher, &wake).await, (Refusal::Busy, false));
    drop(slot);
    assert!(dispatcher.acquire(Instant::now()).await.is_ok());
}

/// One on this port of the loopback address.
fn endpoint(uid: &str, port: u16) -> Arc<Endpoint> {
    let milestones = Milestones::of(&Default::default(), None, Instant::now());
    Arc::new(Endpoint::new(uid.into(), ([127, 0, 0, 1], port).into(), milestones))
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_takes_no_connection_is_out_of_the_choice_until_it_does() {
    let dispatcher = Dispatcher::new(10, Arc::default());
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let instances = [endpoint("gone", address.port()), endpoint("there", 1)];
    dispatcher.update(&instances, None, false);
    dispatcher.distrust(&instances[0]);
    let taken = async || {
        let slots = (0..50).map(|_| dispatcher.acquire(Instant::now()));
        let slots = futures::future::join_all(slots).await;
        slots.into_iter().filter(|slot| &*slot.as_ref().unwrap().endpoint.uid == "gone").count()
    };
    for _ in 0..3 {
        tokio::time::sleep(super::DISTRUST * 2).await;
        // News of pods, whatever they are, are none of this.
        dispatcher.update(&instances, None, false);
        assert_eq!(taken().await, 0);
    }
    let _listener = std::net::TcpListener::bind(address).unwrap();
    while taken().await == 0 {
        tokio::time::sleep(super::DISTRUST).await;
    }
    // Gone as far as its pod says, and then there once more.
    dispatcher.distrust(&instances[0]);
    dispatcher.update(&instances[1..], None, false);
    dispatcher.update(&[endpoint("gone", 1), instances[1].clone()], None, false);
    assert_ne!(taken().await, 0);
    // A call that it had before breaks off, which says nothing of where it is now.
    dispatcher.distrust(&instances[0]);
    assert_ne!(taken().await, 0);
}
