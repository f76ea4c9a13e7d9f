//! Finds out about the owners of an object: in the graph, or else from the API server itself.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use api_types::meta::OwnerReference;
use futures::future::try_join_all;
use kube::Client;
use parking_lot::Mutex;

use super::decision::OwnerState;
use super::graph::Object;
use super::live;
use super::monitors::Monitors;
use crate::discovery::GroupKind;
use crate::frame::Error;

/// So many absent owners are remembered, as in Kubernetes.
const REMEMBERED: usize = 500;

pub(super) struct Owners {
    client: Client,
    monitors: Arc<Monitors>,
    absent: Mutex<Absent>,
}

impl Owners {
    pub(super) fn new(client: Client, monitors: Arc<Monitors>) -> Self {
        Self { client, monitors, absent: Mutex::default() }
    }

    /// The states of all owners of an object, in the order of its references.
    pub(super) async fn states(&self, dependent: &Object) -> Result<Vec<OwnerState>, Error> {
        let references = dependent.owners.iter();
        try_join_all(references.map(|owner| self.state(owner, &dependent.namespace))).await
    }

    /// An owner of whose kind too little is known to ask for it.
    pub(super) fn doubt(&self, dependent: &Object) -> Option<OwnerState> {
        let mut known =
            dependent.owners.iter().filter_map(|owner| self.known(owner, &dependent.namespace));
        known.find(|state| matches!(state, OwnerState::Undiscovered | OwnerState::Unlisted))
    }

    async fn state(&self, owner: &OwnerReference, namespace: &str) -> Result<OwnerState, Error> {
        match self.known(owner, namespace) {
            Some(state) => Ok(state),
            None => self.ask(owner, namespace).await,
        }
    }

    /// What can be told without asking.
    fn known(&self, owner: &OwnerReference, namespace: &str) -> Option<OwnerState> {
        if let Some(known) = self.monitors.graph.lock().owner(owner, namespace) {
            return Some(alive(known));
        }
        let kind = GroupKind::new(&owner.api_version, &owner.kind);
        let Some(found) = self.monitors.resource(&kind) else {
            return Some(OwnerState::Undiscovered);
        };
        if found.is_namespaced() && namespace.is_empty() {
            return Some(OwnerState::Invalid);
        }
        (!self.monitors.is_listed(&kind)).then_some(OwnerState::Unlisted)
    }

    /// An owner that does not exist never will: uids are not given twice.
    async fn ask(&self, owner: &OwnerReference, namespace: &str) -> Result<OwnerState, Error> {
        let kind = GroupKind::new(&owner.api_version, &owner.kind);
        let Some(found) = self.monitors.resource(&kind) else {
            return Ok(OwnerState::Undiscovered);
        };
        let key = Key::new(&kind, owner, namespace);
        if self.absent.lock().contains(&key) {
            return Ok(OwnerState::Absent);
        }
        let api = found.api(self.client.clone(), namespace);
        Ok(match live::read(&api, &owner.name, &owner.uid).await? {
            Some(metadata) => alive(&Object::new(Arc::new(kind), &metadata)),
            None => {
                self.absent.lock().insert(key);
                OwnerState::Absent
            }
        })
    }
}

fn alive(owner: &Object) -> OwnerState {
    if owner.waits_for_dependents() { OwnerState::Waiting } else { OwnerState::Solid }
}

/// A reference, as far as it matters for whether it leads anywhere.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    kind: GroupKind,
    uid: String,
    namespace: String,
    name: String,
}

impl Key {
    fn new(kind: &GroupKind, owner: &OwnerReference, namespace: &str) -> Self {
        Self {
            kind: kind.clone(),
            uid: owner.uid.clone(),
            namespace: namespace.to_owned(),
            name: owner.name.clone(),
        }
    }
}

/// The owners that were last found absent.
#[derive(Debug, Default)]
struct Absent {
    keys: HashSet<Key>,
    order: VecDeque<Key>,
}

impl Absent {
    fn contains(&self, key: &Key) -> bool {
        self.keys.contains(key)
    }

    fn insert(&mut self, key: Key) {
        if self.keys.insert(key.clone()) {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.keys.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use api_types::api::core::v1::ConfigMap;
    use kube::Api;
    use kube::api::PostParams;
    use serde_json::json;

    use super::*;
    use crate::discovery::Discovery;

    #[test]
    fn the_oldest_absent_owners_are_forgotten() {
        let kind = GroupKind::new("v1", "Thing");
        let key = |n: usize| {
            let owner = OwnerReference { uid: n.to_string(), ..OwnerReference::default() };
            Key::new(&kind, &owner, "")
        };
        let mut absent = Absent::default();
        (0..=REMEMBERED).for_each(|n| absent.insert(key(n)));
        absent.insert(key(REMEMBERED));
        assert_eq!(absent.keys.len(), REMEMBERED);
        assert!(!absent.contains(&key(0)) && absent.contains(&key(1)));
    }

    /// Somebody else's wrong reference must not cost those their lives that name the same owner rightly.
    #[tokio::test]
    async fn an_owner_that_is_absent_as_one_kind_may_be_there_as_another() {
        let plane = testkit::ControlPlane::start().await;
        let maps = Api::<ConfigMap>::namespaced(plane.client(), "default");
        let map = json!({"metadata": {"name": "owner"}});
        let map = serde_json::from_value(map).unwrap();
        let map = maps.create(&PostParams::default(), &map).await.unwrap();
        let monitors = Arc::new(Monitors::default());
        let found = Discovery::new(plane.client()).fresh().await.unwrap();
        monitors.know(&found);
        let owners = Owners::new(plane.client(), monitors);
        let state = async |kind: &str| {
            let owner = OwnerReference {
                api_version: "v1".to_owned(),
                kind: kind.to_owned(),
                name: "owner".to_owned(),
                uid: map.metadata.uid.clone().unwrap(),
                ..OwnerReference::default()
            };
            owners.ask(&owner, "default").await.unwrap()
        };
        assert_eq!(state("Secret").await, OwnerState::Absent);
        assert_eq!(state("ConfigMap").await, OwnerState::Solid);
        assert_eq!(state("Secret").await, OwnerState::Absent);
    }
}
