//! Since when pods have been on their nodes, by a clock that nobody sets. A pod that is seen unbound
//! first arrives when it is seen bound. One that was bound when it was first seen has been there for as
//! long as its condition `PodScheduled` says, so that time goes on while no controller runs.

use std::collections::HashMap;
use std::time::Duration;

use api_types::api::core::v1::Pod;
use api_types::jiff::Timestamp;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::frame::Change;
use crate::pods;

/// By the pods' UIDs.
#[derive(Debug, Default)]
pub(crate) struct Arrivals(Mutex<HashMap<String, Instant>>);

impl Arrivals {
    /// A pod as it is now.
    pub(crate) fn see(&self, change: &Change<Pod>, time: Timestamp, now: Instant) {
        let mut all = self.0.lock();
        let old = change.old.as_deref();
        let known = old.and_then(|old| all.remove(uid(old)));
        let bound = |pod: &&Pod| pods::is_active(pod) && pods::node_of(pod).is_some();
        let Some(pod) = change.new.as_deref().filter(bound) else { return };
        let since = match old.filter(|old| uid(old) == uid(pod)) {
            Some(_) => known,
            None => now.checked_sub(told(pod, time)),
        };
        all.insert(uid(pod).to_owned(), since.unwrap_or(now));
    }

    /// For how long the pod has been on its node; nothing if that is still to be seen.
    pub(crate) fn age(&self, pod: &Pod, now: Instant) -> Duration {
        let since = self.0.lock().get(uid(pod)).copied();
        since.map(|since| now.duration_since(since)).unwrap_or_default()
    }
}

/// What the pod says; nothing if it is of the future.
fn told(pod: &Pod, time: Timestamp) -> Duration {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref());
    let mut conditions = conditions.unwrap_or_default().iter();
    let scheduled = conditions.find(|condition| condition.type_ == "PodScheduled");
    let since = scheduled.and_then(|condition| condition.last_transition_time.as_ref());
    since.and_then(|since| time.duration_since(since.0).try_into().ok()).unwrap_or_default()
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;

    const SCHEDULED: &str = "2026-01-01T00:00:00Z";
    const NOW: &str = "2026-01-01T00:01:40Z";

    fn pod(uid: &str, node: &str, scheduled: &str) -> Arc<Pod> {
        let condition =
            json!({"type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled});
        let pod = json!({"metadata": {"uid": uid}, "spec": {"containers": [], "nodeName": node},
            "status": {"conditions": [condition]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn see(all: &Arrivals, old: Option<&Arc<Pod>>, new: Option<&Arc<Pod>>, now: Instant) {
        let change = Change { old: old.cloned(), new: new.cloned() };
        all.see(&change, NOW.parse().unwrap(), now);
    }

    #[test]
    fn a_pod_that_was_bound_before_is_as_old_as_it_says() {
        let (all, start) = (Arrivals::default(), Instant::now());
        let (bound, future) = (pod("a", "n1", SCHEDULED), pod("b", "n1", "2027-01-01T00:00:00Z"));
        see(&all, None, Some(&bound), start);
        see(&all, None, Some(&future), start);
        let later = start + Duration::from_secs(5);
        assert_eq!(all.age(&bound, later).as_secs(), 105);
        assert_eq!(all.age(&future, later).as_secs(), 5);
    }

    #[test]
    fn a_pod_that_is_bound_before_our_eyes_counts_from_then_whatever_the_clocks_say() {
        let (all, start) = (Arrivals::default(), Instant::now());
        let (unbound, bound) = (pod("a", "", SCHEDULED), pod("a", "n1", SCHEDULED));
        see(&all, None, Some(&unbound), start);
        see(&all, Some(&unbound), Some(&bound), start + Duration::from_secs(10));
        see(&all, Some(&bound), Some(&bound), start + Duration::from_secs(20));
        assert_eq!(all.age(&bound, start + Duration::from_secs(30)).as_secs(), 20);
    }

    #[test]
    fn pods_that_are_gone_are_forgotten() {
        let (all, start) = (Arrivals::default(), Instant::now());
        let (first, second) = (pod("a", "n1", SCHEDULED), pod("b", "n1", NOW));
        see(&all, None, Some(&first), start);
        see(&all, Some(&first), Some(&second), start);
        assert_eq!(all.age(&second, start).as_secs(), 0);
        assert_eq!(all.0.lock().len(), 1, "another pod has the name");
        see(&all, Some(&second), None, start);
        assert!(all.0.lock().is_empty());
    }
}
