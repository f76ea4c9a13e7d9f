//! The queue beside a list of pods that is searched from one end to the other, over arbitrary histories
//! in virtual time.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const NAMES: u8 = 6;

#[derive(Clone, Debug)]
enum Step {
    Add(u8),
    Remove(u8),
    Pop,
    Park(u8, PluginSet),
    Retry(u8),
    Wake(PluginSet),
    TryAgain(u8),
    Wait(Duration),
}

fn plugins() -> impl Strategy<Value = PluginSet> {
    prop_oneof![Just(PluginSet::of(0)), Just(PluginSet::of(1)), Just(PluginSet::all())]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..NAMES;
    let step = prop_oneof![
        3 => name().prop_map(Step::Add),
        1 => name().prop_map(Step::Remove),
        4 => Just(Step::Pop),
        3 => (name(), plugins()).prop_map(|(name, plugins)| Step::Park(name, plugins)),
        2 => name().prop_map(Step::Retry),
        1 => plugins().prop_map(Step::Wake),
        1 => name().prop_map(Step::TryAgain),
        2 => prop_oneof![0_u64..3000, 0_u64..400_000]
            .prop_map(|millis| Step::Wait(Duration::from_millis(millis))),
    ];
    prop::collection::vec(step, 0..80)
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Trying,
    Ready,
    Until(Instant),
    Parked { since: Instant, refused_by: PluginSet },
}

/// In the order in which the pods last became ready, as far as they are.
#[derive(Debug, Default)]
struct Model {
    pods: Vec<(Uid, u32, State)>,
}

impl Model {
    fn find(&mut self, pod: &Uid) -> Option<usize> {
        self.pods.iter().position(|known| known.0 == *pod)
    }

    fn find_or_add(&mut self, pod: &Uid) -> usize {
        self.find(pod).unwrap_or_else(|| {
            self.pods.push((pod.clone(), 0, State::Trying));
            self.pods.len() - 1
        })
    }

    fn make_ready(&mut self, index: usize) {
        let (pod, attempts, _) = self.pods.remove(index);
        self.pods.push((pod, attempts, State::Ready));
    }

    fn add(&mut self, pod: &Uid) {
        let index = self.find_or_add(pod);
        if self.pods[index].2 != State::Ready {
            self.make_ready(index);
        }
    }

    fn put_back(&mut self, pod: &Uid, state: impl Fn(u32) -> State) {
        let index = self.find_or_add(pod);
        let (_, attempts, old) = &mut self.pods[index];
        if *old == State::Trying {
            *old = state(*attempts);
        }
    }

    /// Those that something makes ready become so in the order of `when`.
    fn release(&mut self, when: impl Fn(u32, State) -> Option<Instant>) {
        let due = |(pod, attempts, state): &(Uid, u32, State)| {
            when(*attempts, *state).map(|when| (when, pod.clone()))
        };
        let mut due: Vec<_> = self.pods.iter().filter_map(due).collect();
        due.sort();
        for (_, pod) in due {
            let index = self.find(&pod).unwrap();
            self.make_ready(index);
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Uid> {
        self.release(|_, state| due(state).filter(|due| *due <= now));
        let next = self.pods.iter_mut().find(|known| known.2 == State::Ready)?;
        next.1 += 1;
        next.2 = State::Trying;
        Some(next.0.clone())
    }

    fn wake(&mut self, turned: PluginSet, now: Instant) {
        let helped = |state| match state {
            State::Parked { since, refused_by } if helps(refused_by, turned) => Some(since),
            _ => None,
        };
        self.release(|attempts, state| {
            helped(state).filter(|since| *since + back_off(attempts) <= now)
        });
        for (_, attempts, state) in &mut self.pods {
            if let Some(since) = helped(*state) {
                *state = State::Until(since + back_off(*attempts));
            }
        }
    }

    fn try_again(&mut self, pod: &Uid, now: Instant) {
        let Some(index) = self.find(pod) else { return };
        let (_, attempts, state) = &mut self.pods[index];
        let State::Parked { since, .. } = *state else { return };
        let due = since + back_off(*attempts);
        *state = State::Until(due);
        if due <= now {
            self.make_ready(index);
        }
    }

    fn next_wake(&self) -> Option<Instant> {
        self.pods.iter().filter_map(|known| due(known.2)).min()
    }

    fn has_ready(&self) -> bool {
        self.pods.iter().any(|known| known.2 == State::Ready)
    }
}

fn helps(refused_by: PluginSet, turned: PluginSet) -> bool {
    !(refused_by & turned).is_empty()
}

fn due(state: State) -> Option<Instant> {
    match state {
        State::Until(due) => Some(due),
        State::Parked { since, .. } => Some(since + LONGEST_PARKING),
        State::Trying | State::Ready => None,
    }
}

fn uid(name: u8) -> Uid {
    Uid::from(name.to_string().as_str())
}

/// Applies a step to both; what both give must be the same.
fn apply(step: &Step, queue: &mut Queue, model: &mut Model, now: &mut Instant) {
    match step {
        Step::Add(name) => {
            queue.add(&uid(*name), *now);
            model.add(&uid(*name));
        }
        Step::Remove(name) => {
            queue.remove(&uid(*name));
            model.pods.retain(|known| known.0 != uid(*name));
        }
        Step::Pop => {
            assert_eq!(queue.pop(*now), model.pop(*now));
            assert!(queue.next_wake().is_none_or(|due| due > *now), "it would spin");
        }
        Step::Park(name, plugins) => {
            queue.park(&uid(*name), *plugins, *now);
            let parked = State::Parked { since: *now, refused_by: *plugins };
            model.put_back(&uid(*name), |_| parked);
        }
        Step::Retry(name) => {
            queue.retry(&uid(*name), *now);
            model.put_back(&uid(*name), |attempts| State::Until(*now + back_off(attempts)));
        }
        Step::Wake(turned) => {
            queue.wake(|_, refused_by| helps(refused_by, *turned), *now);
            model.wake(*turned, *now);
        }
        Step::TryAgain(name) => {
            queue.try_again(&uid(*name), *now);
            model.try_again(&uid(*name), *now);
        }
        Step::Wait(time) => *now += *time,
    }
}

/// Each pod is in the index of its place, which begins with one that is there and is not much longer than it must be.
fn check_places(queue: &Queue) {
    let count = |place: &dyn Fn(Place) -> bool| {
        queue.pods.values().filter(|waiting| place(waiting.place)).count()
    };
    let is_ready = |(turn, pod): &(u64, Uid)| queue.pods[pod].place == Place::Ready(*turn);
    let known = |pod: &Uid| queue.pods.contains_key(pod);
    let ready: HashSet<_> =
        queue.ready.iter().filter(|entry| known(&entry.1) && is_ready(entry)).collect();
    let is_due = |(due, pod): &(Instant, Uid)| queue.pods[pod].place.due() == Some(*due);
    let due = queue.due.iter().map(|Reverse(entry)| entry);
    let due: HashSet<_> = due.filter(|entry| known(&entry.1) && is_due(entry)).collect();
    assert_eq!(ready.len(), count(&|place| matches!(place, Place::Ready(_))), "{queue:?}");
    assert_eq!(due.len(), count(&|place| place.due().is_some()), "{queue:?}");
    assert_eq!(queue.parked.len(), count(&|place| matches!(place, Place::Parked(_))), "{queue:?}");
    let counted = |gauge: &Gauge, place: &dyn Fn(Place) -> bool| {
        assert_eq!(usize::try_from(gauge.get()), Ok(count(place)), "{queue:?}");
    };
    counted(&queue.pending.active, &|place| matches!(place, Place::Ready(_)));
    counted(&queue.pending.backing_off, &|place| matches!(place, Place::BackingOff(_)));
    counted(&queue.pending.unschedulable, &|place| matches!(place, Place::Parked(_)));
    let first = [queue.ready.front().map(|(_, pod)| pod), queue.due.peek().map(|it| &it.0.1)];
    assert!(first.into_iter().flatten().all(known), "{queue:?}");
    let most = 2 * queue.pods.len() + LEFT_BEHIND;
    assert!(queue.ready.len().max(queue.due.len()) <= most, "{queue:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn the_queue_does_what_a_plain_list_does(steps in steps()) {
        let (mut queue, mut model) = (Queue::default(), Model::default());
        let mut now = Instant::now();
        for step in &steps {
            apply(step, &mut queue, &mut model, &mut now);
            check_places(&queue);
            prop_assert_eq!(queue.len(), model.pods.len());
            prop_assert_eq!(queue.has_ready(), model.has_ready());
            prop_assert_eq!(queue.next_wake(), model.next_wake());
        }
    }
}
