//! Whether a pod fits on this node: the scheduler has looked already, but a pod may be made with its node, and
//! two schedulers may not know of each other. What does not fit fails, for its owner to replace.

mod fit;
mod requests;

use std::{collections::BTreeMap, sync::Arc};

use api_types::{
    Quantity,
    api::core::v1::{Node, Pod},
};
use parking_lot::Mutex;

pub use fit::Rejection;

use crate::spec;

/// Whether a pod may run here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, and its share of the node is taken.
    Admitted,
    /// It may not.
    Rejected(Rejection),
    /// The node, or the other pods, are not known yet.
    NotYet,
}

/// The pods that have a share of the node.
#[derive(Debug, Default)]
pub struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    node: Option<Node>,
    listed: bool,
    /// By uid.
    admitted: BTreeMap<String, Arc<Pod>>,
}

impl Ledger {
    /// The node as the API server has it; one without `allocatable` has not registered yet.
    pub fn note_node(&self, node: &Node) {
        if node.status.as_ref().is_some_and(|status| status.allocatable.is_some()) {
            self.state.lock().node = Some(node.clone());
        }
    }

    /// What the node has for pods; nothing until it has registered.
    pub fn allocatable(&self) -> BTreeMap<String, Quantity> {
        let state = self.state.lock();
        let status = state.node.as_ref().and_then(|node| node.status.as_ref());
        status.and_then(|status| status.allocatable.clone()).unwrap_or_default()
    }

    /// All pods that were admitted earlier are known: from now on others may be admitted.
    pub fn listed(&self) {
        self.state.lock().listed = true;
    }

    /// A pod that was admitted earlier has its share, whatever has changed since.
    pub fn hold(&self, pod: &Arc<Pod>) {
        self.state.lock().admitted.insert(spec::identity(pod).uid, pod.clone());
    }

    /// Decides about a pod, once.
    pub fn admit(&self, pod: &Arc<Pod>) -> Admission {
        let uid = spec::identity(pod).uid;
        let mut state = self.state.lock();
        if state.admitted.contains_key(&uid) {
            return Admission::Admitted;
        }
        let Some(node) = state.node.as_ref().filter(|_| state.listed) else {
            return Admission::NotYet;
        };
        let others = state.admitted.values().map(|pod| &**pod);
        match fit::check(pod, others, node) {
            Err(rejection) => Admission::Rejected(rejection),
            Ok(()) => {
                state.admitted.insert(uid, pod.clone());
                Admission::Admitted
            }
        }
    }

    /// The pod holds nothing of the node any more.
    pub fn release(&self, uid: &str) {
        self.state.lock().admitted.remove(uid);
    }
}

/// Whether a kubelet had admitted the pod already: it reports when it begins with one.
pub fn was_admitted(pod: &Pod) -> bool {
    pod.status.as_ref().is_some_and(|status| status.start_time.is_some())
}
