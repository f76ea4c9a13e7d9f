//! The pods that wait for a node, and when each is tried again.
//!
//! A pod is *ready* to be tried, or *parked*: it was tried in vain and waits for the world to change.
//! A change that may help makes parked pods ready, but not before their back-off has passed (1 s,
//! doubling to 10 s), so that pods that fit nowhere cost little in a busy cluster. Now and then every
//! parked pod is tried anyway, in case a change that helps was not recognised as one.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::pod::PodKey;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_PARKING: Duration = Duration::from_secs(300);

/// The waiting pods.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<PodKey, Waiting>,
    ready: VecDeque<PodKey>,
    timed: BTreeSet<(Instant, PodKey)>,
}

#[derive(Debug, Default)]
struct Waiting {
    attempts: u32,
    place: Place,
    /// When it was last put aside.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Taken out by `pop`, not yet put back.
    #[default]
    Trying,
    Ready,
    /// Ready at this time.
    BackOff(Instant),
    /// Waits for a change; tried anyway at this time.
    Parked(Instant),
}

impl Queue {
    /// Adds a pod that wants a node, or takes a changed one out of its parking place.
    pub fn add(&mut self, pod: &PodKey) {
        let waiting = self.pods.entry(pod.clone()).or_default();
        if waiting.place == Place::Ready {
            return;
        }
        self.leave(pod);
        self.make_ready(pod);
    }

    /// Forgets a pod that no longer wants a node.
    pub fn remove(&mut self, pod: &PodKey) {
        self.leave(pod);
        self.pods.remove(pod);
        self.ready.retain(|ready| ready != pod);
    }

    /// Takes out the next pod to try. It must come back with `park`, `retry` or `remove`.
    pub fn pop(&mut self, now: Instant) -> Option<PodKey> {
        self.release_due(now);
        let pod = self.ready.pop_front()?;
        let waiting = self.pods.get_mut(&pod)?;
        waiting.place = Place::Trying;
        waiting.attempts += 1;
        Some(pod)
    }

    /// No node takes the pod: it waits for a change.
    pub fn park(&mut self, pod: &PodKey, now: Instant) {
        self.put_aside(pod, now, Place::Parked(now + LONGEST_PARKING));
    }

    /// Trying failed for a reason that passes: it waits for its back-off only.
    pub fn retry(&mut self, pod: &PodKey, now: Instant) {
        let back_off =
            self.pods.get(pod).map_or(FIRST_BACK_OFF, |waiting| back_off(waiting.attempts));
        self.put_aside(pod, now, Place::BackOff(now + back_off));
    }

    /// The world has changed in a way that may help parked pods.
    pub fn world_changed(&mut self, now: Instant) {
        let parked = |waiting: &Waiting| matches!(waiting.place, Place::Parked(_));
        let pods: BTreeMap<PodKey, Instant> = self
            .pods
            .iter()
            .filter(|pod| parked(pod.1))
            .map(|(pod, waiting)| {
                (pod.clone(), waiting.since.unwrap_or(now) + back_off(waiting.attempts))
            })
            .collect();
        for (pod, due) in pods {
            self.leave(&pod);
            if due <= now {
                self.make_ready(&pod)
            } else {
                self.put_aside(&pod, now, Place::BackOff(due))
            }
        }
    }

    /// When `pop` may next return something, if nothing else happens. `None`: not before a change.
    pub fn next_wake(&self) -> Option<Instant> {
        self.timed.first().map(|(due, _)| *due)
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

    fn release_due(&mut self, now: Instant) {
        while let Some((due, pod)) = self.timed.first().cloned() {
            if due > now {
                break;
            }
            self.leave(&pod);
            self.make_ready(&pod);
        }
    }

    fn put_aside(&mut self, pod: &PodKey, now: Instant, place: Place) {
        let waiting = self.pods.entry(pod.clone()).or_default();
        waiting.place = place;
        waiting.since = Some(now);
        if let Place::BackOff(due) | Place::Parked(due) = place {
            self.timed.insert((due, pod.clone()));
        }
    }

    fn leave(&mut self, pod: &PodKey) {
        let place = self.pods.get(pod).map(|waiting| waiting.place);
        if let Some(Place::BackOff(due) | Place::Parked(due)) = place {
            self.timed.remove(&(due, pod.clone()));
        }
    }

    fn make_ready(&mut self, pod: &PodKey) {
        if let Some(waiting) = self.pods.get_mut(pod) {
            waiting.place = Place::Ready;
            self.ready.push_back(pod.clone());
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

    fn key(name: &str) -> PodKey {
        PodKey { namespace: "default".to_owned(), name: name.to_owned() }
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn pods_are_tried_in_order_and_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.add(&key("b"));
        queue.add(&key("a"));
        assert_eq!(queue.pop(now), Some(key("a")));
        assert_eq!(queue.pop(now), Some(key("b")));
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn a_parked_pod_waits_for_a_change_and_for_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.pop(now);
        queue.park(&key("a"), now);
        assert_eq!(queue.pop(now + seconds(60)), None, "nothing has changed");
        queue.world_changed(now);
        assert_eq!(queue.pop(now), None, "the back-off is one second");
        assert_eq!(queue.next_wake(), Some(now + seconds(1)));
        assert_eq!(queue.pop(now + seconds(1)), Some(key("a")));
    }

    #[test]
    fn the_back_off_doubles_up_to_ten_seconds() {
        let (mut queue, mut now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.pop(now);
        for expected in [1, 2, 4, 8, 10, 10] {
            queue.park(&key("a"), now);
            queue.world_changed(now);
            assert_eq!(queue.next_wake(), Some(now + seconds(expected)));
            now += seconds(expected);
            assert_eq!(queue.pop(now), Some(key("a")));
        }
    }

    #[test]
    fn a_change_long_after_the_back_off_makes_ready_at_once() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.pop(now);
        queue.park(&key("a"), now);
        queue.world_changed(now + seconds(5));
        assert_eq!(queue.pop(now + seconds(5)), Some(key("a")));
    }

    #[test]
    fn a_parked_pod_is_tried_anyway_after_five_minutes_and_a_failed_one_after_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("a"));
        queue.pop(now);
        queue.park(&key("a"), now);
        assert_eq!(queue.pop(now + seconds(300)), Some(key("a")));
        queue.retry(&key("a"), now);
        assert_eq!(queue.pop(now + seconds(2)), Some(key("a")));
    }

    #[test]
    fn a_removed_pod_is_gone_wherever_it_was() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&key("ready"));
        queue.remove(&key("ready"));
        queue.add(&key("parked"));
        queue.pop(now);
        queue.park(&key("parked"), now);
        queue.remove(&key("parked"));
        queue.world_changed(now);
        assert_eq!(queue.pop(now + seconds(600)), None);
        assert!(queue.is_empty());
    }
}
