//! Which instances are being handed over, as long as not everybody can see it.

use std::collections::{BTreeMap, BTreeSet};

use api_types::api::core::v1::Pod;
use api_types::meta::ObjectMeta;

use crate::adoption;
use crate::frame::ObjectKey;
use crate::informers::Informers;
use crate::pods;

/// What is under way, and what came of it.
#[derive(Default)]
pub(super) struct Handovers {
    /// By the set that gets instances.
    known: BTreeMap<ObjectKey, Handover>,
    /// Sets, with their uid, whose function could not be loaded.
    failed: BTreeMap<ObjectKey, String>,
}

struct Handover {
    set_uid: String,
    pods: BTreeSet<String>,
    /// Once it is done: the generation that the set got, if it did.
    done: Option<Option<i64>>,
}

impl Handovers {
    /// Whether a pod is being handed over.
    pub(super) fn has(&self, pod: &Pod) -> bool {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        self.known.values().any(|handover| handover.pods.contains(uid))
    }

    /// Whether instances are being handed over to a set.
    pub(super) fn is_under_way(&self, set: &ObjectKey) -> bool {
        self.known.contains_key(set)
    }

    /// Whether a set's function could not be loaded.
    pub(super) fn has_failed(&self, set: &ObjectKey) -> bool {
        self.failed.contains_key(set)
    }

    pub(super) fn begin<'a>(&mut self, set: &ObjectMeta, pods: impl Iterator<Item = &'a Pod>) {
        let set_uid = set.uid.clone().unwrap_or_default();
        let pods = pods.filter_map(|pod| pod.metadata.uid.clone()).collect();
        self.known.insert(ObjectKey::of(set), Handover { set_uid, pods, done: None });
    }

    /// It is done: the set got this generation, if it did.
    pub(super) fn end(&mut self, set: &ObjectKey, generation: Option<i64>) {
        if let Some(handover) = self.known.get_mut(set) {
            handover.done = Some(generation);
        }
    }

    pub(super) fn fail(&mut self, set: &ObjectMeta) {
        self.failed.insert(ObjectKey::of(set), set.uid.clone().unwrap_or_default());
    }

    /// Forgets what everybody can see by now.
    pub(super) fn forget(&mut self, informers: &Informers) {
        let Informers { replica_sets, pods, .. } = informers;
        let is_current = |key: &ObjectKey, uid: &str| {
            replica_sets.get(key).filter(|set| set.metadata.uid.as_deref() == Some(uid))
        };
        self.failed.retain(|key, uid| is_current(key, uid).is_some());
        self.known.retain(|key, handover| {
            let Some(generation) = handover.done else { return true };
            let set = is_current(key, &handover.set_uid);
            let is_seen = set.is_none_or(|set| set.metadata.generation >= generation);
            let is_taken = |pod: &Pod| {
                let uid = pod.metadata.uid.as_deref().unwrap_or_default();
                handover.pods.contains(uid) && adoption::waits(pod) && pods::is_active(pod)
            };
            !is_seen || !pods.filter_in(&key.namespace, is_taken).is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::apps::v1::ReplicaSet;
    use api_types::minik8s::Function;
    use kube::runtime::watcher::Event;
    use serde_json::json;

    use super::*;

    fn set(generation: i64) -> ReplicaSet {
        let metadata =
            json!({"namespace": "ns", "name": "add-v1", "uid": "s", "generation": generation});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    fn pod(label: &str) -> Pod {
        let metadata = json!({"namespace": "ns", "name": "p", "uid": "p", "labels": {label: "x"}});
        serde_json::from_value(json!({"metadata": metadata})).unwrap()
    }

    /// Until then, a set would be given instances a second time, or an instance away twice.
    #[test]
    fn a_handover_is_remembered_until_both_objects_show_it() {
        let (informers, mut handovers) = (Informers::default(), Handovers::default());
        informers.replica_sets.take_in(Event::Apply(set(1)));
        informers.pods.take_in(Event::Apply(pod(Function::POOL_LABEL)));
        let key = ObjectKey::new("ns", "add-v1");
        handovers.begin(&set(1).metadata, [&pod(Function::POOL_LABEL)].into_iter());
        let is_remembered = |handovers: &mut Handovers| {
            handovers.forget(&informers);
            handovers.is_under_way(&key)
        };
        assert!(is_remembered(&mut handovers));
        handovers.end(&key, Some(2));
        informers.pods.take_in(Event::Apply(pod(Function::LABEL)));
        assert!(is_remembered(&mut handovers), "the set is seen as it was");
        informers.replica_sets.take_in(Event::Apply(set(2)));
        informers.pods.take_in(Event::Apply(pod(Function::POOL_LABEL)));
        assert!(is_remembered(&mut handovers), "the pod is seen as it was");
        informers.pods.take_in(Event::Apply(pod(Function::LABEL)));
        assert!(!is_remembered(&mut handovers));
    }
}
