//! Which autoscaler counts which pods.

use std::collections::BTreeMap;
use std::sync::Arc;

use api_machinery::LabelSelector;
use api_types::api::core::v1::Pod;
use parking_lot::Mutex;

use crate::frame::ObjectKey;
use crate::indexes::picks;

/// The selectors of all autoscalers, as of their last looks.
#[derive(Debug, Default)]
pub(super) struct Selectors(Mutex<BTreeMap<ObjectKey, LabelSelector>>);

impl Selectors {
    pub(super) fn set(&self, autoscaler: &ObjectKey, selector: LabelSelector) {
        self.0.lock().insert(autoscaler.clone(), selector);
    }

    pub(super) fn forget(&self, autoscaler: &ObjectKey) {
        self.0.lock().remove(autoscaler);
    }

    /// The autoscalers of a namespace that count one of these pods of it.
    pub(super) fn picking(&self, namespace: &str, pods: &[Arc<Pod>]) -> Vec<ObjectKey> {
        let all = self.0.lock();
        let those = all.iter().filter(|(key, selector)| {
            key.namespace == namespace && pods.iter().any(|pod| picks(selector, &pod.metadata))
        });
        those.map(|(key, _)| key.clone()).collect()
    }
}
