//! Who owns whom, over all objects of all kinds, by uid. Pure.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use api_types::meta::{ObjectMeta, OwnerReference};
use api_types::minik8s::GpuJob;

use crate::discovery::GroupKind;

/// The identity of an object for all time.
pub(super) type Uid = String;

/// Delete the dependents first.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Who takes them away needs what the object owns until then, the login of a job's server among it: foreground deletion
/// begins after them.
const BEFORE_DEPENDENTS: [&str; 1] = [GpuJob::FINALIZER];
/// Let the dependents go.
pub(super) const ORPHAN: &str = "orphan";

/// An object as far as ownership goes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Object {
    pub(super) kind: Arc<GroupKind>,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) owners: Vec<OwnerReference>,
    pub(super) deleting: bool,
    pub(super) finalizers: Vec<String>,
}

impl Object {
    pub(super) fn new(kind: Arc<GroupKind>, metadata: &ObjectMeta) -> Self {
        Self {
            kind,
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

    /// Whether it is being deleted in the foreground, and nothing else comes before that.
    pub(super) fn waits_for_dependents(&self) -> bool {
        let is_held = BEFORE_DEPENDENTS.iter().any(|before| self.waits_for(before));
        self.waits_for(FOREGROUND) && !is_held
    }

    /// Whether it holds up the foreground deletion of that owner.
    fn blocks(&self, owner: &str) -> bool {
        blocks(&self.owners, owner)
    }

    /// Whether a reference in this namespace means this object, and not only its uid.
    fn is_meant_by(&self, reference: &OwnerReference, namespace: &str) -> bool {
        let reachable = self.namespace.is_empty() || self.namespace == namespace;
        let kind = GroupKind::new(&reference.api_version, &reference.kind);
        reachable && self.name == reference.name && *self.kind == kind
    }
}

/// Whether these references hold up the foreground deletion of that owner.
pub(super) fn blocks(references: &[OwnerReference], owner: &str) -> bool {
    references.iter().any(|mine| mine.uid == owner && mine.block_owner_deletion == Some(true))
}

/// What may have to be done about an object, as far as the graph knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Concern {
    Nothing,
    /// It was deleted, and its dependents are to be released first.
    ReleaseDependents,
    /// It was deleted, and its dependents are to be deleted first.
    DeleteDependents,
    /// One of its owners is missing, or goes.
    Owners,
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

    /// The owner that is meant by a reference in this namespace.
    pub(super) fn owner(&self, reference: &OwnerReference, namespace: &str) -> Option<&Object> {
        self.get(&reference.uid).filter(|owner| owner.is_meant_by(reference, namespace))
    }

    /// What may have to be done about an object.
    pub(super) fn concern(&self, uid: &str) -> Concern {
        let Some(object) = self.get(uid) else { return Concern::Nothing };
        if object.waits_for(ORPHAN) {
            return Concern::ReleaseDependents;
        }
        if object.waits_for_dependents() {
            return Concern::DeleteDependents;
        }
        let stays = |reference| {
            let owner = self.owner(reference, &object.namespace);
            owner.is_some_and(|owner| !owner.waits_for_dependents())
        };
        match object.deleting || object.owners.iter().all(stays) {
            true => Concern::Nothing,
            false => Concern::Owners,
        }
    }

    fn dependents(&self, uid: &str) -> impl Iterator<Item = (&Uid, &Object)> {
        let dependents = self.dependents.get(uid).into_iter().flatten();
        dependents.filter_map(|uid| Some((uid, self.objects.get(uid)?)))
    }

    /// Whether an object names this one as an owner.
    pub(super) fn has_dependents(&self, uid: &str) -> bool {
        self.dependents(uid).next().is_some()
    }

    /// Whether an object names this one as an owner and itself waits for its dependents to be deleted.
    pub(super) fn has_waiting_dependents(&self, uid: &str) -> bool {
        self.dependents(uid).any(|(_, dependent)| dependent.waits_for_dependents())
    }

    /// The dependents that are not being deleted yet.
    pub(super) fn living_dependents(&self, uid: &str) -> Vec<Uid> {
        let living = self.dependents(uid).filter(|(_, dependent)| !dependent.deleting);
        living.map(|(uid, _)| uid.clone()).collect()
    }

    /// Whether some dependent holds up the foreground deletion of this object.
    pub(super) fn is_blocked(&self, uid: &str) -> bool {
        self.dependents(uid).any(|(_, dependent)| dependent.blocks(uid))
    }

    /// The objects of a kind.
    pub(super) fn of_kind(&self, kind: &GroupKind) -> HashSet<Uid> {
        let found = self.objects.iter().filter(|(_, object)| *object.kind == *kind);
        found.map(|(uid, _)| uid.clone()).collect()
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
            json!({"apiVersion": "v1", "kind": "Thing", "name": uid, "uid": uid, "blockOwnerDeletion": blocks})
        });
        let mut metadata =
            json!({"namespace": "ns", "name": name, "ownerReferences": owners.collect::<Vec<_>>()});
        for (key, value) in more.as_object().into_iter().flatten() {
            metadata[key] = value.clone();
        }
        let kind = Arc::new(GroupKind::new("v1", "Thing"));
        Object::new(kind, &serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn a_removed_owner_makes_its_dependents_worth_a_look() {
        let mut graph = Graph::default();
        assert_eq!(graph.apply("owner", object("owner", &[], json!({}))), Vec::<Uid>::new());
        assert_eq!(graph.apply("a", object("a", &[("owner", true)], json!({}))), ["a"]);
        assert_eq!(graph.living_dependents("owner"), ["a"]);
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

    #[test]
    fn only_objects_with_missing_or_leaving_owners_need_a_look() {
        let deleted = |finalizer: &str| json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": [finalizer]});
        let mut graph = Graph::default();
        graph.apply("stays", object("stays", &[], json!({})));
        graph.apply("goes", object("goes", &[], deleted(FOREGROUND)));
        graph.apply("lets-go", object("lets-go", &[], deleted(ORPHAN)));
        let mut check = |uid: &str, owners: &[(&str, bool)], more: Value, expected: Concern| {
            graph.apply(uid, object(uid, owners, more));
            assert_eq!(graph.concern(uid), expected, "{uid}");
        };
        check("alone", &[], json!({}), Concern::Nothing);
        check("owned", &[("stays", true)], json!({}), Concern::Nothing);
        check("released-soon", &[("lets-go", true)], json!({}), Concern::Nothing);
        check("leaving", &[("missing", true)], deleted("x"), Concern::Nothing);
        check("lost", &[("stays", true), ("missing", true)], json!({}), Concern::Owners);
        check("going", &[("goes", true)], json!({}), Concern::Owners);
        check("elsewhere", &[("stays", true)], json!({"namespace": "other"}), Concern::Owners);
        check("goes", &[], deleted(FOREGROUND), Concern::DeleteDependents);
        check("lets-go", &[], deleted(ORPHAN), Concern::ReleaseDependents);
    }

    #[test]
    fn what_a_job_owns_stays_until_its_server_has_let_it_go() {
        let deleted = |finalizers: &[&str]| json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": finalizers});
        let mut graph = Graph::default();
        graph.apply("login", object("login", &[("job", false)], json!({})));
        let mut check = |finalizers: &[&str], job: Concern, login: Concern| {
            graph.apply("job", object("job", &[], deleted(finalizers)));
            assert_eq!((graph.concern("job"), graph.concern("login")), (job, login));
        };
        check(&[FOREGROUND, GpuJob::FINALIZER], Concern::Nothing, Concern::Nothing);
        check(&[FOREGROUND], Concern::DeleteDependents, Concern::Owners);
    }
}
