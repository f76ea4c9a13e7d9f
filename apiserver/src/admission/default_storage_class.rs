//! A claim that names no class gets the default one (Kubernetes: `plugin/pkg/admission/storage/storageclass/setdefault`).

use std::sync::Arc;

use api_machinery::ApiError;
use api_types::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use async_trait::async_trait;
use registry::AnyObject;

use super::{
    Attributes, Claim, Operation, Plugin,
    default_class::{self, annotation},
};
use crate::{catalogue::InForce, objects::Objects, storage::Storage};

const GROUP: &str = "storage.k8s.io";
/// On a class; the other is what it was called before.
const IS_DEFAULT: [&str; 2] = [
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
];
/// On a claim: names the class, as there was no field for it once.
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// See the module.
#[derive(Debug)]
pub(super) struct DefaultStorageClass {
    pub(super) catalogue: InForce,
    pub(super) storage: Arc<Storage>,
}

#[async_trait]
impl Plugin for DefaultStorageClass {
    async fn mutate(
        &self,
        attributes: &Attributes<'_>,
        object: Option<&mut AnyObject>,
    ) -> Result<Vec<Claim>, ApiError> {
        let is_new = attributes.operation == Operation::Create && attributes.subresource.is_none();
        let claim = object.filter(|_| is_new).and_then(AnyObject::get_mut::<PersistentVolumeClaim>);
        if let Some(claim) = claim.filter(|claim| names_none(claim)) {
            let objects = Objects { catalogue: &self.catalogue, storage: &self.storage };
            let classes = objects.all::<StorageClass>(GROUP, "storageclasses");
            let default = default_class::of(&classes, &IS_DEFAULT);
            claim.spec.get_or_insert_default().storage_class_name = default;
        }
        Ok(Vec::new())
    }
}

/// The empty name is one: of volumes that have no class.
fn names_none(claim: &PersistentVolumeClaim) -> bool {
    let annotated = annotation(&claim.metadata, CLASS).is_some();
    let named = claim.spec.as_ref().is_some_and(|spec| spec.storage_class_name.is_some());
    !annotated && !named
}
