//! Owner references: who controls whom.

use std::fmt::Debug;

use api_types::meta::{ObjectMeta, OwnerReference};
use kube::Resource;

/// A kind whose objects own others: one of our types, or one that is known only when it is found.
pub(crate) trait Owner:
    Resource<DynamicType: Clone + Send + Sync> + Clone + Debug + Sync
{
}

impl<K: Resource<DynamicType: Clone + Send + Sync> + Clone + Debug + Sync> Owner for K {}

/// The reference to the object's controller.
pub(crate) fn controller_of(metadata: &ObjectMeta) -> Option<&OwnerReference> {
    let references = metadata.owner_references.as_deref().unwrap_or_default();
    references.iter().find(|reference| reference.controller == Some(true))
}

/// Whether the object is controlled by the one with this uid.
pub(crate) fn is_controlled_by(metadata: &ObjectMeta, uid: &str) -> bool {
    controller_of(metadata).is_some_and(|reference| reference.uid == uid)
}

/// A reference that makes `owner` the controller of whoever carries it. Foreground deletion of the
/// owner waits for it.
pub(crate) fn controller_reference<K: Resource<DynamicType = ()>>(
    owner: &K,
) -> Option<OwnerReference> {
    controller_reference_of(owner, &())
}

/// The same for an owner of this kind.
pub(crate) fn controller_reference_of<K: Resource>(
    owner: &K,
    kind: &K::DynamicType,
) -> Option<OwnerReference> {
    let reference = owner.controller_owner_ref(kind)?;
    Some(OwnerReference { block_owner_deletion: Some(true), ..reference })
}
