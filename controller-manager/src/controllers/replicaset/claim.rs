//! Which pods belong to a set. A pod that matches and has no controller is adopted; one that the set
//! controls but that no longer matches is released.
//! <https://kubernetes.io/docs/concepts/workloads/controllers/replicaset/#non-template-pod-acquisitions>

use std::sync::Arc;

use api_machinery::LabelSelector;
use api_types::api::apps::v1::ReplicaSet;
use api_types::api::core::v1::Pod;
use api_types::meta::OwnerReference;

use super::selects;
use crate::owners::{controller_of, controller_reference, is_controlled_by};
use crate::pods;

pub(super) type OwnerReferences = Vec<OwnerReference>;

/// What to do with the pods, with the owner references that those to change should have.
#[derive(Debug, Default)]
pub(super) struct Claim {
    pub(super) owned: Vec<Arc<Pod>>,
    pub(super) adopt: Vec<(Arc<Pod>, OwnerReferences)>,
    pub(super) release: Vec<(Arc<Pod>, OwnerReferences)>,
}

/// Whether the pod is the set's, or could be.
pub(super) fn concerns(set: &ReplicaSet, selector: &LabelSelector, pod: &Pod) -> bool {
    match controller_of(&pod.metadata) {
        Some(owner) => Some(&owner.uid) == set.metadata.uid.as_ref(),
        None => selects(selector, pod),
    }
}

pub(super) fn decide(set: &ReplicaSet, selector: &LabelSelector, pods: &[Arc<Pod>]) -> Claim {
    let leaving = set.metadata.deletion_timestamp.is_some();
    let uid = set.metadata.uid.as_deref().unwrap_or_default();
    let mut claim = Claim::default();
    for pod in pods.iter().filter(|pod| concerns(set, selector, pod)) {
        let owned = is_controlled_by(&pod.metadata, uid);
        match (owned, selects(selector, pod)) {
            (true, true) => claim.owned.push(pod.clone()),
            (true, false) if !leaving => claim.release.push((pod.clone(), without(pod, uid))),
            (false, true) if !leaving && pods::is_active(pod) => {
                claim.adopt.push((pod.clone(), with(pod, set)));
            }
            _ => {}
        }
    }
    claim
}

fn references(pod: &Pod) -> OwnerReferences {
    pod.metadata.owner_references.clone().unwrap_or_default()
}

fn with(pod: &Pod, set: &ReplicaSet) -> OwnerReferences {
    let others =
        references(pod).into_iter().filter(|other| Some(&other.uid) != set.metadata.uid.as_ref());
    others.chain(controller_reference(set)).collect()
}

fn without(pod: &Pod, uid: &str) -> OwnerReferences {
    references(pod).into_iter().filter(|reference| reference.uid != uid).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn set(deletion: Value) -> ReplicaSet {
        serde_json::from_value(json!({
            "metadata": {"name": "web", "uid": "u", "deletionTimestamp": deletion},
            "spec": {"selector": {"matchLabels": {"app": "web"}}},
        }))
        .unwrap()
    }

    fn pod(app: &str, owner: Option<&str>, phase: &str) -> Arc<Pod> {
        let owners = owner.map(|uid| {
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "x", "uid": uid, "controller": true}])
        });
        let pod = json!({"metadata": {"name": "p", "labels": {"app": app}, "ownerReferences": owners},
                         "status": {"phase": phase}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    /// What happens to the pod: "owned", "adopt", "release" or nothing.
    fn check(set: &ReplicaSet, pod: &Arc<Pod>, expected: &str) {
        let selector = super::super::selector(set).unwrap();
        let claim = decide(set, &selector, std::slice::from_ref(pod));
        let got = match (claim.owned.len(), claim.adopt.len(), claim.release.len()) {
            (1, 0, 0) => "owned",
            (0, 1, 0) => "adopt",
            (0, 0, 1) => "release",
            (0, 0, 0) => "",
            other => panic!("claimed twice: {other:?}"),
        };
        assert_eq!(got, expected, "{pod:?}");
    }

    #[test]
    fn pods_are_owned_adopted_released_or_left() {
        let living = set(json!(null));
        check(&living, &pod("web", Some("u"), "Running"), "owned");
        check(&living, &pod("web", None, "Running"), "adopt");
        check(&living, &pod("web", None, "Failed"), "");
        check(&living, &pod("db", Some("u"), "Running"), "release");
        check(&living, &pod("web", Some("other"), "Running"), "");
        check(&living, &pod("db", None, "Running"), "");
    }

    #[test]
    fn a_set_on_its_way_out_neither_adopts_nor_releases() {
        let leaving = set(json!("2026-01-01T00:00:00Z"));
        check(&leaving, &pod("web", None, "Running"), "");
        check(&leaving, &pod("db", Some("u"), "Running"), "");
    }

    #[test]
    fn a_release_takes_only_our_reference_away() {
        let mut released = (*pod("db", Some("u"), "Running")).clone();
        let other = OwnerReference { uid: "other".to_owned(), ..OwnerReference::default() };
        released.metadata.owner_references.as_mut().unwrap().push(other.clone());
        assert_eq!(without(&released, "u"), [other]);
    }
}
