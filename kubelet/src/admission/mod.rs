//! Whether a pod fits on this node: the scheduler has looked already, but a pod may be made with its node, and
//! two schedulers may not know of each other. What does not fit fails, for its owner to replace.

pub(crate) mod allocation;
mod fit;
mod requests;
mod sysctls;

use std::{collections::BTreeMap, sync::Arc};

use api_types::{
    Quantity,
    api::core::v1::{Node, Pod},
};
use parking_lot::Mutex;

pub use fit::{Pending, Rejection};

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

/// What comes of a pod's wish for another share of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resize {
    /// It has it.
    Done,
    /// It keeps what it has.
    Pending(Pending),
    /// The node, or the other pods, are not known yet.
    NotYet,
}

/// The pods that have a share of the node.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Settings of the kernel that pods may have beside the safe ones.
    allowed_sysctls: Vec<String>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    node: Option<Node>,
    listed: bool,
    /// By uid, with what they were given.
    admitted: BTreeMap<String, Arc<Pod>>,
}

impl Ledger {
    /// One of a node whose pods may have these settings of the kernel beside the safe ones.
    pub fn allowing(sysctls: &[String]) -> Self {
        Self { allowed_sysctls: sysctls.to_vec(), ..Self::default() }
    }

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

    /// A pod that was admitted earlier has its share, as it was told, whatever has changed since.
    pub fn hold(&self, pod: &Pod) {
        let told = Arc::new(allocation::told(pod));
        self.state.lock().admitted.entry(spec::identity(pod).uid).or_insert(told);
    }

    /// The pod with what it was given, if it was admitted.
    pub fn allocated(&self, uid: &str) -> Option<Arc<Pod>> {
        self.state.lock().admitted.get(uid).cloned()
    }

    /// Gives a pod that was admitted what it asks for now, if there is room for it.
    pub fn resize(&self, pod: &Arc<Pod>) -> Resize {
        let uid = spec::identity(pod).uid;
        let mut state = self.state.lock();
        let Some(node) = state.node.as_ref().filter(|_| state.listed) else {
            return Resize::NotYet;
        };
        let others = state.admitted.iter().filter(|(other, _)| **other != uid);
        match fit::check_size(pod, others.map(|(_, pod)| &**pod), node) {
            Err(pending) => Resize::Pending(pending),
            Ok(()) => {
                state.admitted.insert(uid, pod.clone());
                Resize::Done
            }
        }
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
        let allowed = sysctls::check(pod, &self.allowed_sysctls);
        match allowed.and_then(|()| fit::check(pod, others, node)) {
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
