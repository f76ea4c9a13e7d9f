//! The keys a controller still has to look at.
//!
//! A key is in the queue at most once; a key that is being looked at is not handed to a second worker,
//! but looked at again afterwards if it was added meanwhile. A key that failed comes back after a
//! back-off of its own (50 ms, doubling to 30 s).

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::ObjectKey;
use super::metrics::{Metrics, QueueMetrics};
use super::working::Working;

const FIRST_BACK_OFF: Duration = Duration::from_millis(50);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(30);

/// A key is looked at again after this time at the latest: users say for how long some delays are, and no clock goes on
/// for as long as they can say.
const LONGEST_DELAY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The queue.
#[derive(Debug, Default)]
pub struct WorkQueue {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    ready: VecDeque<ObjectKey>,
    /// In `ready`, or to be put there when its worker is done; since when.
    waiting: HashMap<ObjectKey, Instant>,
    /// With a worker.
    working: Working,
    delayed: BTreeSet<(Instant, ObjectKey)>,
    due: HashMap<ObjectKey, Instant>,
    failures: HashMap<ObjectKey, u32>,
    metrics: QueueMetrics,
}

impl Drop for State {
    /// A term is over; the program goes on.
    fn drop(&mut self) {
        self.metrics.depth.set(0);
    }
}

impl WorkQueue {
    /// Counts there from now on, under this name.
    pub(super) fn count_in(&self, metrics: &Metrics, name: &'static str) {
        let mut state = self.state.lock();
        let metrics = metrics.of(name, &state.working);
        metrics.adds.inc_by(state.waiting.len() as u64);
        state.metrics = metrics;
        state.tell_depth();
    }

    /// The key is worth a look now.
    pub fn add(&self, key: ObjectKey) {
        if self.state.lock().add(key) {
            self.changed.notify_one();
        }
    }

    /// The key is worth a look after a time, if not before; after a year in any case.
    pub fn add_after(&self, key: ObjectKey, delay: Duration) {
        self.state.lock().add_at(key, Instant::now() + delay.min(LONGEST_DELAY));
        self.changed.notify_one();
    }

    /// The next key to look at; hand it back with [`done`](Self::done).
    pub async fn next(&self) -> ObjectKey {
        loop {
            let changed = self.changed.notified();
            let (key, wake, more) = self.state.lock().take(Instant::now());
            if let Some(key) = key {
                if more {
                    self.changed.notify_one();
                }
                return key;
            }
            let sleep = async {
                match wake {
                    Some(wake) => tokio::time::sleep_until(wake).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = changed => {}
                () = sleep => {}
            }
        }
    }

    /// The key has been looked at.
    pub fn done(&self, key: &ObjectKey) {
        if self.state.lock().done(key) {
            self.changed.notify_one();
        }
    }

    /// The look failed: once more after the back-off.
    pub fn failed(&self, key: &ObjectKey) {
        let failures = {
            let mut state = self.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            let failures = *failures;
            state.metrics.retries.inc();
            failures
        };
        self.add_after(key.clone(), back_off(failures));
    }

    /// The look succeeded: the next failure begins with the shortest back-off.
    pub fn succeeded(&self, key: &ObjectKey) {
        self.state.lock().failures.remove(key);
    }
}

impl State {
    /// Whether somebody should be woken.
    fn add(&mut self, key: ObjectKey) -> bool {
        if self.waiting.contains_key(&key) {
            return false;
        }
        self.waiting.insert(key.clone(), Instant::now());
        self.metrics.adds.inc();
        if self.working.lock().contains_key(&key) {
            return false;
        }
        self.ready.push_back(key);
        self.tell_depth();
        true
    }

    fn tell_depth(&self) {
        self.metrics.depth.set(i64::try_from(self.ready.len()).unwrap_or(i64::MAX));
    }

    /// The earliest time wins.
    fn add_at(&mut self, key: ObjectKey, due: Instant) {
        if let Some(planned) = self.due.get(&key).copied() {
            if planned <= due {
                return;
            }
            self.delayed.remove(&(planned, key.clone()));
        }
        self.due.insert(key.clone(), due);
        self.delayed.insert((due, key));
    }

    /// The next key; when there may be one if there is none; whether there are more.
    fn take(&mut self, now: Instant) -> (Option<ObjectKey>, Option<Instant>, bool) {
        while let Some((due, key)) = self.delayed.first().cloned() {
            if due > now {
                break;
            }
            self.delayed.pop_first();
            self.due.remove(&key);
            self.add(key);
        }
        let key = self.ready.pop_front();
        if let Some(key) = &key {
            let since = self.waiting.remove(key).unwrap_or(now);
            self.metrics.queue_duration.observe((now - since).as_secs_f64());
            self.working.lock().insert(key.clone(), now);
            self.tell_depth();
        }
        (key, self.delayed.first().map(|(due, _)| *due), !self.ready.is_empty())
    }

    fn done(&mut self, key: &ObjectKey) -> bool {
        let since = self.working.lock().remove(key);
        if let Some(since) = since {
            self.metrics.work_duration.observe(since.elapsed().as_secs_f64());
        }
        let again = self.waiting.contains_key(key);
        if again {
            self.ready.push_back(key.clone());
            self.tell_depth();
        }
        again
    }
}

fn back_off(failures: u32) -> Duration {
    (FIRST_BACK_OFF * 2_u32.pow(failures.saturating_sub(1).min(12))).min(LONGEST_BACK_OFF)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ObjectKey {
        ObjectKey::cluster(name)
    }

    fn take(state: &mut State, now: Instant) -> Option<ObjectKey> {
        state.take(now).0
    }

    #[test]
    fn a_key_waits_once_however_often_it_is_added() {
        let (mut state, now) = (State::default(), Instant::now());
        state.add(key("a"));
        state.add(key("b"));
        state.add(key("a"));
        assert_eq!(take(&mut state, now), Some(key("a")));
        assert_eq!(take(&mut state, now), Some(key("b")));
        assert_eq!(take(&mut state, now), None);
    }

    #[test]
    fn a_key_is_with_one_worker_at_a_time_and_comes_back_if_it_was_added_meanwhile() {
        let (mut state, now) = (State::default(), Instant::now());
        state.add(key("a"));
        take(&mut state, now);
        state.add(key("a"));
        assert_eq!(take(&mut state, now), None);
        assert!(state.done(&key("a")));
        assert_eq!(take(&mut state, now), Some(key("a")));
        assert!(!state.done(&key("a")));
        assert_eq!(take(&mut state, now), None);
    }

    #[test]
    fn of_two_delays_the_shorter_counts() {
        let (mut state, now) = (State::default(), Instant::now());
        state.add_at(key("a"), now + Duration::from_secs(5));
        state.add_at(key("a"), now + Duration::from_secs(2));
        state.add_at(key("a"), now + Duration::from_secs(9));
        assert_eq!(take(&mut state, now + Duration::from_secs(1)), None);
        assert_eq!(take(&mut state, now + Duration::from_secs(2)), Some(key("a")));
        state.done(&key("a"));
        assert_eq!(take(&mut state, now + Duration::from_secs(60)), None);
    }

    #[test]
    fn the_back_off_doubles_up_to_half_a_minute() {
        let millis: Vec<u128> = (1..=4).map(|n| back_off(n).as_millis()).collect();
        assert_eq!(millis, [50, 100, 200, 400]);
        assert_eq!(back_off(30), LONGEST_BACK_OFF);
    }

    #[tokio::test]
    async fn a_waiting_worker_wakes_when_a_key_is_added() {
        let queue = std::sync::Arc::new(WorkQueue::default());
        let worker = tokio::spawn({
            let queue = queue.clone();
            async move { queue.next().await }
        });
        queue.add(key("a"));
        assert_eq!(worker.await.unwrap(), key("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_delay_may_be_longer_than_any_clock_goes_on() {
        let queue = WorkQueue::default();
        queue.add_after(key("a"), Duration::MAX);
        queue.add_after(key("b"), Duration::from_secs(i64::MAX.unsigned_abs()));
        queue.add_after(key("c"), Duration::from_secs(5));
        assert_eq!(queue.next().await, key("c"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_queue_tells_how_much_waits_and_how_long_everything_takes() {
        let registry = component::Metrics::default();
        let metrics = Metrics::register(&registry);
        let queue = WorkQueue::default();
        queue.add(key("before"));
        queue.count_in(&metrics, "cats");
        queue.add(key("a"));
        queue.add(key("a"));
        let told = |line: &str| {
            let text = registry.encode().unwrap();
            assert!(text.lines().any(|told| told == line), "no {line} in {text}");
        };
        told(r#"workqueue_depth{name="cats"} 2"#);
        told(r#"workqueue_adds_total{name="cats"} 2"#);
        tokio::time::advance(Duration::from_secs(3)).await;
        let first = queue.next().await;
        tokio::time::advance(Duration::from_secs(20)).await;
        queue.add(first.clone());
        queue.failed(&first);
        queue.done(&first);
        told(r#"workqueue_depth{name="cats"} 2"#);
        told(r#"workqueue_adds_total{name="cats"} 3"#);
        told(r#"workqueue_retries_total{name="cats"} 1"#);
        told(r#"workqueue_queue_duration_seconds_sum{name="cats"} 3.0"#);
        told(r#"workqueue_work_duration_seconds_sum{name="cats"} 20.0"#);
        drop(queue);
        told(r#"workqueue_depth{name="cats"} 0"#);
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_under_way_shows_how_long_it_takes() {
        let registry = component::Metrics::default();
        let metrics = Metrics::register(&registry);
        let queue = WorkQueue::default();
        queue.count_in(&metrics, "cats");
        let told = |unfinished: &str, longest: &str| {
            let text = registry.encode().unwrap();
            for line in [
                format!(r#"workqueue_unfinished_work_seconds{{name="cats"}} {unfinished}"#),
                format!(r#"workqueue_longest_running_processor_seconds{{name="cats"}} {longest}"#),
            ] {
                assert!(text.lines().any(|told| told == line), "no {line} in {text}");
            }
        };
        queue.add(key("a"));
        queue.add(key("b"));
        told("0.0", "0.0");
        let first = queue.next().await;
        tokio::time::advance(Duration::from_secs(20)).await;
        let _second = queue.next().await;
        tokio::time::advance(Duration::from_secs(5)).await;
        told("30.0", "25.0");
        queue.done(&first);
        told("5.0", "5.0");
        drop(queue);
        told("0.0", "0.0");
    }
}
