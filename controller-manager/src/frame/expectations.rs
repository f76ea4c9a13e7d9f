//! Waiting for one's own writes to come back before counting again. A controller that creates three
//! pods and then counts in a store that has not heard of them would create three more.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Informer, Mark, ObjectKey, Watched};

/// After this time one looks anyway; something is wrong then, and waiting does not mend it.
const PATIENCE: Duration = Duration::from_secs(300);

/// What each key waits for.
#[derive(Debug, Default)]
pub struct Expectations {
    pending: Mutex<HashMap<ObjectKey, Pending>>,
}

#[derive(Debug)]
struct Pending {
    mark: Mark,
    /// Objects that should be gone, or going, with their uid.
    going: Vec<(ObjectKey, String)>,
    /// The last write.
    since: Instant,
}

impl Expectations {
    /// The key's owner has written something: it is to be seen before the next count.
    pub fn written(&self, key: &ObjectKey, mark: Mark) {
        self.update(key, |pending| pending.mark = pending.mark.max(mark));
    }

    /// The key's owner has deleted an object.
    pub fn deleted(&self, key: &ObjectKey, object: ObjectKey, uid: String) {
        self.update(key, |pending| pending.going.push((object, uid)));
    }

    /// Whether the store shows everything that the key's owner has done.
    pub fn are_met<K: Watched>(&self, key: &ObjectKey, informer: &Informer<K>) -> bool {
        let mut all = self.pending.lock();
        let Some(pending) = all.get_mut(key) else { return true };
        pending.going.retain(|(object, uid)| still_there(informer, object, uid));
        let met = pending.going.is_empty() && informer.has_seen(&pending.mark);
        let met = met || pending.since.elapsed() >= PATIENCE;
        if met {
            all.remove(key);
        }
        met
    }

    /// How long ago the key's owner has last written something that is still waited for.
    pub fn waited(&self, key: &ObjectKey) -> Duration {
        self.pending.lock().get(key).map_or(Duration::ZERO, |pending| pending.since.elapsed())
    }

    /// Forgets the key: its owner is gone.
    pub fn forget(&self, key: &ObjectKey) {
        self.pending.lock().remove(key);
    }

    fn update(&self, key: &ObjectKey, change: impl FnOnce(&mut Pending)) {
        let mut all = self.pending.lock();
        let since = Instant::now();
        let pending = all.entry(key.clone()).or_insert_with(|| Pending {
            mark: Mark::default(),
            going: Vec::new(),
            since,
        });
        pending.since = since;
        change(pending);
    }
}

fn still_there<K: Watched>(informer: &Informer<K>, object: &ObjectKey, uid: &str) -> bool {
    informer.get(object).is_some_and(|found| {
        let metadata = found.meta();
        metadata.uid.as_deref() == Some(uid) && metadata.deletion_timestamp.is_none()
    })
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::Pod;
    use kube::runtime::watcher::Event;
    use serde_json::{Value, json};

    use super::*;

    fn pod(version: &str, deletion: Value) -> Pod {
        serde_json::from_value(json!({"metadata": {
            "namespace": "ns", "name": "p", "uid": "u", "resourceVersion": version, "deletionTimestamp": deletion,
        }}))
        .unwrap()
    }

    #[test]
    fn a_write_is_waited_for() {
        let (expectations, informer) = (Expectations::default(), Informer::default());
        let key = ObjectKey::new("ns", "owner");
        assert!(expectations.are_met(&key, &informer));
        expectations.written(&key, informer.mark(&pod("5", json!(null))));
        assert!(!expectations.are_met(&key, &informer));
        informer.take_in(Event::Apply(pod("5", json!(null))));
        assert!(expectations.are_met(&key, &informer));
    }

    #[test]
    fn a_deletion_is_waited_for_until_the_object_goes() {
        let (expectations, informer) = (Expectations::default(), Informer::default());
        let key = ObjectKey::new("ns", "owner");
        informer.take_in(Event::Apply(pod("5", json!(null))));
        expectations.deleted(&key, ObjectKey::new("ns", "p"), "u".to_owned());
        assert!(!expectations.are_met(&key, &informer));
        informer.take_in(Event::Apply(pod("6", json!("2026-01-01T00:00:00Z"))));
        assert!(expectations.are_met(&key, &informer));
    }

    #[tokio::test(start_paused = true)]
    async fn after_five_minutes_one_looks_anyway() {
        let (expectations, informer) = (Expectations::default(), Informer::<Pod>::default());
        let key = ObjectKey::new("ns", "owner");
        expectations.written(&key, informer.mark(&pod("5", json!(null))));
        tokio::time::advance(PATIENCE - Duration::from_secs(1)).await;
        assert!(!expectations.are_met(&key, &informer));
        assert_eq!(expectations.waited(&key), PATIENCE - Duration::from_secs(1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(expectations.are_met(&key, &informer));
    }
}
