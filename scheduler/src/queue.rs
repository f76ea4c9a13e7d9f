//! The pods that wait for a node, and when each is tried again.
//!
//! A pod is *ready* to be tried, or *parked*: it was tried in vain and waits for the world to change.
//! A change makes those parked pods ready which it may help, but not before their back-off has passed (1 s,
//! doubling to 10 s), so that pods that fit nowhere cost little in a busy cluster. Now and then every
//! parked pod is tried anyway, in case a change that helps was not recognised as one.
//!
//! *Guarantees*: whatever is called in whatever order, a pod is in one place, and each call but `wake` costs
//! O(log n); that one looks at each pod that is parked.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::plugins::PluginSet;
use crate::pod::Uid;

#[cfg(test)]
mod model;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_PARKING: Duration = Duration::from_secs(300);

/// The waiting pods.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Uid, Waiting>,
    /// By the turn in which they became ready.
    ready: BTreeMap<u64, Uid>,
    backing_off: BTreeSet<(Instant, Uid)>,
    /// With the plugins that have refused them nodes.
    parked: BTreeMap<(Instant, Uid), PluginSet>,
    next_turn: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    attempts: u32,
    place: Place,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Taken out by `pop`, not yet put back.
    #[default]
    Trying,
    Ready(u64),
    /// Ready at this time.
    BackingOff(Instant),
    /// Waits since this time for a change that turns one of these refusals.
    Parked(Instant, PluginSet),
}

impl Queue {
    /// Adds a pod that wants a node, or takes a changed one out of its parking place.
    pub fn add(&mut self, pod: &Uid) {
        let place = self.pods.entry(pod.clone()).or_default().place;
        if !matches!(place, Place::Ready(_)) {
            self.make_ready(pod);
        }
    }

    /// Forgets a pod that no longer wants a node.
    pub fn remove(&mut self, pod: &Uid) {
        if let Some(waiting) = self.pods.remove(pod) {
            self.leave(pod, waiting.place);
        }
    }

    /// Takes out the next pod to try. It must come back with `park`, `retry` or `remove`.
    pub fn pop(&mut self, now: Instant) -> Option<Uid> {
        self.release_due(now);
        let (_, pod) = self.ready.pop_first()?;
        let waiting = self.pods.get_mut(&pod)?;
        waiting.place = Place::Trying;
        waiting.attempts += 1;
        Some(pod)
    }

    /// No node takes the pod, for the refusals of these plugins: it waits for a change.
    pub fn park(&mut self, pod: &Uid, refused_by: PluginSet, now: Instant) {
        self.put_back(pod, |_| Place::Parked(now, refused_by));
    }

    /// Trying failed for a reason that passes: it waits for its back-off only.
    pub fn retry(&mut self, pod: &Uid, now: Instant) {
        self.put_back(pod, |attempts| Place::BackingOff(now + back_off(attempts)));
    }

    /// The world has changed in a way that helps some of the parked pods.
    pub fn wake(&mut self, helps: impl Fn(&Uid, PluginSet) -> bool, now: Instant) {
        let helped = self.parked.extract_if(.., |(_, pod), refused_by| helps(pod, *refused_by));
        for ((since, pod), _) in helped.collect::<Vec<_>>() {
            self.unpark(&pod, since, now);
        }
    }

    /// A parked pod is tried again when its back-off has passed, though nothing has changed.
    pub fn try_again(&mut self, pod: &Uid, now: Instant) {
        if let Some(Place::Parked(since, _)) = self.pods.get(pod).map(|waiting| waiting.place) {
            self.unpark(pod, since, now);
        }
    }

    /// When `pop` may next return something, if nothing else happens. `None`: not before a change.
    pub fn next_wake(&self) -> Option<Instant> {
        self.next_due().map(|(due, _)| due)
    }

    /// Whether `pop` would return a pod at once.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How many pods wait.
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod waits.
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn next_due(&self) -> Option<(Instant, &Uid)> {
        let backing_off = self.backing_off.first().map(|(due, pod)| (*due, pod));
        let parked = self.parked.first_key_value();
        let parked = parked.map(|((since, pod), _)| (*since + LONGEST_PARKING, pod));
        backing_off.into_iter().chain(parked).min()
    }

    fn release_due(&mut self, now: Instant) {
        while let Some((due, pod)) = self.next_due()
            && due <= now
        {
            let pod = pod.clone();
            self.make_ready(&pod);
        }
    }

    /// Only a pod that is being tried goes back: any other has heard of a change in the meantime, or
    /// waits already, and must not lose its place.
    fn put_back(&mut self, pod: &Uid, place: impl FnOnce(u32) -> Place) {
        let waiting = *self.pods.entry(pod.clone()).or_default();
        if waiting.place == Place::Trying {
            self.go(pod, place(waiting.attempts));
        }
    }

    fn unpark(&mut self, pod: &Uid, since: Instant, now: Instant) {
        let Some(waiting) = self.pods.get(pod) else { return };
        let due = since + back_off(waiting.attempts);
        if due <= now { self.make_ready(pod) } else { self.go(pod, Place::BackingOff(due)) }
    }

    fn make_ready(&mut self, pod: &Uid) {
        self.next_turn += 1;
        self.go(pod, Place::Ready(self.next_turn));
    }

    fn go(&mut self, pod: &Uid, place: Place) {
        let Some(waiting) = self.pods.get_mut(pod) else { return };
        let old = std::mem::replace(&mut waiting.place, place);
        self.leave(pod, old);
        match place {
            Place::Trying => {}
            Place::Ready(turn) => {
                self.ready.insert(turn, pod.clone());
            }
            Place::BackingOff(due) => {
                self.backing_off.insert((due, pod.clone()));
            }
            Place::Parked(since, refused_by) => {
                self.parked.insert((since, pod.clone()), refused_by);
            }
        }
    }

    fn leave(&mut self, pod: &Uid, place: Place) {
        match place {
            Place::Trying => {}
            Place::Ready(turn) => {
                self.ready.remove(&turn);
            }
            Place::BackingOff(due) => {
                self.backing_off.remove(&(due, pod.clone()));
            }
            Place::Parked(since, _) => {
                self.parked.remove(&(since, pod.clone()));
            }
        }
    }
}

fn back_off(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(8);
    (FIRST_BACK_OFF * 2_u32.pow(doublings)).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(name: &str) -> Uid {
        Uid::from(name)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pods_are_tried_in_order_and_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"));
        queue.add(&uid("b"));
        queue.add(&uid("a"));
        assert_eq!(queue.pop(now), Some(uid("a")));
        assert_eq!(queue.pop(now), Some(uid("b")));
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn a_parked_pod_waits_for_a_change_and_for_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"));
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        assert_eq!(queue.pop(now + seconds(60)), None, "nothing has changed");
        queue.wake(|_, _| true, now);
        assert_eq!(queue.pop(now), None, "the back-off is one second");
        assert_eq!(queue.next_wake(), Some(now + seconds(1)));
        assert_eq!(queue.pop(now + seconds(1)), Some(uid("a")));
    }

    #[test]
    fn the_back_off_doubles_up_to_ten_seconds() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"));
        queue.pop(now);
        for expected in [1, 2, 4, 8, 10, 10] {
            queue.park(&uid("a"), PluginSet::all(), now);
            queue.wake(|_, _| true, now);
            assert_eq!(queue.next_wake(), Some(now + seconds(expected)));
            now += seconds(expected);
            assert_eq!(queue.pop(now), Some(uid("a")));
        }
    }

    #[test]
    fn a_change_long_after_the_back_off_makes_ready_at_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"));
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        queue.wake(|_, _| true, now + seconds(5));
        assert_eq!(queue.pop(now + seconds(5)), Some(uid("a")));
    }

    #[test]
    fn a_parked_pod_is_tried_anyway_after_five_minutes_and_a_failed_one_after_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"));
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        assert_eq!(queue.pop(now + seconds(300)), Some(uid("a")));
        queue.retry(&uid("a"), now);
        assert_eq!(queue.pop(now + seconds(2)), Some(uid("a")));
    }

    #[test]
    fn a_removed_pod_is_gone_wherever_it_was() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("ready"));
        queue.remove(&uid("ready"));
        queue.add(&uid("parked"));
        queue.pop(now);
        queue.park(&uid("parked"), PluginSet::all(), now);
        queue.remove(&uid("parked"));
        queue.wake(|_, _| true, now);
        assert_eq!(queue.pop(now + seconds(600)), None);
        assert!(queue.is_empty());
    }

    /// A pod that was put aside twice and removed once left something behind that was due for ever.
    #[test]
    fn nothing_is_left_due_of_a_pod_that_was_put_aside_twice() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"));
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        queue.retry(&uid("a"), now);
        queue.pop(now + seconds(2));
        queue.remove(&uid("a"));
        assert_eq!(queue.next_wake(), None);
        assert_eq!(queue.pop(now + seconds(301)), None);
    }
}
