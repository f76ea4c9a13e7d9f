//! Which volume a claim gets (Kubernetes: `FindMatchingVolume`). Shared by the controller that binds them and the scheduler
//! (where is one that a pod's claim may get?).

use std::collections::BTreeMap;
use std::sync::Arc;

use api_types::api::core::v1::{
    Node, ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeSpec,
};
use api_types::meta::ObjectMeta;

use crate::{LabelSelector, Quantity, node_affinity};

const STORAGE: &str = "storage";
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The smallest volume that has all that is asked for, or one that was made for this claim. With a node, one that can be had
/// there.
#[must_use]
pub fn best<'a>(
    claim: &PersistentVolumeClaim,
    volumes: &'a [Arc<PersistentVolume>],
    node: Option<&Node>,
) -> Option<&'a Arc<PersistentVolume>> {
    let fits = |volume: &&Arc<PersistentVolume>| fits(claim, volume, node);
    let ours = volumes.iter().filter(|volume| is_for(volume, claim));
    let free =
        volumes.iter().filter(|volume| reference(volume).is_none() && is_selected(claim, volume));
    let size = |volume: &&Arc<PersistentVolume>| {
        (capacity(volume).milli_value(), volume.metadata.name.clone())
    };
    ours.filter(fits).min_by_key(size).or_else(|| free.filter(fits).min_by_key(size))
}

/// What a volume says of the claim that has it.
#[must_use]
pub fn reference(volume: &PersistentVolume) -> Option<&ObjectReference> {
    volume.spec.as_ref()?.claim_ref.as_ref()
}

/// Whether the volume is this claim's, or was made for one of that name.
#[must_use]
pub fn is_for(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    reference(volume).is_some_and(|it| {
        let uid = it.uid.as_deref().filter(|uid| !uid.is_empty());
        it.name == claim.metadata.name
            && it.namespace == claim.metadata.namespace
            && uid.is_none_or(|uid| Some(uid) == claim.metadata.uid.as_deref())
    })
}

/// Whether the volume says that it is of just this claim.
#[must_use]
pub fn is_its_own(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let uid = reference(volume).and_then(|it| it.uid.as_deref()).filter(|uid| !uid.is_empty());
    uid.is_some() && uid == claim.metadata.uid.as_deref()
}

/// Whether the claim may get it, at some node.
#[must_use]
pub fn is_possible(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    let is_free = reference(volume).is_none() && is_selected(claim, volume);
    (is_free || is_for(volume, claim)) && fits(claim, volume, None)
}

/// Whether the claim may have it, whoever has it now.
#[must_use]
pub fn fits(claim: &PersistentVolumeClaim, volume: &PersistentVolume, node: Option<&Node>) -> bool {
    let none = (PersistentVolumeClaimSpec::default(), PersistentVolumeSpec::default());
    let asked = claim.spec.as_ref().unwrap_or(&none.0);
    let given = volume.spec.as_ref().unwrap_or(&none.1);
    let modes = asked.access_modes.iter().flatten();
    let has = |mode: &String| given.access_modes.iter().flatten().any(|it| it == mode);
    volume.metadata.deletion_timestamp.is_none()
        && asked.volume_mode.as_deref().unwrap_or("Filesystem")
            == given.volume_mode.as_deref().unwrap_or("Filesystem")
        && class(&claim.metadata, asked.storage_class_name.as_deref())
            == class(&volume.metadata, given.storage_class_name.as_deref())
        && asked.volume_attributes_class_name == given.volume_attributes_class_name
        && modes.into_iter().all(has)
        && capacity(volume).compare(requested(claim)).is_ge()
        && node.is_none_or(|node| is_at(volume, node))
}

/// The name of the class; none is the empty one.
#[must_use]
pub fn class<'a>(metadata: &'a ObjectMeta, given: Option<&'a str>) -> &'a str {
    let annotated = metadata.annotations.as_ref().and_then(|all| all.get(CLASS));
    annotated.map(String::as_str).or(given).unwrap_or_default()
}

fn is_selected(claim: &PersistentVolumeClaim, volume: &PersistentVolume) -> bool {
    let Some(selector) = claim.spec.as_ref().and_then(|spec| spec.selector.as_ref()) else {
        return true;
    };
    let none = BTreeMap::new();
    let labels = volume.metadata.labels.as_ref().unwrap_or(&none);
    LabelSelector::try_from(selector).is_ok_and(|selector| selector.matches(labels))
}

/// Whether pods of this node can use it.
#[must_use]
pub fn is_at(volume: &PersistentVolume, node: &Node) -> bool {
    let affinity = volume.spec.as_ref().and_then(|spec| spec.node_affinity.as_ref());
    let Some(required) = affinity.and_then(|affinity| affinity.required.as_ref()) else {
        return true;
    };
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let name = node.metadata.name.as_deref().unwrap_or_default();
    let terms = &required.node_selector_terms;
    terms.iter().any(|term| node_affinity::term_matches(term, labels, name))
}

fn capacity(volume: &PersistentVolume) -> Quantity {
    let capacity = volume.spec.as_ref().and_then(|spec| spec.capacity.as_ref()?.get(STORAGE));
    let capacity = capacity.and_then(|capacity| Quantity::try_from(capacity).ok());
    capacity.unwrap_or_else(|| Quantity::from_units(0))
}

/// How much the claim asks for.
#[must_use]
pub fn requested(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requested = resources.and_then(|resources| resources.requests.as_ref()?.get(STORAGE));
    let requested = requested.and_then(|requested| Quantity::try_from(requested).ok());
    requested.unwrap_or_else(|| Quantity::from_units(0))
}
