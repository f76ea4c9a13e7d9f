//! Who owns whom, over all objects of all kinds, by uid. Pure.

use std::collections::{BTreeSet, HashMap};

use api_types::meta::{ObjectMeta, OwnerReference};

/// The identity of an object for all time.
pub(super) type Uid = String;

/// Delete the dependents first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Let the dependents go.
pub(super) const ORPHAN: &str = "orphan";

/// An object as far as ownership goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
}

impl Object {
    pub(super) fn new(api_version: &str, kind: &str, metadata: &ObjectMeta) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            owners: metadata.owner_references.clone().unwrap_or_default(),
            deleting: metadata.deletion_timestamp.is_some(),
            finalizers: metadata.finalizers.clone().unwrap_or_default(),
        }
    }

    /// Whether it is being deleted and waits for this finalizer.
    pub(super) fn waits_for(&self, finalizer: &str) -> bool {
        self.deleting && self.finalizers.iter().any(|mine| mine == finalizer)
    }

    /// Whether it holds up the foreground deletion of that owner.
    fn blocks(&self, owner: &str) -> bool {
        self.owners.iter().any(|mine| mine.uid == owner && mine.block_owner_deletion == Some(true))
    }
}

/// All objects.
#[derive(Debug, Default)]
pub(super) struct Graph {
    objects: HashMap<Uid, Object>,
    dependents: HashMap<Uid, BTreeSet<Uid>>,
}

impl Graph {
    pub(super) fn get(&self, uid: &str) -> Option<&Object> {
        self.objects.get(uid)
    }

    /// The objects that name this one as an owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<(Uid, Object)> {
        let dependents = self.dependents.get(uid).into_iter().flatten();
        dependents.filter_map(|uid| Some((uid.clone(), self.objects.get(uid)?.clone()))).collect()
    }

    /// Whether some dependent holds up the foreground deletion of this object.
    pub(super) fn is_blocked(&self, uid: &str) -> bool {
        self.dependents(uid).iter().any(|(_, dependent)| dependent.blocks(uid))
    }

    /// Takes in a new or changed object; returns who is worth a look.
    pub(super) fn apply(&mut self, uid: &str, object: Object) -> Vec<Uid> {
        let old = self.objects.get(uid);
        let lost = old.map(|old| old.owners.clone()).unwrap_or_default();
        if old == Some(&object) {
            return Vec::new();
        }
        self.unlink(uid, &lost);
        for owner in &object.owners {
            self.dependents.entry(owner.uid.clone()).or_default().insert(uid.to_owned());
        }
        // An owner that this object no longer blocks may go on.
        let mut affected: Vec<Uid> = lost.into_iter().map(|owner| owner.uid).collect();
        if !object.owners.is_empty() || object.deleting {
            affected.push(uid.to_owned());
        }
        self.objects.insert(uid.to_owned(), object);
        affected
    }

    /// Forgets an object; returns who is worth a look: its dependents, and the owners it blocked.
    pub(super) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let Some(object) = self.objects.remove(uid) else { return Vec::new() };
        self.unlink(uid, &object.owners);
        let dependents = self.dependents.get(uid).into_iter().flatten().cloned();
        dependents.chain(object.owners.into_iter().map(|owner| owner.uid)).collect()
    }

    fn unlink(&mut self, uid: &str, owners: &[OwnerReference]) {
        for owner in owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// An object with owners, each as (uid, blocks).
    pub(crate) fn object(name: &str, owners: &[(&str, bool)], more: Value) -> Object {
        let owners = owners.iter().map(|(uid, blocks)| {
            json!({"apiVersion": "v1", "kind": "Owner", "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
        });
        let mut metadata =
            json!({"namespace": "ns", "name": name, "ownerReferences": owners.collect::<Vec<_>>()});
        for (key, value) in more.as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        Object::new("v1", "Thing", &serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn a_removed_owner_makes_its_dependents_worth_a_look() {
        let mut graph = Graph::default();
        assert_eq!(graph.apply("owner", object("owner", &[], json!({}))), Vec::<Uid>::new());
        assert_eq!(graph.apply("a", object("a", &[("owner", true)], json!({}))), ["a"]);
        assert_eq!(graph.dependents("owner").len(), 1);
        assert!(graph.is_blocked("owner"));
        assert_eq!(graph.remove("owner"), ["a"]);
    }

    #[test]
    fn a_dependent_that_goes_or_is_released_unblocks_its_owner() {
        let mut graph = Graph::default();
        graph.apply("a", object("a", &[("owner", true)], json!({})));
        graph.apply("b", object("b", &[("owner", true)], json!({})));
        assert_eq!(graph.remove("a"), ["owner"]);
        assert_eq!(graph.apply("b", object("b", &[], json!({}))), ["owner"]);
        assert!(!graph.is_blocked("owner"));
    }

    #[test]
    fn the_same_object_again_is_no_news() {
        let mut graph = Graph::default();
        graph.apply("a", object("a", &[("owner", true)], json!({})));
        assert_eq!(graph.apply("a", object("a", &[("owner", true)], json!({}))), Vec::<Uid>::new());
    }
}
