//! The pods that wait for a node, and when each is tried again.
//!
//! A pod is *ready* to be tried, or *parked*: it was tried in vain and waits for the world to change.
//! A change makes those parked pods ready which it may help, but not before their back-off has passed (1 s,
//! doubling to 10 s), so that pods that fit nowhere cost little in a busy cluster. Now and then every
//! parked pod is tried anyway, in case a change that helps was not recognised as one.
//!
//! *Guarantees*: whatever is called in whatever order, a pod is in one place. Taking one out is O(1): what it leaves
//! behind in the indexes is cleared away when it comes to the front, or outnumbers the pods. `wake` looks at each pod
//! that is parked; every other call is O(log n), spread over all calls.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use prometheus_client::metrics::gauge::Gauge;
use tokio::time::Instant;

use crate::plugins::PluginSet;
use crate::pod::Uid;

#[cfg(test)]
mod model;

const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(10);
const LONGEST_PARKING: Duration = Duration::from_secs(300);
/// So much may be left behind however few pods there are.
const LEFT_BEHIND: usize = 64;

/// The waiting pods.
#[derive(Debug, Default)]
pub struct Queue {
    pods: HashMap<Uid, Waiting>,
    /// By the turn in which they became ready, and what pods have left behind that are elsewhere by now.
    ready: VecDeque<(u64, Uid)>,
    /// When those that back off or are parked become ready by themselves; likewise.
    due: BinaryHeap<Reverse<(Instant, Uid)>>,
    /// With the plugins that have refused them nodes.
    parked: HashMap<Uid, PluginSet>,
    next_turn: u64,
    pending: Pending,
}

/// How many pods wait for what. Those that are being tried wait for nothing.
#[derive(Debug, Default)]
pub struct Pending {
    /// Their turn.
    pub active: Gauge,
    /// The end of their back-off.
    pub backing_off: Gauge,
    /// A change.
    pub unschedulable: Gauge,
}

impl Pending {
    fn of(&self, place: Place) -> Option<&Gauge> {
        match place {
            Place::Trying => None,
            Place::Ready(_) => Some(&self.active),
            Place::BackingOff(_) => Some(&self.backing_off),
            Place::Parked(_) => Some(&self.unschedulable),
        }
    }

    fn moved(&self, from: Place, to: Place) {
        self.of(from).map(Gauge::dec);
        self.of(to).map(Gauge::inc);
    }
}

/// In a queue that is no more nothing waits.
impl Drop for Pending {
    fn drop(&mut self) {
        for gauge in [&self.active, &self.backing_off, &self.unschedulable] {
            gauge.set(0);
        }
    }
}

/// How long a pod waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waited {
    /// How often it was tried.
    pub attempts: u32,
    /// When it was added.
    pub since: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    attempts: u32,
    place: Place,
    /// Unless it came back before it was added.
    since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// Taken out by `pop`, not yet put back.
    #[default]
    Trying,
    Ready(u64),
    /// Ready at this time.
    BackingOff(Instant),
    /// Waits since this time for a change.
    Parked(Instant),
}

impl Place {
    /// When it is ready by itself.
    fn due(self) -> Option<Instant> {
        match self {
            Self::BackingOff(due) => Some(due),
            Self::Parked(since) => Some(since + LONGEST_PARKING),
            Self::Trying | Self::Ready(_) => None,
        }
    }
}

impl Queue {
    /// One that counts the pods in it.
    #[must_use]
    pub fn new(pending: Pending) -> Self {
        Self { pending, ..Self::default() }
    }

    /// Adds a pod that wants a node, or takes a changed one out of its parking place.
    pub fn add(&mut self, pod: &Uid, now: Instant) {
        let waiting = self.pods.entry(pod.clone()).or_default();
        waiting.since.get_or_insert(now);
        if !matches!(waiting.place, Place::Ready(_)) {
            self.make_ready(pod);
        }
    }

    /// Forgets a pod that no longer wants a node.
    pub fn remove(&mut self, pod: &Uid) {
        if let Some(waiting) = self.pods.remove(pod) {
            self.pending.moved(waiting.place, Place::Trying);
        }
        self.parked.remove(pod);
        self.clear_away();
    }

    /// Takes out the next pod to try. It must come back with `park`, `retry` or `remove`.
    pub fn pop(&mut self, now: Instant) -> Option<Uid> {
        self.release_due(now);
        let (_, pod) = self.ready.pop_front()?;
        let waiting = self.pods.get_mut(&pod)?;
        self.pending.moved(waiting.place, Place::Trying);
        waiting.place = Place::Trying;
        waiting.attempts += 1;
        self.clear_away();
        Some(pod)
    }

    /// No node takes the pod, for the refusals of these plugins: it waits for a change.
    pub fn park(&mut self, pod: &Uid, refused_by: PluginSet, now: Instant) {
        if self.put_back(pod, |_| Place::Parked(now)) {
            self.parked.insert(pod.clone(), refused_by);
        }
    }

    /// Trying failed for a reason that passes: it waits for its back-off only.
    pub fn retry(&mut self, pod: &Uid, now: Instant) {
        self.put_back(pod, |attempts| Place::BackingOff(now + back_off(attempts)));
    }

    /// The world has changed in a way that helps some of the parked pods.
    pub fn wake(&mut self, helps: impl Fn(&Uid, PluginSet) -> bool, now: Instant) {
        let helped = self.parked.iter().filter(|(pod, refused_by)| helps(pod, **refused_by));
        let since = |pod: &Uid| self.pods.get(pod).and_then(|waiting| waiting.place.due());
        let mut helped: Vec<_> = helped.map(|(pod, _)| (since(pod), pod.clone())).collect();
        helped.sort_unstable();
        helped.iter().for_each(|(_, pod)| self.try_again(pod, now));
    }

    /// A parked pod is tried again when its back-off has passed, though nothing has changed.
    pub fn try_again(&mut self, pod: &Uid, now: Instant) {
        let Some(Waiting { attempts, place: Place::Parked(since), .. }) = self.pods.get(pod) else {
            return;
        };
        let due = *since + back_off(*attempts);
        if due <= now { self.make_ready(pod) } else { self.go(pod, Place::BackingOff(due)) }
    }

    /// When `pop` may next return something, if nothing else happens. `None`: not before a change.
    pub fn next_wake(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// Whether `pop` would return a pod at once.
    pub fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// How long a pod waits.
    #[must_use]
    pub fn waited(&self, pod: &Uid) -> Option<Waited> {
        let Waiting { attempts, since, .. } = *self.pods.get(pod)?;
        Some(Waited { attempts, since: since? })
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
        while let Some(Reverse((due, pod))) = self.due.peek()
            && *due <= now
        {
            let pod = pod.clone();
            self.make_ready(&pod);
        }
    }

    /// Only a pod that is being tried goes back: any other has heard of a change in the meantime, or
    /// waits already, and must not lose its place. Whether it has gone.
    fn put_back(&mut self, pod: &Uid, place: impl FnOnce(u32) -> Place) -> bool {
        let waiting = *self.pods.entry(pod.clone()).or_default();
        let goes = waiting.place == Place::Trying;
        if goes {
            self.go(pod, place(waiting.attempts));
        }
        goes
    }

    fn make_ready(&mut self, pod: &Uid) {
        self.next_turn += 1;
        self.go(pod, Place::Ready(self.next_turn));
    }

    fn go(&mut self, pod: &Uid, place: Place) {
        let Some(waiting) = self.pods.get_mut(pod) else { return };
        self.pending.moved(waiting.place, place);
        waiting.place = place;
        self.parked.remove(pod);
        if let Place::Ready(turn) = place {
            self.ready.push_back((turn, pod.clone()));
        }
        self.due.extend(place.due().map(|due| Reverse((due, pod.clone()))));
        self.clear_away();
    }

    /// The first of each index is a pod's that is there, and there are not many more than pods.
    fn clear_away(&mut self) {
        let Self { pods, ready, due, .. } = self;
        let is_ready = |(turn, pod): &(u64, Uid)| {
            pods.get(pod).is_some_and(|waiting| waiting.place == Place::Ready(*turn))
        };
        let is_due = |Reverse((due, pod)): &Reverse<(Instant, Uid)>| {
            pods.get(pod).is_some_and(|waiting| waiting.place.due() == Some(*due))
        };
        while ready.front().is_some_and(|first| !is_ready(first)) {
            ready.pop_front();
        }
        while due.peek().is_some_and(|first| !is_due(first)) {
            due.pop();
        }
        let most = 2 * pods.len() + LEFT_BEHIND;
        if ready.len() > most {
            ready.retain(is_ready);
        }
        if due.len() > most {
            due.retain(is_due);
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
        queue.add(&uid("a"), now);
        queue.add(&uid("b"), now);
        queue.add(&uid("a"), now);
        assert_eq!(queue.pop(now), Some(uid("a")));
        assert_eq!(queue.pop(now), Some(uid("b")));
        assert_eq!(queue.pop(now), None);
    }

    #[test]
    fn a_parked_pod_waits_for_a_change_and_for_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"), now);
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
        queue.add(&uid("a"), now);
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
        queue.add(&uid("a"), now);
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        queue.wake(|_, _| true, now + seconds(5));
        assert_eq!(queue.pop(now + seconds(5)), Some(uid("a")));
    }

    #[test]
    fn a_parked_pod_is_tried_anyway_after_five_minutes_and_a_failed_one_after_its_back_off() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("a"), now);
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        assert_eq!(queue.pop(now + seconds(300)), Some(uid("a")));
        queue.retry(&uid("a"), now);
        assert_eq!(queue.pop(now + seconds(2)), Some(uid("a")));
    }

    #[test]
    fn a_removed_pod_is_gone_wherever_it_was() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("ready"), now);
        queue.remove(&uid("ready"));
        queue.add(&uid("parked"), now);
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
        queue.add(&uid("a"), now);
        queue.pop(now);
        queue.park(&uid("a"), PluginSet::all(), now);
        queue.retry(&uid("a"), now);
        queue.pop(now + seconds(2));
        queue.remove(&uid("a"));
        assert_eq!(queue.next_wake(), None);
        assert_eq!(queue.pop(now + seconds(301)), None);
    }

    /// The first of an index is there, so that nothing behind it is cleared away before its turn.
    #[test]
    fn what_pods_leave_behind_that_come_and_go_is_cleared_away() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.add(&uid("parked"), now);
        queue.pop(now);
        queue.park(&uid("parked"), PluginSet::all(), now);
        for _ in 0..10 * LEFT_BEHIND {
            queue.add(&uid("b"), now);
            queue.pop(now);
            queue.park(&uid("b"), PluginSet::all(), now + seconds(1));
            queue.remove(&uid("b"));
        }
        queue.add(&uid("ready"), now);
        for _ in 0..10 * LEFT_BEHIND {
            queue.add(&uid("b"), now);
            queue.remove(&uid("b"));
        }
        let most = 2 * queue.len() + LEFT_BEHIND;
        assert!(queue.due.len() <= most, "{}", queue.due.len());
        assert!(queue.ready.len() <= most, "{}", queue.ready.len());
        assert_eq!(queue.pop(now), Some(uid("ready")));
        assert_eq!(queue.next_wake(), Some(now + LONGEST_PARKING));
    }
}
